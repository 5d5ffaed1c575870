"""Frames: the images of both histories of a window; one that both see is copied once.

    n < H    one run o_{t-H+1} .. o_{t+n}, F = H + n frames; the next history begins k frames into it
    n >= H   o_{t-H+1} .. o_t and o_{t+k-H+1} .. o_{t+k}, F = 2 H frames, in this order

Frames before the episode are zero; those of a run behind o_{t+k} repeat it, and no history shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from trajrl.store.store import TrajectoryStore


def gather_frames(
    store: TrajectoryStore,
    first: np.ndarray,
    step: np.ndarray,
    k: np.ndarray,
    size: tuple[int, int],
    device: str | torch.device,
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor | None]:
    """Return every image's frames (B, F, h, w, c), and where in them the next history lies, (B, H).

    Args:
        first: observation rows (B,) of o_0
        size: history H and horizon n
    """
    import torch

    history, horizon = size
    if horizon < history:
        ahead = np.minimum(np.arange(1 - history, horizon + 1), k[:, None])  # (B, H + n)
        place: torch.Tensor | None = torch.from_numpy(k[:, None] + np.arange(history)).to(device)
    else:
        back = np.arange(1 - history, 1)
        ahead = np.concatenate([np.broadcast_to(back, (len(k), history)), k[:, None] + back], 1)  # (B, 2 H)
        place = None
    offset = step[:, None] + ahead
    inside, before = np.maximum(offset, 0), np.flatnonzero(offset < 0)
    images = []
    for column in store.images.values():
        frames = column.take_at(column.place(first)[:, None] + inside, device)  # (B, F, h, w, c)
        if len(before):
            frames.view(offset.size, *column.width)[torch.from_numpy(before).to(device)] = 0
        images.append(frames)
    return tuple(images), place


def next_frames(frames: torch.Tensor, place: torch.Tensor | None, history: int) -> torch.Tensor:
    """Return the next history's frames (B, H, h, w, c) of a window's frames (B, F, h, w, c)."""
    import torch

    if place is None:
        return frames[:, history:]
    return frames[torch.arange(len(place), device=place.device)[:, None], place]
