"""collect: record whole episodes of a policy into a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.cli.common import Common, progress, say

if TYPE_CHECKING:
    from trajrl.envs.suite import Suite
    from trajrl.rollout import Actor, Finished
    from trajrl.store.table import Table


@dataclass(frozen=True, kw_only=True)
class Collect(Common):
    """Record whole episodes of a policy, until at least --steps transitions are there."""

    env: str
    """suite:name, a registered Gymnasium id, or package.module:callable."""
    policy: str
    """random, oracle, a run directory, or a policy file FILE.npz (data/README.md has its layout)."""
    out: Path
    """The store file to write."""
    steps: int = 10_000
    """Transitions to record; the last episode is kept whole."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise added to every action, in units of the [-1, 1] box."""
    source: str = ""
    """Label of the episodes; empty: the policy's name."""
    envs: int = 4
    """Environments stepped together; changes speed, never the episodes."""

    def run(self) -> dict[str, Any]:
        """Record, write, and say what came out."""
        if self.steps < 1 or self.noise < 0:
            raise ValueError(f"--steps is at least 1, --noise at least 0; got {self.steps} and {self.noise}")
        from trajrl.envs import make_suite

        suite = make_suite(self.env)
        actor = self._actor(suite)
        label = self.source or Path(self.policy).stem
        with writer_for(self, suite, label) as writer:
            for finished in progress(self._episodes(suite, actor, label), "collecting", unit="episodes"):
                assert finished.episode is not None
                writer.append(finished.episode)
            found = summary(writer.table)
        say(f"{found['episodes']} episodes, {found['transitions']} transitions to {self.out}")
        say(
            f"return {found['return_mean']:.1f} +- {found['return_std']:.1f}, length {found['length_mean']:.1f}"
        )
        return {
            "out": str(self.out),
            "environment": suite.name,
            "policy": self.policy,
            "source": label,
            **found,
        }

    def _actor(self, suite: Suite) -> Actor:
        """Build what acts."""
        from trajrl.envs.policies import NoisyPolicy

        policy = make_policy(self.policy, suite)
        return NoisyPolicy(policy, self.noise) if self.noise else policy

    def _episodes(self, suite: Suite, actor: Actor, label: str) -> Iterator[Finished]:
        """Yield episodes by number until enough steps are there."""
        from trajrl.rollout import Collector, Streams, in_order

        collector = Collector(suite, actor, Streams(self.seed, "collect"), self.envs, source=label)
        steps = 0
        try:
            for finished in in_order(collector):
                if finished.failure is not None:
                    raise finished.failure
                assert finished.episode is not None
                steps += len(finished.episode)
                yield finished
                if steps >= self.steps:
                    return
        finally:
            collector.close()


def make_policy(name: str, suite: Suite) -> Actor:
    """Build the policy `name` stands for, and check that it fits the environment."""
    from trajrl.envs.policies import FilePolicy, RandomPolicy

    if name == "random":
        return RandomPolicy(suite.action_dim)
    if not Path(name).exists():
        raise FileNotFoundError(f"no policy '{name}': it is not random, oracle, a run directory or a file")
    policy = FilePolicy(name)
    takes, needs = (policy.obs_dim, policy.action_dim), (suite.obs_dim, suite.action_dim)
    if takes != needs:
        raise ValueError(f"{name} is for (obs, act) of {takes} numbers; {suite.name} has {needs}")
    return policy


def summary(table: Table) -> dict[str, Any]:
    """Say what was recorded."""
    return {
        "episodes": len(table), "transitions": int(table.length.sum()), "length_mean": float(table.length.mean()),
        "return_mean": float(table.returns.mean()), "return_std": float(table.returns.std()),
        "terminated": int(table.terminated.sum()), "truncated": int((~table.terminated).sum()),
        "success_mean": float((table.success > 0).mean()) if (table.success >= 0).all() else None,
    }  # fmt: skip


def writer_for(command: Collect, suite: Suite, label: str) -> Any:
    """Open the store file, with what a reader must know about where it came from."""
    from trajrl import __version__
    from trajrl.store.writer import StoreWriter

    provenance = {
        "command": "collect", "environment": suite.name, "policy": Path(command.policy).name,
        "seed": command.seed, "steps": command.steps, "noise": command.noise, "source": label, "trajrl": __version__,
    }  # fmt: skip
    return StoreWriter(command.out, {"environment": suite.name, "provenance": provenance})
