"""Whether an episode fits a store: the same widths, images, and per-step columns of types that keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trajrl.store.images import described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trajrl.store.column import Column
    from trajrl.store.episode import Episode


def require_fit(
    episode: Episode,
    widths: tuple[int, int],
    images: Mapping[str, tuple[int, ...]],
    extras: Mapping[str, Column],
) -> None:
    """Refuse an episode that does not fit, before anything of it is taken in.

    Args:
        widths: of the store's observations and actions
        images: shape of each of its images
        extras: its per-step columns
    """
    got = episode.obs.shape[1], episode.actions.shape[1]
    if got != widths:
        raise ValueError(
            f"this store has observations of {widths[0]} and actions of {widths[1]} numbers; "
            f"the episode has {got[0]} and {got[1]}"
        )
    shown = {name: frames.shape[1:] for name, frames in episode.images.items()}
    if shown != images:
        here, there = described(widths[0], images), described(got[0], shown)
        raise ValueError(f"this store has observations of {here}; the episode has {there}")
    for name, column in episode.extras.items():
        kept = extras.get(name)
        if kept and (kept.width != column.shape[1:] or not holds(kept.base.dtype, column.dtype)):
            raise ValueError(
                f"extra '{name}' of this store is {kept.base.dtype} {kept.width} per step; "
                f"the episode has {column.dtype} {column.shape[1:]}"
            )


def holds(kept: np.dtype, given: np.dtype) -> bool:
    """Say whether a column keeps numbers of a type: without loss, or rounded where both are floats."""
    floats = kept.kind == given.kind == "f"
    return floats or np.can_cast(given, kept, "safe")
