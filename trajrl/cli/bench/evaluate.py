"""`bench evaluate`: environment steps per second of an evaluation, one environment against many together.

plain is the way of public code: one environment, the policy of benchmarks/plain_dql.py, the same number of
candidates, torch's own choice of library for products.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from trajrl.agents import AGENTS, make_agent
from trajrl.cli.bench.plain import load_plain
from trajrl.cli.bench.rounds import with_kernels
from trajrl.cli.common import Common, progress, say
from trajrl.core.cpu import as_torch_has_it, set_threads
from trajrl.core.registry import find
from trajrl.envs import make_suite

if TYPE_CHECKING:
    from trajrl.agents.base.protocol import Agent
    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.rollout.history_queue import Actor


@dataclass(frozen=True, kw_only=True)
class BenchEvaluate(Common):
    """Run episodes of an untrained agent in one environment, and in many stepped together."""

    COUNTS: ClassVar[tuple[str, ...]] = ("envs", "candidates", "steps", "rounds")

    env: str = "HalfCheetah-v4"
    """Environment; one whose episodes are all equally long measures best."""
    agent: str = "diffusion_ql"
    """Agent, with its default networks."""
    envs: int = 10
    """Environments stepped together."""
    candidates: int = 50
    """Actions sampled and valued per step, by agents that have this option and by the plain code."""
    steps: int = 200
    """Length of an episode."""
    rounds: int = 3
    """How often each is timed, in turns; ratios are medians over rounds."""
    device: str = "cpu"
    """Where to compute; auto is the GPU where there is one."""
    threads: int = 0
    """Threads of torch; 0: as OMP_NUM_THREADS says, else one; -1: as many as are fastest."""

    def run(self) -> dict[str, Any]:
        """Measure both and compare; the episodes are the same ones."""
        from torch import get_num_threads

        from trajrl.training.build import choose_device

        set_threads(self.threads)
        device = choose_device(self.device)
        suite = make_suite(self.env, time_limit=self.steps)
        options: dict[str, Any] = {"candidates": self.candidates} if has_candidates(self.agent) else {}
        agent = make_agent(
            self.agent,
            suite.obs_dim,
            suite.action_dim,
            device=str(device),
            seed=self.seed,
            **options,
        )  # fmt: skip
        found = [self._round(agent, suite) for _ in progress(range(self.rounds), "rounds")]
        rates = {name: median(each[name] for each in found) for name in found[0] if name != "same"}
        pairs = (("many", "one"), ("many", "plain"), ("kernels", "plain"))
        ratio, ratio_plain, ratio_kernels = (
            median(each[name] / each[base] for each in found) for name, base in pairs
        )
        one, many, plain, kernels = (rates[name] for name in ("one", "many", "plain", "kernels"))
        same = all(each["same"] for each in found)
        say(f"one environment {one:.0f} steps/s, {self.envs} together {many:.0f}: {ratio:.2f} times")
        say(f"plain code in one environment {plain:.0f} steps/s; together {ratio_plain:.2f} times that")
        say(f"together with kernels=compiled {kernels:.0f} steps/s: {ratio_kernels:.2f} times plain")
        latency = self._latency(agent, suite)
        among = f" with {self.candidates} candidates" if has_candidates(self.agent) else ""
        say(f"choosing one action takes {latency:.2f} ms{among}")
        say(f"the episodes are {'the same, bit for bit' if same else 'NOT the same'}")
        return {
            **rates, "ratio": ratio, "ratio_plain": ratio_plain, "ratio_plain_kernels": ratio_kernels,
            "same_episodes": same, "latency_ms": latency, "rounds": self.rounds,
            "envs": self.envs, "candidates": self.candidates, "agent": self.agent, "environment": suite.name,
            "device": str(device), "threads": get_num_threads(), "failed": not same,
        }  # fmt: skip

    def _round(self, agent: Agent, suite: EnvSuite) -> dict[str, float]:
        """Return steps per second of each, taken in turns, and whether the episodes were the same."""
        one, rows = self._rate(agent, suite, 1)
        many, rows_of_many = self._rate(agent, suite, self.envs)
        plain = self._plain_rate(suite)
        kernels, _ = with_kernels(lambda: self._rate(agent, suite, self.envs))()
        return {
            "one": one, "many": many, "plain": plain, "kernels": kernels, "same": rows == rows_of_many,
        }  # fmt: skip

    def _latency(self, agent: Agent, suite: EnvSuite) -> float:
        """Return the milliseconds one action takes in one environment: the median of an episode."""
        from trajrl.core.rng import stream
        from trajrl.training.run_dir.policy import Policy

        policy, rng, took = Policy(agent, self.seed), stream(self.seed, "bench"), []
        for obs in rng.standard_normal((self.steps + 5, suite.obs_dim), "float32"):
            began = time.perf_counter()
            policy.act(obs)  # a numpy array comes back: a GPU has finished by then
            took.append(time.perf_counter() - began)
        return 1e3 * median(took[5:])

    def _plain_rate(self, suite: EnvSuite) -> float:
        """Return steps per second of the plain policy in one environment."""
        plain = load_plain()
        agent = plain.PlainDQL(suite.obs_dim, suite.action_dim, plain.Settings())
        env = suite.make(self.seed)
        obs, _ = env.reset(seed=self.seed)
        with as_torch_has_it():
            agent.act(obs, self.candidates)
            began = time.perf_counter()
            for _ in range(self.steps):
                obs, _, terminated, truncated, _ = env.step(agent.act(obs, self.candidates))
                if terminated or truncated:
                    obs, _ = env.reset()
            seconds = time.perf_counter() - began
        env.close()
        return self.steps / seconds

    def _rate(self, agent: Actor, suite: EnvSuite, envs: int) -> tuple[float, list[dict[str, Any]]]:
        """Return steps per second, the making of environments left out, and what the episodes were."""
        from trajrl.rollout.collector import Collector, Streams, in_order

        collector = Collector(suite, agent, Streams(self.seed, "eval", (0,)), envs, num_episodes=self.envs)
        collector.step()  # warm up: first calls allocate and, on a GPU, compile
        began, steps, rows = time.perf_counter(), -envs, []
        for finished in in_order(collector):
            assert finished.episode is not None
            steps += len(finished.episode)
            rows.append({"return": finished.episode.episode_return, "length": len(finished.episode)})
        seconds = time.perf_counter() - began
        collector.close()
        return steps / seconds, rows


def has_candidates(agent: str) -> bool:
    """Return whether an agent chooses among as many candidates as asked."""
    return hasattr(find(AGENTS, agent, "agent").Config, "candidates")
