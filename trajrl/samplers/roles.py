"""Roles: one draw for the terms of the policy and another for those of the values.

    policy   p(e, t) = (1 - w) / sum T + w p_policy(e, t)      w: 0 until narrow_at, then 1
    values   p(e, t) = p_values(e, t)

Each is drawn from a stream of its own by a sampler of its own; TD errors are those of the values' rows.
Command line: --sampler policy=weighted values=uniform.  Drawn as one, half of the rows is for each.

Paper: Yue et al. 2023 (decoupled resampling, arXiv 2306.05412).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.samplers.base.distributions import check_share, described
from trajrl.samplers.base.narrowed import NarrowedSampler, Schedule
from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Sampler, Score
    from trajrl.store.store import TrajectoryStore


@dataclass(frozen=True)
class Config:
    """What draws for each role, and when the policy's draw becomes its own."""

    policy: str = "uniform"  # sampler of the policy's terms
    values: str = "uniform"  # sampler of the critics' terms and their baselines'
    narrow_at: float = 0.0  # share of the run before `policy` draws, uniform until then; higher: later
    narrow_ramp: float = 0.0  # share of the run over which it then takes over; higher: gentler.  0: at once
    updates: int = 0  # of the run, which these are shares of; higher: later.  0: the run's own
    first_update: int = 0  # where they are counted from; higher: later.  A run says it itself

    def validate(self) -> None:
        """Refuse what is not a share."""
        check_share("narrow_at", self.narrow_at)
        check_share("narrow_ramp", self.narrow_ramp)
        for name in ("updates", "first_update"):
            if getattr(self, name) < 0:
                raise ValueError(f"the sampler option '{name}' is at least 0; got {getattr(self, name)}")

    @property
    def schedule(self) -> Schedule:
        """Return when the policy's sampler takes over."""
        return Schedule(self.narrow_at, self.narrow_ramp, self.updates, self.first_update)


class RolesSampler:
    """A sampler for each role."""

    config_type = Config
    PARTS = ("policy", "values")

    def __init__(
        self, store: TrajectoryStore, config: Config, parts: dict[str, Sampler], shared: bool = False
    ) -> None:
        """Join two samplers.

        Args:
            shared: the part of the policy's that learns from TD errors is a part of the values' too
        """
        policy, values = parts["policy"], parts["values"]
        if policy.reads_td_errors and not shared:
            raise ValueError(
                f"'{config.policy}' learns from TD errors, which are those of the values' rows: name it for "
                "the values, or as one sampler of both roles"
            )
        if config.narrow_at or config.narrow_ramp:
            if not config.updates:
                raise ValueError("narrow_at and narrow_ramp are shares of a run: give its updates")
            policy = NarrowedSampler(store, policy, config.schedule)
        self.store, self.config, self.parts = store, config, {"policy": policy, "values": values}

    def __repr__(self) -> str:
        """Return it in one line."""
        return described(self)

    @staticmethod
    def view(store: TrajectoryStore, part: str) -> TrajectoryStore:
        """Return the store a part works on: all of it."""
        return store

    def for_role(self, role: str) -> Sampler:
        """Return what draws for a role."""
        return self.parts[role]

    @property
    def notes(self) -> list[str]:
        """Return the fallbacks that both took."""
        return [note for part in self.parts.values() for note in part.notes]

    @property
    def reads_td_errors(self) -> bool:
        """Say whether the values' sampler learns from TD errors."""
        return self.parts["values"].reads_td_errors

    def sample(self, rng: np.random.Generator, n: int) -> Anchors:
        """Draw n anchors as one batch: the policy's half first."""
        counts = {"policy": n // 2, "values": n - n // 2}
        drawn = [self.parts[role].sample(rng, count) for role, count in counts.items()]
        return Anchors(*(np.concatenate(column) for column in zip(*drawn)))

    def feedback(self, anchors: Anchors, td_error: np.ndarray) -> None:
        """Hand the TD errors to the values' sampler."""
        self.parts["values"].feedback(anchors, td_error)

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Refresh both."""
        for part in self.parts.values():
            part.refresh(step, score)

    def probabilities(self) -> np.ndarray:
        """Return the mean (E,) of the two roles' p over episodes."""
        return np.mean([part.probabilities() for part in self.parts.values()], axis=0)

    def stats(self) -> dict[str, float]:
        """Return the figures of the values' sampler, and those of the policy's under its name."""
        policy = {f"policy/{name}": value for name, value in self.parts["policy"].stats().items()}
        return {**self.parts["values"].stats(), **policy}

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both."""
        return {role: part.state_dict() for role, part in self.parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both."""
        for role, part in self.parts.items():
            part.load_state_dict(state[role])


def role_sampler(sampler: Any, role: str) -> Sampler:
    """Return what draws for a role: its own sampler, or the one that serves both."""
    return sampler.for_role(role) if draws_by_role(sampler) else sampler


def draws_by_role(sampler: Any) -> bool:
    """Say whether a sampler has a draw for each role."""
    return isinstance(sampler, RolesSampler)
