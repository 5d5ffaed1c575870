"""FrozenEncoder: images -> features by weights that never change, one frame at a time.

    NAME        impala_small or resnet18 with random weights, drawn from a seed
    FILE.pt     weights of a ResNet-18 under torchvision's names, perhaps within another model's

A frame by itself gives the same bits in a store and while acting.  Frames are seen at their own size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trajrl.core.damage import first_line
from trajrl.core.registry import unknown
from trajrl.core.rng import torch_stream
from trajrl.nets.conv import numbers
from trajrl.nets.image_encoder import ENCODERS
from trajrl.nets.impala import Impala
from trajrl.nets.resnet import FrozenBatchNorm, ResNet18

IMPALA_FEATURES = 512
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what such weights expect
MARK = "layer1.0.conv1.weight"  # a name that only a ResNet of basic blocks has


class Pretrained(nn.Module):
    """A ResNet-18 whose weights are from a file."""

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.net = ResNet18(3, torch_stream(0, "frozen"), norm=FrozenBatchNorm)
        self.net.load_state_dict(dict(weights))
        for name, value in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(value)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (N, h, w, 3): (N, 512)."""
        return self.net.places((numbers(images) - self.mean) / self.std).mean((2, 3))


class FrozenEncoder:
    """The features of every image of an observation, side by side."""

    def __init__(self, encoder: str, shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> None:
        """Build the networks.

        Args:
            encoder: a name of ENCODERS, or a file of weights
        """
        self.shapes = dict(shapes)
        self.nets = {name: build_frozen(encoder, shape, seed) for name, shape in self.shapes.items()}
        example = {name: np.zeros(shape, np.uint8) for name, shape in self.shapes.items()}
        self.width = len(self.one(example))

    def one(self, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the features (D,) of one observation's images, each (h, w, c)."""
        with torch.no_grad():
            found = [
                net(torch.from_numpy(np.array(images[name]))[None])[0] for name, net in self.nets.items()
            ]
        return torch.cat(found).numpy()


def build_frozen(encoder: str, shape: tuple[int, ...], seed: int) -> nn.Module:
    """Build the network for images of one shape (height, width, channels)."""
    rng = torch_stream(seed, "frozen")
    net: nn.Module
    if encoder == "impala_small":
        net = Impala(shape, IMPALA_FEATURES, rng)
    elif encoder == "resnet18":
        net = ResNet18(shape[2], rng)
    elif Path(encoder).suffix in (".pt", ".pth"):
        if shape[2] != 3:
            raise ValueError(f"{encoder} is for images of 3 channels; these have {shape[2]}")
        net = Pretrained(resnet_weights(Path(encoder)))
    else:
        raise ValueError(f"{unknown('image encoder', encoder, ENCODERS)}; or a file of weights, NAME.pt")
    return net.eval().requires_grad_(False)


def resnet_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a ResNet-18 from a file, which runs no code; what is above its features is left."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} holds no plain weights ({first_line(error)}); save a model's state_dict()"
        ) from error
    named = flat_weights(found)
    prefix = next((name.removesuffix(MARK) for name in named if name.endswith(MARK)), None)
    if prefix is None:
        raise ValueError(f"{path} holds no ResNet-18 under torchvision's names: no '{MARK}'")
    wanted = ResNet18(3, torch_stream(0, "frozen"), norm=FrozenBatchNorm).state_dict()
    own = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
    wrong = [n for n, like in wanted.items() if n not in own or own[n].shape != like.shape]
    if wrong:
        raise ValueError(f"{path} is no ResNet-18: '{prefix}{wrong[0]}' is missing or of another shape")
    return {name: own[name].float() for name in wanted}


def flat_weights(found: Any, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors of nested dictionaries by their names joined with dots."""
    if isinstance(found, Tensor):
        return {prefix.rstrip("."): found}
    parts = found.items() if isinstance(found, Mapping) else ()
    return {k: v for name, part in parts for k, v in flat_weights(part, f"{prefix}{name}.").items()}


def weights_hash(encoder: str) -> str:
    """Return the hash of a file of weights; a name has none."""
    path = Path(encoder)
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() if path.suffix else ""
