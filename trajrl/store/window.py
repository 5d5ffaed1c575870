"""Windows: an anchor (episode, step) expanded to history, chunk, horizon and the history where the bootstrap is taken.

     t-H+1 ... t | t+1 ... t+k
     [ history ] |
            [ a_t ... a_{t+N-1} ] pad
            [ r_t ... r_{t+k-1} ] pad       k <= n: the horizon stops at the episode's end or at a terminal mark
                  [ next history  ]         ends at o_{t+k}; it always exists, terminated or not

Every step of every episode is a legal anchor.  No row outside the anchor's episode is ever read; padding is zero and masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

    from trajrl.store.store import TrajectoryStore


@dataclass(frozen=True)
class WindowSpec:
    """How much of an episode one window shows."""

    history: int = 1  # H: observations ending at the anchor
    chunk: int = 1  # N: actions from the anchor on
    horizon: int | None = None  # n: rewards from the anchor to the bootstrap; None: the chunk
    next_actions: bool = False  # also gather the chunk at the bootstrap, for SARSA-style targets

    def __post_init__(self) -> None:
        if self.horizon is None:
            object.__setattr__(self, "horizon", self.chunk)
        for name in ("history", "chunk", "horizon"):
            if getattr(self, name) < 1:
                raise ValueError(f"a window's {name} must be at least 1; got {getattr(self, name)}")

    @property
    def n(self) -> int:
        """Return the horizon as a plain integer."""
        return self.chunk if self.horizon is None else self.horizon


class Anchors(NamedTuple):
    """Where windows start: an episode, a step in it, and an importance weight with mean 1 under the sampling law."""

    episode: np.ndarray  # (B,) int64
    step: np.ndarray  # (B,) int64
    weight: np.ndarray  # (B,) float32


class SequenceBatch(NamedTuple):
    """A batch of windows on the agent's device; every padded entry is zero."""

    obs: torch.Tensor  # (B, H, obs)
    prev_actions: torch.Tensor  # (B, H, act)  the action before each observation of the history
    history_mask: torch.Tensor  # (B, H) bool
    actions: torch.Tensor  # (B, N, act)
    action_mask: torch.Tensor  # (B, N) bool
    rewards: torch.Tensor  # (B, n)
    mask: torch.Tensor  # (B, n) bool
    steps: torch.Tensor  # (B,) int64  k, the real steps in the horizon
    terminated: torch.Tensor  # (B,) bool
    next_obs: torch.Tensor  # (B, H, obs)
    next_prev_actions: torch.Tensor  # (B, H, act)
    next_history_mask: torch.Tensor  # (B, H) bool
    weight: torch.Tensor  # (B,)
    episode: torch.Tensor  # (B,) int64
    step: torch.Tensor  # (B,) int64
    next_actions: torch.Tensor | None = None  # (B, N, act)
    next_mask: torch.Tensor | None = None  # (B, N) bool


def gather(store: TrajectoryStore, anchors: Anchors, spec: WindowSpec, device: str | torch.device = "cpu") -> SequenceBatch:
    """Expand anchors to windows, without a loop over the batch."""
    import torch

    episode, step = np.asarray(anchors.episode, np.int64), np.asarray(anchors.step, np.int64)
    length, start = store.table.length[episode], store.table.start[episode]
    if len(step) and (step.min() < 0 or (step >= length).any()):
        bad = int(np.flatnonzero((step < 0) | (step >= length))[0])
        raise ValueError(f"step {step[bad]} is outside episode {episode[bad]} of length {length[bad]}")

    reach, marked = _reach(store, start, step, length, max(spec.n, spec.chunk))  # steps to the end or the mark, (B,)
    k = np.minimum(reach, spec.n)
    bootstrap = step + k  # the observation at which the bootstrap is taken
    terminated = (k == reach) & (marked | ((bootstrap == length) & store.table.terminated[episode]))

    def rows(first: np.ndarray, size: int, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return action rows start + first .. and a mask; what is not valid reads the anchor's own row."""
        offset = first[:, None] + np.arange(size)  # (B, size)
        mask = (offset >= 0) & (np.arange(size) < valid[:, None])
        return start[:, None] + np.where(mask, offset, step[:, None]), mask  # (B, size) both

    def history(last: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the H observations ending at step `last`, the action before each, and their mask."""
        offset = last[:, None] + np.arange(1 - spec.history, 1)  # (B, H)
        mask = offset >= 0
        inside = np.maximum(offset, 0)
        obs = store.obs.take((start + episode)[:, None] + inside, device)  # (B, H, obs)
        prev = store.shape_action(store.actions.take(start[:, None] + np.maximum(offset - 1, 0), device))
        if not mask.all():
            obs.masked_fill_(_to(~mask, device)[..., None], 0)
        if (offset < 1).any():
            prev.masked_fill_(_to(offset < 1, device)[..., None], 0)
        return obs, prev, _to(mask, device)

    def chunk(first: np.ndarray, valid: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the N actions from step `first` on, of which `valid` are real."""
        row, mask = rows(first, spec.chunk, valid)
        actions, inside = store.shape_action(store.actions.take(row, device)), _to(mask, device)
        return (actions if mask.all() else actions.masked_fill_(~inside[..., None], 0)), inside

    obs, prev_actions, history_mask = history(step)
    next_obs, next_prev_actions, next_history_mask = history(bootstrap)
    actions, action_mask = chunk(step, reach)
    reward_row, reward_mask = rows(step, spec.n, reach)
    mask = _to(reward_mask, device)
    rewards = store.shape_reward(store.rewards.take(reward_row, device)).masked_fill_(~mask, 0)
    after: tuple = (None, None)
    if spec.next_actions:
        ahead, _ = _reach(store, start, np.minimum(bootstrap, length - 1), length, spec.chunk)
        after = chunk(bootstrap, np.where(terminated | (bootstrap == length), 0, ahead))
    return SequenceBatch(
        obs, prev_actions, history_mask, actions, action_mask, rewards, mask, _to(k, device), _to(terminated, device),
        next_obs, next_prev_actions, next_history_mask,
        _to(np.asarray(anchors.weight, np.float32), device), _to(episode, device), _to(step, device), *after,
    )  # fmt: skip


def _reach(
    store: TrajectoryStore, start: np.ndarray, step: np.ndarray, length: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Count the steps from the anchor to the episode's end or, if nearer, through the first terminal mark.

    Returns (reach (B,), marked (B,)): looking no further than `limit` steps for a mark.
    """
    reach = length - step
    if "terminal" not in store.extras:
        return reach, np.zeros(len(step), bool)
    offset = np.minimum(np.arange(limit), reach[:, None] - 1)  # (B, limit), inside the episode
    marks = store.extras["terminal"].rows((start + step)[:, None] + offset)  # (B, limit)
    marked = marks.any(1)
    return np.where(marked, marks.argmax(1) + 1, reach), marked


def _to(array: np.ndarray, device: str | torch.device) -> torch.Tensor:
    """Move a small host array to the device."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)
