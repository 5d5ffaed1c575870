"""Impala: three stages of convolution, pooling and residual blocks, then one layer, as OGBench has it small.

    stage    conv 3x3, max pool 3x3 of stride 2, then x + conv(relu(conv(relu(x)))) for each block
    net      stages of 16, 32, 32 channels, relu, flat, gelu(linear)

Paper: Espeholt et al. 2018; with one block a stage in Park et al. 2025 (OGBench).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, max_pool2d

from trajrl.nets.conv import conv, numbers
from trajrl.nets.mlp import linear

CHANNELS = (16, 32, 32)


class Block(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int, rng: torch.Generator) -> None:
        super().__init__()
        self.first, self.second = conv(channels, channels, 3, rng), conv(channels, channels, 3, rng)

    def forward(self, x: Tensor) -> Tensor:
        """Add to x (N, c, h, w) what two convolutions make of it."""
        return x + self.second(self.first(x.relu()).relu())


class Stage(nn.Module):
    """Halve the image: (N, c, h, w) -> (N, c', h / 2, w / 2), rounded up."""

    def __init__(self, in_channels: int, channels: int, blocks: int, rng: torch.Generator) -> None:
        super().__init__()
        self.conv = conv(in_channels, channels, 3, rng)
        self.blocks = nn.ModuleList(Block(channels, rng) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, pool, and apply the blocks."""
        x = halved(self.conv(x))
        for block in self.blocks:
            x = block(x)
        return x


class Impala(nn.Module):
    """Images (N, h, w, c) of bytes -> features (N, features)."""

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        rng: torch.Generator,
        *,
        width: float = 1.0,
        patch: int = 1,
        blocks: int = 1,
    ) -> None:
        """Draw the weights.

        Args:
            shape: (height, width, channels) of an image
            width: multiple of the channels
        """
        super().__init__()
        height, breadth, channels = shape
        if height % patch or breadth % patch:
            raise ValueError(f"image_patch {patch} does not divide images of {height}x{breadth} pixels")
        self.patch = patch
        widths = [channels * patch**2, *(max(1, round(c * width)) for c in CHANNELS)]
        self.stages = nn.ModuleList(Stage(i, o, blocks, rng) for i, o in pairwise(widths))
        size = [side // patch for side in (height, breadth)]
        for _ in self.stages:
            size = [-(-side // 2) for side in size]
        self.out = linear(widths[-1] * size[0] * size[1], features, rng, "xavier")

    def forward(self, images: Tensor) -> Tensor:
        """Encode each image."""
        x = numbers(images, self.patch)
        for stage in self.stages:
            x = stage(x)
        return gelu(self.out(x.relu().flatten(1)))


def halved(x: Tensor) -> Tensor:
    """Return the maxima over 3x3 at every second place, padded as little as half the size needs."""
    height, width = x.shape[-2:]
    return max_pool2d(x, 3, 2, padding=(height % 2, width % 2), ceil_mode=True)
