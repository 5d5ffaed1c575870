"""Windows: an anchor (episode, step) expanded to history, chunk, horizon and the history at the bootstrap.

     t-H+1 ... t | t+1 ... t+k
     [ history ] |
            [ a_t ... a_{t+N-1} ] pad
            [ r_t ... r_{t+k-1} ] pad     k = min(n, T - t): only the episode's end cuts a chunk or a horizon
                  [ next history  ]       ends at o_{t+k}; it always exists, terminated or not

    y = sum_{j < k} gamma^j r_{t+j} + gamma^k (1 - terminated) V(next)
    terminated = any mark in t .. t+k-1, or t + k = T and the episode terminated

A mark (extras "terminal") is a solved step inside a recording that continues.  It cuts nothing: actions and
rewards past it are real and stay, and the target takes no value from beyond the horizon, as Q-chunking
publishes it; a horizon without chunks does the same.  So `pad` and `drop` differ at an episode's end only.
`--after-success keep` is this; `cut` ends the episode at its first mark, which is then an end like any other.

With a law of goals (store/goals.py) an observation is (o, g), and rewards and ends are those of the goal.

Every step of every episode is a legal anchor.  No row outside the anchor's episode is ever read; padding is
zero and masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from trajrl.core.one_line import one_line, shaped
from trajrl.store.frames import next_frames

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class WindowSpec:
    """How much of an episode one window shows."""

    history: int = 1  # H: observations ending at the anchor
    chunk: int = 1  # N: actions from the anchor on
    horizon: int | None = None  # n: rewards from the anchor to the bootstrap; None: the chunk
    next_actions: bool = False  # also gather the chunk at the bootstrap, for SARSA-style targets
    return_gamma: float | None = None  # also gather the return to go, discounted so
    merit: bool = False  # also gather the merit of the window's episode
    actions: int = 0  # actions gathered, where a critic sees more than the chunk that a policy gives; 0: N

    def __post_init__(self) -> None:
        if self.horizon is None:
            object.__setattr__(self, "horizon", self.chunk)
        for name in ("history", "chunk", "horizon"):
            if getattr(self, name) < 1:
                raise ValueError(f"a window's {name} must be at least 1; got {getattr(self, name)}")
        if self.actions and self.actions < self.chunk:
            raise ValueError(f"a window's actions hold its chunk, {self.chunk}; got {self.actions}")
        if self.return_gamma is not None and not 0 <= self.return_gamma <= 1:
            raise ValueError(f"a window's return_gamma must be between 0 and 1; got {self.return_gamma}")

    @property
    def n(self) -> int:
        """Return the horizon as a plain integer."""
        return self.chunk if self.horizon is None else self.horizon

    @property
    def num_actions(self) -> int:
        """Return how many actions are gathered from the anchor on."""
        return self.actions or self.chunk


class AnchorError(ValueError):
    """An anchor that is not in the store."""


class Anchors(NamedTuple):
    """Where windows start: an episode, a step in it, and an importance weight with mean 1 under the law."""

    episode: np.ndarray  # (B,) int64
    step: np.ndarray  # (B,) int64
    weight: np.ndarray  # (B,) float32


class SequenceBatch(NamedTuple):
    """A batch of windows on the agent's device; every padded entry is zero."""

    obs: torch.Tensor  # (B, H, obs)
    prev_actions: torch.Tensor  # (B, H, act)  the action before each observation of the history
    history_mask: torch.Tensor  # (B, H) bool
    actions: torch.Tensor  # (B, N, act); more of them where WindowSpec.actions says so
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

    # With WindowSpec.return_gamma: the rewards to the episode's end or its first solved step, m of them.
    returns: torch.Tensor | None = None  # (B,) sum of gamma^j r_{t+j}, j < m
    end_discount: torch.Tensor | None = None  # (B,) gamma^m where the recording was cut there, else 0
    end_obs: torch.Tensor | None = None  # (B, H, obs) the history that ends at o_{t+m}
    end_prev_actions: torch.Tensor | None = None  # (B, H, act)
    end_history_mask: torch.Tensor | None = None  # (B, H) bool

    merit: torch.Tensor | None = None  # (B,) of the episode, with WindowSpec.merit

    # Of a store with images: the frames of both histories, the first H of them those of this one.
    images: tuple[torch.Tensor, ...] | None = None  # (B, F, height, width, channels) uint8, one for each key
    next_image: torch.Tensor | None = None  # (B, H) where the next history's are; None: the last H

    @property
    def images_here(self) -> tuple[torch.Tensor, ...]:
        """Return the images of the history, each (B, H, height, width, channels)."""
        return tuple(frames[:, : self.obs.shape[1]] for frames in self.images or ())

    @property
    def images_next(self) -> tuple[torch.Tensor, ...]:
        """Return the images of the next history, each (B, H, height, width, channels)."""
        size = self.obs.shape[1]
        return tuple(next_frames(frames, self.next_image, size) for frames in self.images or ())

    def __repr__(self) -> str:
        """Return the shapes and the device; the numbers stay where they are."""
        shapes = [shaped(name, getattr(self, name)) for name in ("obs", "actions", "rewards")]
        return one_line(self, *shapes, str(getattr(self.obs, "device", "")))
