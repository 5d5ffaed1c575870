"""Hand-written actors: their chunks name the step they were asked at; they keep what they were shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trajrl.agents.base.protocol import History
from trajrl.store.window import WindowSpec


class Counting:
    """Acts (step asked at + place in the chunk) / 100, or noise of its row; keeps every history it saw."""

    device = torch.device("cpu")

    def __init__(self, action_dim: int, history: int = 1, chunk: int = 1, noisy: bool = False) -> None:
        self.spec = WindowSpec(history=history, chunk=chunk)
        self.action_dim, self.noisy = action_dim, noisy
        self.seen: list[History] = []
        self.calls: list[int] = []  # rows asked for, per call

    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> torch.Tensor:
        self.seen.append(history)
        self.calls.append(len(history.obs))
        if self.noisy:
            shape = (self.spec.chunk, self.action_dim)
            return torch.stack([torch.rand(shape, generator=row) * 2 - 1 for row in rng])
        step = history.obs[:, -1, :1, None]  # (V, 1, 1)
        place = torch.arange(self.spec.chunk)[None, :, None]
        return ((step + place) / 100).expand(-1, -1, self.action_dim)


class Constant(Counting):
    """Acts a fixed value."""

    def __init__(self, action_dim: int, value: float) -> None:
        super().__init__(action_dim)
        self.value = value

    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> torch.Tensor:
        return torch.full((len(history.obs), 1, self.action_dim), self.value)


class Watcher:
    """Acts at random, in chunks of two, and keeps every history that it was shown."""

    spec = WindowSpec(3, 2, 2)
    device = torch.device("cpu")

    def __init__(self, action_dim: int, images: dict) -> None:
        self.action_dim, self.images = action_dim, images
        self.shown: list[History] = []

    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> torch.Tensor:
        self.shown.append(history.each(torch.clone))
        return torch.stack([torch.rand(2, self.action_dim, generator=row) * 2 - 1 for row in rng])
