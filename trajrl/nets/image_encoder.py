"""ImageEncoder: the images of observations -> features, a network of its own for every key.

    images, each (B, H, h, w, c) bytes  ->  (B, H, sum of features)

An image larger than what the networks were built for is cut to its middle: training cuts at random places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from trajrl.core.registry import unknown
from trajrl.nets.impala import Impala
from trajrl.nets.mlp import linear
from trajrl.nets.resnet import ResNet18

ENCODERS = ("impala_small", "resnet18")


class ResNetFeatures(nn.Module):
    """A ResNet-18 and one layer above it."""

    def __init__(self, channels: int, features: int, rng: torch.Generator, *, width: float) -> None:
        super().__init__()
        self.net = ResNet18(channels, rng, width=width)
        self.out = linear(self.net.features, features, rng, "xavier")

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (N, h, w, c): (N, features)."""
        return self.out(self.net(images)).relu()


class ImageEncoder(nn.Module):
    """A network for each image of an observation, their features side by side."""

    def __init__(
        self,
        kind: str,
        shapes: Mapping[str, tuple[int, ...]],
        features: int,
        rng: torch.Generator,
        *,
        width: float = 1.0,
        patch: int = 1,
        crop: float = 0.0,
    ) -> None:
        """Draw the weights.

        Args:
            crop: share of each side that is cut away
        """
        super().__init__()
        self.width = features * len(shapes)
        self.sizes = [cut_size(shape, crop) for shape in shapes.values()]
        self.nets = nn.ModuleList()
        for shape, size in zip(shapes.values(), self.sizes):
            self.nets.append(build(kind, (*size, shape[2]), features, rng, width, patch))

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """Return the features (B, H, width) of images, each (B, H, h, w, c)."""
        found = []
        for net, size, frames in zip(self.nets, self.sizes, images, strict=True):
            rows = middle(frames, size).flatten(0, 1)  # (B H, h, w, c)
            found.append(net(rows).unflatten(0, frames.shape[:2]))
        return torch.cat(found, -1)


def build(
    kind: str, shape: tuple[int, ...], features: int, rng: torch.Generator, width: float, patch: int
) -> nn.Module:
    """Build the network for images of one shape (height, width, channels)."""
    if kind == "impala_small":
        return Impala(shape, features, rng, width=width, patch=patch)
    if kind == "resnet18":
        return ResNetFeatures(shape[2], features, rng, width=width)
    raise ValueError(unknown("image encoder", kind, ENCODERS))


def cut_size(shape: Sequence[int], crop: float) -> tuple[int, int]:
    """Return height and width of an image (height, width, ...) of which a share is cut away."""
    height, width = (max(1, round(side * (1 - crop))) for side in shape[:2])
    return height, width


def middle(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the middle of frames (..., h, w, c)."""
    top, left = ((side - kept) // 2 for side, kept in zip(frames.shape[-3:-1], size))
    return frames[..., top : top + size[0], left : left + size[1], :]
