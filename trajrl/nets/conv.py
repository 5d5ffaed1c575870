"""Convolutions whose weights come from a given generator, and bytes of images as numbers.

Images arrive as (N, height, width, channels); their channels stay innermost in memory, which is the order in
which processors convolve fastest.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Conv(nn.Conv2d):
    """A convolution that draws nothing of itself, and so not from torch's global generator."""

    def reset_parameters(self) -> None:
        """Leave the weights to `conv`."""


@torch.no_grad()
def conv(
    in_channels: int, out_channels: int, size: int, rng: torch.Generator, stride: int = 1, bias: bool = True
) -> nn.Conv2d:
    """Return a convolution of size x size that keeps the image's size (over the stride): Glorot weights."""
    layer = Conv(in_channels, out_channels, size, stride=stride, padding=size // 2, bias=bias, device="cpu")
    nn.init.xavier_uniform_(layer.weight, generator=rng)
    if layer.bias is not None:
        layer.bias.zero_()
    return layer


def numbers(images: Tensor, patch: int = 1) -> Tensor:
    """Return bytes (N, h, w, c) as numbers in [0, 1], (N, c', h', w').

    Args:
        patch: squares of patch x patch pixels become channels of one; nothing is lost
    """
    if patch > 1:
        n, h, w, c = images.shape
        cells = images.view(n, h // patch, patch, w // patch, patch, c).transpose(2, 3)
        images = cells.reshape(n, h // patch, w // patch, patch * patch * c)
    return images.permute(0, 3, 1, 2).float() / 255
