"""Normaliser: (o - mean) / std with statistics that are saved with the agent; the identity when it is off."""

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

    def __init__(self, obs_dim: int, on: bool, statistics: Mapping[str, Any] | None = None) -> None:
        """Take `obs_mean` and `obs_std` (obs,) now, or with a saved state later; off, both are ignored."""
        super().__init__()
        self.on = on
        self.known = False  # whether mean and scale are those of a data set
        self.register_buffer("mean", torch.zeros(obs_dim))
        self.register_buffer("scale", torch.ones(obs_dim))
        self.register_load_state_dict_post_hook(lambda module, keys: setattr(module, "known", True))
        if on and statistics is not None:
            self.learn(torch.as_tensor(statistics["obs_mean"]), torch.as_tensor(statistics["obs_std"]))

    def learn(self, mean: Tensor, std: Tensor) -> None:
        """Take mean and std (obs,) of the observations."""
        if mean.shape != self.mean.shape or std.shape != self.mean.shape:
            raise ValueError(f"statistics of {len(mean)} columns do not fit observations of {len(self.mean)}")
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(std < SMALLEST_STD, 1.0, 1 / std))
        self.known = True

    def forward(self, obs: Tensor) -> Tensor:
        """Normalise; when off return the very same tensor."""
        if not self.on:
            return obs
        if not self.known:
            raise ValueError(
                "normalize_obs has no statistics; give make_agent statistics=dict(obs_mean=..., obs_std=...)"
            )
        return (obs - self.mean) * self.scale
