"""Online: what a run has besides in the online phase, and what it reports.

Three counters are kept apart: the run's updates over both phases, those of this phase, environment steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.rollout.history_queue import Actor
from trajrl.rollout.policies import NoisyPolicy, RandomPolicy
from trajrl.store.table import phase_code
from trajrl.training.run_dir.evaluations import Evaluation, common_scale

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Sampler
    from trajrl.store.store import TrajectoryStore
    from trajrl.training.config import RunConfig
    from trajrl.training.online_collector import OnlineCollector

COUNTS = ("updates", "by_sampler", "num_rows", "rows_by_sampler")


@dataclass
class Online:
    """The environments, the sampler of the warm-up, and counts."""

    collector: OnlineCollector
    warmup_sampler: Sampler  # draws until the warm-up is over
    rows: Rows
    pooled: bool  # offline and online episodes are drawn by one sampler
    updates: int = 0  # of this phase
    by_sampler: int = 0  # of these, drawn by the run's own sampler and not in the warm-up
    num_rows: int = 0  # of all updates
    rows_by_sampler: int = 0  # of these, drawn by it: where shares are mixed, online rows alone

    def updates_due(self, config: RunConfig) -> int:
        """Return how many updates the environment steps taken so far still ask for."""
        steps = max(0, self.collector.env_step - config.learning_starts)
        return int(config.utd * steps) - self.updates

    def count(self, episode: np.ndarray, by_sampler: bool) -> None:
        """Take in one update: the episodes (B,) of its rows, and whether the run's own sampler drew them."""
        self.rows.add(episode)
        self.updates += 1
        self.num_rows += len(episode)
        if by_sampler:
            self.by_sampler += 1
            online = self.rows.store.table.phase[episode] == phase_code("online")
            self.rows_by_sampler += len(episode) if self.pooled else int(online.sum())

    def stats(self, evaluations: Sequence[Evaluation], step: int) -> dict[str, float]:
        """Return what is worth logging, by short name."""
        found = finetuning(evaluations)
        shown = {f"finetune/{name}": found[name] for name in ("drop", "regret", "gain") if name in found}
        counts = {
            "count/env_steps": self.collector.env_step, "count/updates": self.updates, "count/steps": step,
            "count/episodes": self.collector.kept, "count/failures": self.collector.failures,
            **{f"sampler_share/{name}": share for name, share in self._shares.items()},
        }  # fmt: skip
        rows = {f"rows/{name}": share for name, share in self.rows.shares().items()}
        return {
            name: float(value) for name, value in {**counts, **rows, **shown}.items() if value is not None
        }

    def summary(self, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
        """Return what summary.json holds of the phase."""
        collector = self.collector
        return {
            "online": {
                **finetuning(evaluations), "env_steps": collector.env_step, "updates": self.updates,
                "episodes": collector.kept, "failures": collector.failures,
                "sampler_share": self._shares, "rows": self.rows.shares(),
            },
        }  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Return the parts of a checkpoint that only this phase has."""
        counts = {name: getattr(self, name) for name in COUNTS}
        return {
            "online": {**counts, "rows": self.rows.state_dict()}, "early": self.warmup_sampler.state_dict(),
            "interaction": self.collector.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, parts: Mapping[str, Any]) -> None:
        """Restore those parts; the store then holds the episodes of the checkpoint."""
        self.collector.load_state_dict(parts["interaction"])
        self.warmup_sampler.load_state_dict(parts["early"])
        self.rows.load_state_dict(parts["online"]["rows"])
        for name in COUNTS:
            setattr(self, name, int(parts["online"][name]))

    @property
    def _shares(self) -> dict[str, float]:
        """Return the share of updates, and of their rows, that the run's own sampler drew in this phase."""
        return {
            "updates": self.by_sampler / max(1, self.updates),
            "rows": self.rows_by_sampler / max(1, self.num_rows),
        }


def collecting_actor(agent: Actor, config: RunConfig, env_step: int) -> Actor:
    """Return who acts at an environment step: random actions before learning if asked, else the agent."""
    if config.begin_with == "random" and env_step < config.learning_starts:
        return RandomPolicy(agent.action_dim)
    return NoisyPolicy(agent, config.explore_noise) if config.explore_noise else agent


def finetuning(evaluations: Sequence[Evaluation]) -> dict[str, float | None]:
    """Return before, last, gain, drop, drop_step, recovered_step and regret; nothing before an evaluation.

    drop is how far the worst later evaluation lies below the first, the offline policy's; regret the mean
    shortfall below it over the phase:  1/S integral of max(0, before - score(s)) ds.
    """
    if not evaluations:
        return {}
    step = np.array([found.step for found in evaluations], np.float64)  # (M,) the first is 0
    scale = common_scale(evaluations)
    score = np.array([found.on(scale).mean() for found in evaluations])
    short = np.maximum(0.0, score[0] - score)  # (M,)
    worst = int(short.argmax())
    again = np.flatnonzero((short == 0) & (step > step[worst])) if short[worst] > 0 else np.zeros(0, int)
    regret = float(np.trapezoid(short, step) / step[-1]) if step[-1] else 0.0
    return {
        "before": float(score[0]), "last": float(score[-1]), "gain": float(score[-1] - score[0]),
        "drop": float(short[worst]), "drop_step": float(step[worst]) if short[worst] > 0 else None,
        "recovered_step": float(step[again[0]]) if len(again) else None, "regret": regret,
    }  # fmt: skip


class Rows:
    """Counts the rows of the updates of this phase by the source of their episodes."""

    def __init__(self, store: TrajectoryStore) -> None:
        self.store = store
        self.counts = np.zeros(0, np.int64)  # (sources,) in the table's order

    def add(self, episode: np.ndarray) -> None:
        """Take in the episodes (B,) of one batch."""
        found = np.bincount(self.store.table.source_code[episode], minlength=len(self.counts))
        found[: len(self.counts)] += self.counts
        self.counts = found

    def shares(self) -> dict[str, float]:
        """Return the share of each source that gave a row."""
        total = max(1, int(self.counts.sum()))
        names = self.store.table.sources
        return {names[code] or "unnamed": float(n / total) for code, n in enumerate(self.counts) if n}

    def state_dict(self) -> dict[str, Any]:
        """Return the counts."""
        return {"counts": self.counts.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the counts."""
        self.counts = np.array(state["counts"], np.int64)
