"""The rows of windows: which places of a store's columns they read, and what is padding there.

No row outside the anchor's episode is ever read; padding is zero and masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from trajrl.store.store import TrajectoryStore


def begins(
    store: TrajectoryStore, episode: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places (B,) of the first observation, action and reward of episodes; the others follow."""
    if store.obs.whole and store.actions.whole and store.rewards.whole:
        return start + episode, start, start
    size, places = store.derived.get("places", (0, ()))
    if size != len(store):  # looked up once for all episodes: a batch then takes a few of them
        starts, ids = store.table.start, np.arange(len(store))
        places = store.obs.place(starts + ids), store.actions.place(starts), store.rewards.place(starts)
        store.derived["places"] = len(store), places
    obs, actions, rewards = (of.take(episode) for of in places)
    return obs, actions, rewards


def marked(store: TrajectoryStore, row: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return (B,) whether any of the `count` steps from an action row on is marked as solved."""
    marks = store.marks()  # (M,) rows in order, closed by one that lies beyond every episode
    if len(marks) == 1:
        return np.zeros(len(row), bool)
    return marks[np.searchsorted(marks, row)] < row + count


def histories(
    store: TrajectoryStore,
    start: np.ndarray,
    obs_start: np.ndarray,
    last: np.ndarray,
    size: int,
    device: str | torch.device,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the H observations ending at `last` (L, B), the action before each, and their mask.

    Args:
        start, obs_start: (B,) places of the episodes' first action and first observation
    """
    offset = last[..., None] + np.arange(1 - size, 1)  # (L, B, H)
    inside = np.maximum(offset, 0)
    obs = store.obs.take_at(inside + obs_start[:, None], device)
    prev = store.shape_action(store.actions.take_at(np.maximum(offset - 1, 0) + start[:, None], device))
    mask = offset >= 0
    if (
        last.min(initial=size) < size
    ):  # some history is padded, or has a first observation without an action before it
        _zero(obs, ~mask)
        _zero(prev, offset < 1)
    return obs, prev, on_device(mask, device)


def chunk_of(
    store: TrajectoryStore, first: np.ndarray, valid: np.ndarray, size: int, device: str | torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the N actions from place `first` on, of which `valid` (B,) are real, and their mask."""
    row, mask = _run(first, valid, size)
    actions = store.shape_action(store.actions.take_at(row, device))  # (B, N, act)
    _zero(actions, ~mask)
    return actions, on_device(mask, device)


def rewards_of(
    store: TrajectoryStore, first: np.ndarray, valid: np.ndarray, size: int, device: str | torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the n rewards from place `first` on, of which `valid` (B,) are real, and their mask."""
    row, mask = _run(first, valid, size)
    rewards = store.shape_reward(store.rewards.take_at(row, device))  # (B, n)
    _zero(rewards, ~mask)
    return rewards, on_device(mask, device)


def _run(first: np.ndarray, valid: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows first .. first + size - 1 (B, size), held at the last valid one, and which are valid.

    With none valid the row before `first` is read: it is the step that led there, in the same episode.
    """
    count = np.arange(size)
    return first[:, None] + np.minimum(count, valid[:, None] - 1), count < valid[:, None]


def _zero(values: torch.Tensor, padding: np.ndarray) -> None:
    """Set the padded rows of values (*padding.shape, ...) to zero, in place."""
    index = np.flatnonzero(padding)
    if len(index):
        flat = values.view(padding.size, *values.shape[padding.ndim :])
        flat.index_fill_(0, on_device(index, values.device), 0)


def on_device(array: np.ndarray, device: str | torch.device) -> torch.Tensor:
    """Move a small host array, owned by this call, to the device."""
    import torch

    return torch.from_numpy(array).to(device, non_blocking=True)
