"""Normaliser: (o - mean) / std with statistics that are saved with the agent; the identity where there are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

SMALLEST_STD = 1e-3  # a column that hardly varies is only centred, not blown up


class Normaliser(nn.Module):
    """o (..., obs) -> (o - mean) / std."""

    mean: Tensor
    scale: Tensor

    def __init__(self, obs_dim: int, statistics: Mapping[str, Any] | None = None) -> None:
        """Take `obs_mean` and `obs_std` (obs,) from the statistics; None is the identity."""
        super().__init__()
        self.on = statistics is not None
        mean, std = torch.zeros(obs_dim), torch.ones(obs_dim)
        if statistics is not None:
            mean = torch.as_tensor(statistics["obs_mean"], dtype=torch.float32)
            std = torch.as_tensor(statistics["obs_std"], dtype=torch.float32)
        if mean.shape != (obs_dim,):
            raise ValueError(f"statistics are of {tuple(mean.shape)} columns; the agent sees {obs_dim}")
        self.register_buffer("mean", mean)
        self.register_buffer("scale", torch.where(std < SMALLEST_STD, torch.ones_like(std), 1 / std))

    def forward(self, obs: Tensor) -> Tensor:
        """Normalise; without statistics return the very same tensor."""
        return (obs - self.mean) * self.scale if self.on else obs
