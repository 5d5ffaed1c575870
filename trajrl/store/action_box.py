"""ActionBox: the bounds that actions were recorded in, and the map between them and [-1, 1].

    u = (a - middle) / half    a = middle + half * u    middle = (low + high) / 2    half = (high - low) / 2

A store knows its box (attributes action_low, action_high) and where it is from (action_box_from).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import torch

SLACK = 1e-6  # of half the box: what rounding may leave it by
FLAT = np.float32(1e-6)  # half the width that a dimension without any is taken to have
SCALED = "actions_scaled"  # attribute: the numbers are trajrl's own [-1, 1], whatever the environment's box


@dataclass(frozen=True)
class ActionBox:
    """Lower and upper bound of every action dimension."""

    low: np.ndarray  # (act,)
    high: np.ndarray  # (act,)

    @classmethod
    def of(cls, low: ArrayLike, high: ArrayLike, width: int) -> ActionBox:
        """Make a box of `width` dimensions from one number for all of them or one for each."""
        bounds = [np.asarray(bound, np.float32).ravel() for bound in (low, high)]
        for bound in bounds:
            if bound.size not in (1, width):
                raise ValueError(f"the action box has {bound.size} numbers and actions have {width}")
        lower, upper = (np.broadcast_to(bound, width).copy() for bound in bounds)
        if not np.isfinite([lower, upper]).all() or not (lower <= upper).all():
            raise ValueError(f"an action box has finite bounds, low below high; got {lower} and {upper}")
        return cls(lower, upper)

    @property
    def is_unit(self) -> bool:
        """Say whether it is [-1, 1] in every dimension."""
        return bool((self.low == -1).all() and (self.high == 1).all())

    @property
    def middle(self) -> np.ndarray:
        """Return the middle, (act,)."""
        return (self.high + self.low) / 2

    @property
    def half(self) -> np.ndarray:
        """Return half of the width, (act,)."""
        return (self.high - self.low) / 2

    def same_as(self, other: ActionBox) -> bool:
        """Say whether two boxes agree but for rounding."""
        if self.low.shape != other.low.shape:
            return False
        apart = np.maximum(np.abs(self.low - other.low), np.abs(self.high - other.high))
        return bool((apart <= 1e-5 * self.half).all())

    def holds(self, low: np.ndarray, high: np.ndarray) -> bool:
        """Say whether actions from `low` to `high` lie inside but for rounding."""
        slack = SLACK * self.half
        return bool((low >= self.low - slack).all() and (high <= self.high + slack).all())

    def to_unit(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the function that brings actions of this box into [-1, 1] and cuts what lies outside."""
        import torch

        bounds = torch.from_numpy(np.stack([self.middle, np.maximum(self.half, FLAT)]))

        def scaled(actions: torch.Tensor) -> torch.Tensor:
            nonlocal bounds
            bounds = bounds.to(actions.device)  # stays where it was used last
            return ((actions - bounds[0]) / bounds[1]).clamp(-1, 1)

        return scaled

    def from_unit(self, actions: np.ndarray) -> np.ndarray:
        """Bring actions (..., act) from [-1, 1] into this box."""
        return actions if self.is_unit else self.middle + self.half * actions

    def attributes(self, origin: str) -> dict[str, Any]:
        """Return what a store keeps of it."""
        return {**self.bounds(), "action_box_from": origin}

    def bounds(self) -> dict[str, list[float]]:
        """Return the bounds as plain values."""
        return {"action_low": self.low.tolist(), "action_high": self.high.tolist()}

    def __str__(self) -> str:
        """Write the box as [low, high], one pair where all dimensions have the same."""
        if len(np.unique(self.low)) == len(np.unique(self.high)) == 1:
            return f"[{self.low[0]:g}, {self.high[0]:g}]"
        return f"[{_listed(self.low)}] to [{_listed(self.high)}]"


def unit_box(width: int) -> ActionBox:
    """Return [-1, 1] in every dimension."""
    return ActionBox.of(-1.0, 1.0, width)


def recorded_box(attributes: Mapping[str, Any], width: int) -> ActionBox | None:
    """Return the box that a store's attributes name, where they name one."""
    if "action_low" not in attributes or "action_high" not in attributes:
        return None
    return ActionBox.of(attributes["action_low"], attributes["action_high"], width)


def box_origin(attributes: Mapping[str, Any]) -> str:
    """Return where the box of a store is from, in words; empty where it has none."""
    if "action_low" not in attributes:
        return ""
    if attributes.get("action_box_from"):
        return str(attributes["action_box_from"])
    return "collect, in [-1, 1]" if is_scaled(attributes) else "the store, which does not say more"


def is_scaled(attributes: Mapping[str, Any]) -> bool:
    """Say whether trajrl recorded the numbers in [-1, 1]: made data, or an old `collect` without a box."""
    if attributes.get(SCALED):
        return True
    provenance = attributes.get("provenance")
    collected = isinstance(provenance, Mapping) and provenance.get("command") == "collect"
    return collected and "action_box_from" not in attributes


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values.tolist())
