"""ResNet-18, with the names of torchvision's weights, so that a file of those fits.

    stem 7x7 of stride 2, pool 3x3 of stride 2, four stages of two blocks (64, 128, 256, 512), mean

While learning its norms are group norms: they know no other row, and no average of past batches.  Frozen
weights from a file come with batch norms, whose averages are kept as they are.

Paper: He et al. 2016; group norms in its place in Chi et al. 2023.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, max_pool2d

from trajrl.nets.conv import conv, numbers

STAGES = (64, 128, 256, 512)
GROUP = 16  # channels of a group norm's group
Norm = Callable[[int], nn.Module]


class FrozenBatchNorm(nn.Module):
    """(x - mean) / std * weight + bias, with the averages of the training that the weights come from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, c, h, w) by the kept averages."""
        mean, var, weight, bias = (
            self.get_buffer(name) for name in ("running_mean", "running_var", "weight", "bias")
        )
        return batch_norm(x, mean, var, weight, bias)


def group_norm(channels: int) -> nn.Module:
    """Return a norm over groups of channels of one image."""
    return nn.GroupNorm(max(1, channels // GROUP), channels)


class BasicBlock(nn.Module):
    """relu(x + norm(conv(relu(norm(conv(x))))))."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, norm: Norm, rng: torch.Generator
    ) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, rng, stride, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = conv(channels, channels, 3, rng, bias=False)
        self.bn2 = norm(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                conv(in_channels, channels, 1, rng, stride, bias=False), norm(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (N, c, h, w)."""
        inner = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (inner + self.downsample(x)).relu()


class ResNet18(nn.Module):
    """Images (N, h, w, c) of bytes -> features (N, 512)."""

    features = STAGES[-1]

    def __init__(
        self, channels: int, rng: torch.Generator, *, width: float = 1.0, norm: Norm = group_norm
    ) -> None:
        super().__init__()
        stem, *_ = widths = [max(1, round(c * width)) for c in STAGES]
        self.features = widths[-1]
        self.conv1, self.bn1 = conv(channels, stem, 7, rng, 2, bias=False), norm(stem)
        for index, (before, after) in enumerate(zip([stem, *widths], widths), 1):
            first = BasicBlock(before, after, 1 if index == 1 else 2, norm, rng)
            self.add_module(f"layer{index}", nn.Sequential(first, BasicBlock(after, after, 1, norm, rng)))

    def forward(self, images: Tensor) -> Tensor:
        """Encode each image."""
        return self.places(numbers(images)).mean((2, 3))

    def places(self, x: Tensor) -> Tensor:
        """Return the last stage's output (N, 512, h / 32, w / 32) of numbers (N, c, h, w)."""
        x = max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, padding=1)
        for index in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"layer{index}")(x)
        return x
