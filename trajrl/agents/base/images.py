"""Images of observations: what an agent that takes them reads of its config, and random cuts of a batch.

    cut at (top, left) from -shift .. margin + shift, one place for all frames of a window, edges repeated

Papers: Yarats et al. 2021 (shifts); Chi et al. 2023 (crops); Park et al. 2025 (one place for both histories).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trajrl.agents.base.checks import above_zero, at_least_one, not_negative, one_of
from trajrl.agents.base.protocol import Batches
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.image_encoder import ENCODERS, ImageEncoder, cut_size
from trajrl.store.window import SequenceBatch

Shapes = Mapping[str, tuple[int, ...]]  # (height, width, channels) by key


@dataclass(frozen=True)
class ImageConfig:
    """Fields of a config that matter where observations hold images, and nowhere else."""

    image_encoder: str = "impala_small"  # of images: impala_small, or resnet18, which is larger and slower
    image_features: int = 512  # numbers that it makes of an image; raising it: finer, slower
    image_width: float = 1.0  # multiple of its channels; lowering it: faster, coarser
    image_patch: int = 1  # squares of so many pixels a side are one place; raising it: faster, coarser
    image_crop: float = 0.0  # share of the sides cut away, at random in training, else evenly; 0: none
    image_shift: int = 0  # pixels that training moves images by at random; raising it: less overfitting

    def check_images(self) -> None:
        """Check the fields; what depends on the images' size is checked when networks are built."""
        one_of(self, image_encoder=ENCODERS)
        at_least_one(self, "image_features", "image_patch")
        above_zero(self, "image_width")
        not_negative(self, "image_shift", "image_crop")
        if self.image_crop >= 1:
            raise ValueError(f"image_crop is a share below 1; got {self.image_crop}")


def build_image_encoder(config: Any, shapes: Shapes, rng: torch.Generator) -> ImageEncoder | None:
    """Build the networks for images; without any there are none, and nothing is drawn."""
    if not shapes:
        return None
    return ImageEncoder(
        config.image_encoder, shapes, config.image_features, rng,
        width=config.image_width, patch=config.image_patch, crop=config.image_crop,
    )  # fmt: skip


def features_of(config: Any, shapes: Shapes) -> int:
    """Return how many numbers the encoder makes of an observation's images."""
    return config.image_features * len(shapes) if shapes else 0


def augmented(batch: SequenceBatch | Batches, config: Any, rng: torch.Generator) -> SequenceBatch | Batches:
    """Return the batch with its images cut at random places, drawn on the CPU for all processes alike."""
    if isinstance(batch, Batches):
        policy = moved(batch.policy, config, rng)
        return Batches(policy, policy if batch.values is batch.policy else moved(batch.values, config, rng))
    return moved(batch, config, rng)


def moved(batch: SequenceBatch, config: Any, rng: torch.Generator) -> SequenceBatch:
    """Cut the images of one batch."""
    if not batch.images or not (config.image_crop or config.image_shift):
        return batch
    place = local_rows(torch.rand(whole_rows(len(batch.steps)), len(batch.images), 2, generator=rng))
    images = []
    for frames, where in zip(batch.images, place.unbind(1)):
        size = cut_size(frames.shape[2:], config.image_crop)
        images.append(cut(frames, corners(frames.shape[2:4], size, where, config.image_shift), size))
    return batch._replace(images=tuple(images))


def corners(whole: tuple[int, ...], size: tuple[int, int], where: Tensor, shift: int) -> Tensor:
    """Return the corners (B, 2) of cuts: of [0, 1) numbers (B, 2), every place is as likely as another."""
    room = torch.tensor([side - kept for side, kept in zip(whole, size)])
    return (where * (room + 2 * shift + 1)).long() - shift


def cut(frames: Tensor, corner: Tensor, size: tuple[int, int]) -> Tensor:
    """Return cuts (B, F, *size, c) of frames (B, F, h, w, c) at corners (B, 2); edges repeat outside."""
    (height, width), (batch, count) = frames.shape[2:4], frames.shape[:2]
    down, right = (
        (corner[:, axis, None] + torch.arange(kept)).clamp(0, side - 1).to(frames.device, non_blocking=True)
        for axis, (kept, side) in enumerate(zip(size, (height, width)))
    )  # (B, size[0]), (B, size[1])
    each = torch.arange(batch, device=frames.device)[:, None, None, None]
    frame = torch.arange(count, device=frames.device)[:, None, None]
    return frames[each, frame, down[:, None, :, None], right[:, None, None, :]]
