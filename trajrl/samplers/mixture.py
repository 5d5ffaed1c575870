"""Mixture: exact numbers of offline and online anchors in every batch, each side by a sampler of its own.

    batch = round(n f) offline rows by the sampler `offline`, then n - round(n f) online rows by `online`
    p(e) = f p_offline(e) + (1 - f) p_online(e),   f moves from `fraction` to `fraction_end`

While one side has no episode the other gives the whole batch.

Paper: Ball et al. 2023 (RLPD).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from trajrl.samplers.base.distributions import check_share, described, share_stats
from trajrl.samplers.base.store_view import PhaseView, StoreWatch
from trajrl.store.table import PHASES
from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Sampler, Score
    from trajrl.store.store import TrajectoryStore


@dataclass(frozen=True)
class Config:
    """How much of a batch is offline, and what draws each side."""

    fraction: float = 0.5  # of a batch that is offline; higher: closer to the data, less of the new
    fraction_end: float | None = None  # where the fraction ends up; None: it stays
    over_steps: int = 0  # training steps the fraction takes from start to end; higher: slower
    from_step: int = 0  # training step at which it begins to move; higher: later
    offline: str = "uniform"  # sampler of the offline episodes
    online: str = "uniform"  # sampler of the online episodes

    def validate(self) -> None:
        """Refuse what is not a share."""
        check_share("fraction", self.fraction)
        if self.fraction_end is not None:
            check_share("fraction_end", self.fraction_end)
        for name in ("over_steps", "from_step"):
            if getattr(self, name) < 0:
                raise ValueError(f"the sampler option '{name}' is at least 0; got {getattr(self, name)}")

    def at(self, step: int) -> float:
        """Return the offline fraction at a training step."""
        if self.fraction_end is None:
            return self.fraction
        moved = max(0, step - self.from_step)
        gone = min(1.0, moved / self.over_steps) if self.over_steps else 1.0
        return self.fraction + gone * (self.fraction_end - self.fraction)


class MixtureSampler:
    """Offline rows first, then online ones, in exact numbers."""

    config_type = Config
    PARTS = PHASES

    def __init__(self, store: TrajectoryStore, config: Config, parts: dict[str, Sampler]) -> None:
        self.store, self.config, self.sides = store, config, parts
        self._step = 0
        self._watch = StoreWatch()
        self._filled = {"offline": True, "online": True}  # which sides have an episode
        self._look()

    def __repr__(self) -> str:
        """Return it in one line."""
        return described(self)

    @staticmethod
    def view(store: TrajectoryStore, part: str) -> TrajectoryStore:
        """Return the store a side works on: the episodes of its phase."""
        return cast("TrajectoryStore", PhaseView(store, part))

    @property
    def notes(self) -> list[str]:
        """Return the fallbacks that the sides took."""
        return [note for side in self.sides.values() for note in side.notes]

    @property
    def labels(self) -> np.ndarray:
        """Return the cluster (E,) of every episode within its own side, -1 where that has no clusters."""
        labels = np.full(len(self.store), -1)
        for side in self.sides.values():
            own = getattr(side, "labels", labels[:0])
            labels[: len(own)] = np.where(own >= 0, own, labels[: len(own)])
        return labels

    @property
    def fraction(self) -> float:
        """Return the offline fraction in force: as scheduled, or all or nothing where a side is empty."""
        if not self._filled["online"]:
            return 1.0
        return self.config.at(self._step) if self._filled["offline"] else 0.0

    @property
    def reads_td_errors(self) -> bool:
        """Say whether a side learns from TD errors."""
        return any(side.reads_td_errors for side in self.sides.values())

    def sample(self, rng: np.random.Generator, n: int) -> Anchors:
        """Draw n anchors: the offline ones first."""
        offline = round(n * self.fraction)
        counts = {"offline": offline, "online": n - offline}
        drawn = [self.sides[phase].sample(rng, count) for phase, count in counts.items() if count]
        return drawn[0] if len(drawn) == 1 else Anchors(*(np.concatenate(column) for column in zip(*drawn)))

    def feedback(self, anchors: Anchors, td_error: np.ndarray) -> None:
        """Hand each TD error to the side its episode belongs to."""
        phase = self.store.table.phase[anchors.episode]  # (n,)
        for code, name in enumerate(PHASES):
            mine = phase == code
            if mine.any():
                self.sides[name].feedback(Anchors(*(column[mine] for column in anchors)), td_error[mine])

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Refresh both sides and the schedule."""
        self._step = step
        for side in self.sides.values():
            side.refresh(step, score)
        if self._watch.changed(self.store):
            self._look()

    def probabilities(self) -> np.ndarray:
        """Return p over episodes (E,), 0 for evicted ones."""
        fraction = self.fraction
        shares = {"offline": fraction, "online": 1 - fraction}
        return np.sum([share * self.sides[name].probabilities() for name, share in shares.items()], axis=0)

    def stats(self) -> dict[str, float]:
        """Return the fraction, the figures of the joint law, and those of the sides under their names."""
        stats = {"fraction": self.fraction, **share_stats(self.probabilities()[self.store.live])}
        for name, side in self.sides.items():
            stats.update({f"{name}/{key}": value for key, value in side.stats().items()})
        return stats

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both sides and where the schedule is."""
        return {"step": self._step, **{name: side.state_dict() for name, side in self.sides.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both sides."""
        self._step = int(state["step"])
        for name, side in self.sides.items():
            side.load_state_dict(state[name])
        self._look()

    def _look(self) -> None:
        """Note which sides have an episode to draw."""
        self._filled = {name: bool(side.probabilities().any()) for name, side in self.sides.items()}
