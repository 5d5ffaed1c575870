"""Relabel: other rewards for the same steps, from a function, from success, or scaled and shifted.

    r' = scale * r + shift        r = the store's own | function(episode) | 1 where a success happened, else 0

A success happens at the marked steps of an episode that succeeded (extras/terminal), else at its last one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trajrl.store.edit.rewrite import CLUSTERING, Edit
from trajrl.store.episode import Episode
from trajrl.store.notes import counted
from trajrl.store.store import TrajectoryStore

Reward = Callable[[Episode], Any]  # -> (T,) one number for each action
UNITS = ("reward", "rewards")  # what units may call them


@dataclass(frozen=True)
class Rewards:
    """Where rewards come from, and what is made of them."""

    name: str = ""  # of the function, as typed
    function: Reward | None = None
    of_success: bool = False
    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, episode: Episode) -> Episode:
        """Return the episode with its new rewards."""
        rewards = np.asarray(self._found(episode), np.float64) * self.scale + self.shift  # (T,)
        with np.errstate(over="ignore"):
            stored = rewards.astype(np.float32)
        if not np.isfinite(stored).all():
            step = int(np.flatnonzero(~np.isfinite(stored))[0])
            raise ValueError(
                f"{self.name or 'the new reward'} is {rewards[step]} at step {step} of an episode of "
                f"{counted('step[s]', len(episode))} of source '{episode.source}'; a reward is a finite "
                "number (float32 ends at 3.4e38)"
            )
        return replace(episode, rewards=stored)

    def _found(self, episode: Episode) -> Any:
        """Return rewards (T,) before they are scaled."""
        if self.of_success:
            return success_rewards(episode)
        return episode.rewards if self.function is None else self._called(episode)

    def _called(self, episode: Episode) -> np.ndarray:
        """Call the function and hold it to one number for each action."""
        assert self.function is not None
        found = np.asarray(self.function(_read_only(episode)))
        if found.shape != (len(episode),) or found.dtype.kind not in "biuf":
            raise ValueError(
                f"{self.name} returned {found.dtype} of shape {found.shape} for an episode of {len(episode)} "
                f"actions; it must return {len(episode)} numbers, one for each action"
            )
        return found

    def asked(self) -> dict[str, Any]:
        """Return what provenance says."""
        named = {"reward": self.name} if self.function is not None else {}
        of_success = {"success_to_reward": True} if self.of_success else {}
        return {**named, **of_success, "scale": self.scale, "shift": self.shift}


def _read_only(episode: Episode) -> Episode:
    """Return the episode in arrays that refuse to be written to, for only its rewards may become others."""

    def still(column: np.ndarray) -> np.ndarray:
        view = column.view()
        view.flags.writeable = False
        return view

    return replace(
        episode, obs=still(episode.obs), actions=still(episode.actions), rewards=still(episode.rewards),
        extras={name: still(column) for name, column in episode.extras.items()},
        images={name: still(frames) for name, frames in episode.images.items()},
    )  # fmt: skip


def success_rewards(episode: Episode) -> np.ndarray:
    """Return 1 where an episode succeeds and 0 elsewhere, (T,)."""
    rewards = np.zeros(len(episode), np.float32)
    if episode.success:
        marks = episode.extras.get("terminal", np.zeros(len(episode), bool))
        rewards[marks if marks.any() else [-1]] = 1.0
    return rewards


def relabelled(store: TrajectoryStore, rewards: Rewards) -> Edit:
    """Return the edit that gives every episode new rewards; nothing else changes."""
    live = store.live
    if rewards.of_success:
        silent = int((store.table.success[live] < 0).sum())
        if silent:
            advice = (
                '; `store filter --where "success is not None"` leaves them out' if silent < len(live) else ""
            )
            raise ValueError(
                f"{silent} of {len(live)} episodes of {store.opened_from} do not say whether they succeeded, "
                f"which is not the same as a failure{advice}"
            )
    units = store.attributes.get("units") or {}
    kept = {name: value for name, value in units.items() if name not in UNITS}
    lost = ["the unit of rewards"] if len(kept) < len(units) else []
    by_return = bool((store.attributes.get(CLUSTERING) or {}).get("spec", {}).get("returns"))
    if by_return:
        lost.append("clusters (they were made of the old returns; `store cluster` makes new ones)")
    return Edit(
        "relabel", rewards.asked(), store, live, change=rewards, drops=lost,
        attributes={"units": kept} if len(kept) < len(units) else {}, keeps_clusters=not by_return,
    )  # fmt: skip
