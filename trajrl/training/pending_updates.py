"""PendingUpdates: updates whose numbers are still on the device.  All of them are read together, by one wait.

A CPU has them at once.  On another device every read waits for all that was launched before it, so the loop
lets up to LATEST updates pile up where nobody needs them sooner: no sampler that learns from TD errors, no
other process, no environment.  They are read before anything is logged, judged or saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trajrl.training.role_batches import Drawn


class Learned(NamedTuple):
    """What one update produced."""

    step: int
    drawn: Drawn
    td_error: Tensor  # (B,) of the values' rows
    metrics: Mapping[str, Tensor]


class Read(NamedTuple):
    """The same in numbers."""

    step: int
    drawn: Drawn
    td_error: np.ndarray  # (B,) float32
    metrics: dict[str, float]


class PendingUpdates:
    """Updates in order, oldest first."""

    def __init__(self) -> None:
        self.waiting: list[Learned] = []

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, step: int, drawn: Drawn, td_error: Tensor, metrics: Mapping[str, Tensor]) -> None:
        """Take in an update; nothing is read."""
        self.waiting.append(Learned(step, drawn, td_error, metrics))

    def read(self) -> Iterator[Read]:
        """Yield what is pending, and forget it."""
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        errors = torch.stack([one.td_error.float() for one in waiting]).cpu().numpy()
        values = [value.double() for one in waiting for value in one.metrics.values()]
        numbers = iter(torch.stack(values).tolist() if values else ())
        for one, td_error in zip(waiting, errors, strict=True):
            yield Read(one.step, one.drawn, td_error, {name: next(numbers) for name in one.metrics})
