"""Episode: one reset-to-end run of an environment, T actions between T+1 observations.

obs   o_0 o_1 ... o_T        actions   a_0 ... a_{T-1}        rewards   r_0 ... r_{T-1}

An observation is a vector, images under names, or both: obs (T+1, 0) where there are images alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from trajrl.core.one_line import one_line, shaped
from trajrl.store.images import PREFIX, check_images


@dataclass(frozen=True, eq=False, repr=False)
class Episode:
    """One episode; shapes are checked here, numbers become float32 and flags bool."""

    obs: np.ndarray  # (T+1, obs) float32
    actions: np.ndarray  # (T, act) float32
    rewards: np.ndarray  # (T,) float32
    terminated: bool  # True: the MDP ended.  False: the recording was cut
    success: bool | None = None  # None where neither the environment nor the data says
    source: str = ""
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)  # per-step columns, (T, ...)
    images: Mapping[str, np.ndarray] = field(default_factory=dict)  # (T+1, height, width, channels) uint8

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        for name in ("obs", "actions", "rewards"):
            set_field(self, name, np.ascontiguousarray(getattr(self, name), dtype=np.float32))
        set_field(self, "terminated", bool(self.terminated))
        set_field(self, "success", None if self.success is None else bool(self.success))
        set_field(self, "extras", {name: np.asarray(column) for name, column in self.extras.items()})
        set_field(self, "images", {name: np.asarray(self.images[name]) for name in sorted(self.images)})
        self._check()

    def _check(self) -> None:
        length = len(self.actions)
        if self.obs.ndim != 2 or self.actions.ndim != 2:
            raise ValueError(
                "an episode takes obs (T+1, obs) and actions (T, act); "
                f"got {self.obs.shape} and {self.actions.shape}; images are given by name, as images="
            )
        if length < 1:
            raise ValueError("an episode needs at least one action")
        if len(self.obs) != length + 1:
            raise ValueError(f"{length} actions need {length + 1} observations; got {len(self.obs)}")
        if self.rewards.shape != (length,):
            raise ValueError(f"{length} actions need rewards of shape ({length},); got {self.rewards.shape}")
        check_images(self.images, length + 1)
        for name, column in self.extras.items():
            if column.ndim < 1 or len(column) != length:
                raise ValueError(f"extra '{name}' has shape {column.shape}; its first axis must be {length}")
            if column.dtype.kind not in "biuf":
                raise ValueError(f"extra '{name}' has type {column.dtype}; a column holds numbers or flags")
        marks = self.extras.get("terminal")
        if marks is not None and (marks.dtype != bool or marks.ndim != 1):
            raise ValueError("the extra 'terminal' marks steps: it must be bool of shape (T,)")

    def __repr__(self) -> str:
        """Return its length, what it holds, and how it ended."""
        columns = [shaped(name.removeprefix("extras/"), column) for name, column in self.columns.items()]
        end = "terminated" if self.terminated else "truncated"
        success = {True: "success", False: "no success", None: ""}[self.success]
        facts = f"return {self.episode_return:.6g}", end, success, self.source and f"source {self.source!r}"
        return one_line(self, f"{len(self)} steps", *facts, *columns)

    def __len__(self) -> int:
        """Return T, the number of actions."""
        return len(self.actions)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Return every array under the name of its column in a store's file."""
        columns = {"obs": self.obs, "actions": self.actions, "rewards": self.rewards}
        columns.update({f"{PREFIX}{name}": frames for name, frames in self.images.items()})
        return columns | {f"extras/{name}": column for name, column in self.extras.items()}

    @property
    def episode_return(self) -> float:
        """Return the undiscounted sum of rewards, added in double precision."""
        return float(self.rewards.sum(dtype=np.float64))
