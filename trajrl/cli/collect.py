"""`collect`: record whole episodes of a policy into a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from trajrl.cli.common import Common, progress, refuse_existing, say

if TYPE_CHECKING:
    from trajrl.envs.suite import Suite
    from trajrl.queues import Actor
    from trajrl.store.episode import Episode
    from trajrl.store.table import Table
    from trajrl.store.writer import StoreWriter


@dataclass(frozen=True, kw_only=True)
class Collect(Common):
    """Record whole episodes of a policy, until at least --steps transitions are there."""

    env: str
    """suite:name, a registered Gymnasium id, or package.module:callable."""
    policy: str
    """random, oracle (the environment's own script), a run directory, or FILE.npz (see data/README.md)."""
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
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="env.NAME=VALUE ...", help_behavior_hint="")] = ()
    """Options of the environment, such as --set env.time_limit=200."""
    overwrite: bool = False
    """Replace a store that has this name."""

    def run(self) -> dict[str, Any]:
        """Record, write, and say what came out."""
        for name, least in (("steps", 1), ("noise", 0), ("envs", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} is at least {least}; got {getattr(self, name)}")
        refuse_existing(self.out, self.overwrite)
        label = self.source or Path(self.policy).stem
        name, episodes = (self._scripted if self.policy == "oracle" else self._acted)(label)
        with writer_for(self, name, label) as writer:
            for episode in progress(up_to(episodes, self.steps), "collecting", unit="episodes"):
                writer.append(episode)
            found = summary(writer.table)
        say(f"{found['episodes']} episodes, {found['transitions']} transitions to {self.out}")
        mean, std, steps = (found[key] for key in ("return_mean", "return_std", "length_mean"))
        say(f"return {mean:.1f} +- {std:.1f}, {steps:.0f} steps per episode")
        said = {"out": str(self.out), "environment": name, "policy": self.policy, "source": label}
        return {**said, **found}

    def _scripted(self, label: str) -> tuple[str, Iterator[Episode]]:
        """Return the environment's name, and episodes of its own script without end."""
        from itertools import count

        from trajrl.envs import make_demonstration
        from trajrl.envs.demonstrate import demonstrate

        shown = make_demonstration(self.env)
        return shown.name, (demonstrate(shown, self.seed, number, label, self.noise) for number in count())

    def _acted(self, label: str) -> tuple[str, Iterator[Episode]]:
        """Return the environment's name, and episodes of a policy without end."""
        from trajrl.choices import env_settings
        from trajrl.config import split_settings
        from trajrl.envs import make_suite
        from trajrl.envs.policies import NoisyPolicy
        from trajrl.rollout import Streams, collect

        suite = make_suite(self.env, **env_settings(split_settings(self.set)["env"]))
        policy = make_policy(self.policy, suite)
        actor: Actor = NoisyPolicy(policy, self.noise) if self.noise else policy
        return suite.name, collect(suite, actor, Streams(self.seed, "collect"), self.envs, label)


def up_to(episodes: Iterator[Episode], steps: int) -> Iterator[Episode]:
    """Yield whole episodes until at least `steps` transitions are there."""
    total = 0
    for episode in episodes:
        total += len(episode)
        yield episode
        if total >= steps:
            return


def make_policy(name: str, suite: Suite) -> Actor:
    """Build the policy `name` stands for, and check that it fits the environment."""
    from trajrl.envs.policies import FilePolicy, RandomPolicy

    if name == "random":
        return RandomPolicy(suite.action_dim)
    if not Path(name).exists():
        raise FileNotFoundError(f"no policy '{name}': it is not random, oracle, a run directory or a file")
    policy: Any
    if Path(name).is_dir():
        from trajrl.policy import load_run

        policy = load_run(name).agent()
    else:
        policy = FilePolicy(name)
    takes, needs = (policy.obs_dim, policy.action_dim), (suite.obs_dim, suite.action_dim)
    if takes != needs:
        raise ValueError(f"{name} acts on (obs, act) of {takes} numbers; {suite.name} has {needs}")
    return policy


def summary(table: Table) -> dict[str, Any]:
    """Say what was recorded."""
    known = bool((table.success >= 0).all())
    return {
        "episodes": len(table), "transitions": int(table.length.sum()),
        "return_mean": float(table.returns.mean()), "return_std": float(table.returns.std()),
        "length_mean": float(table.length.mean()), "terminated": int(table.terminated.sum()),
        "truncated": int((~table.terminated).sum()),
        "success_mean": float((table.success > 0).mean()) if known else None,
    }  # fmt: skip


def writer_for(command: Collect, environment: str, label: str) -> StoreWriter:
    """Open the store file, with what a reader must know about where it came from."""
    from trajrl import __version__
    from trajrl.store.writer import StoreWriter

    provenance = {
        "command": "collect", "environment": environment, "policy": Path(command.policy).name,
        "seed": command.seed, "steps": command.steps, "noise": command.noise, "source": label,
        "trajrl": __version__,
    }  # fmt: skip
    box = {"action_low": -1.0, "action_high": 1.0}  # what trajrl records is in the box it acts in
    return StoreWriter(command.out, {"environment": environment, "provenance": provenance, **box})
