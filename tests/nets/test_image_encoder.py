"""Encoders of images: sizes and names as published, numbers as torch's own layers give them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d, pad

from trajrl.core.rng import torch_stream
from trajrl.nets.conv import numbers
from trajrl.nets.frozen_encoder import FrozenEncoder, resnet_weights
from trajrl.nets.image_encoder import ImageEncoder
from trajrl.nets.impala import Impala, halved
from trajrl.nets.resnet import FrozenBatchNorm, ResNet18


def rng() -> torch.Generator:
    return torch_stream(0, "init")


def weights(net: nn.Module) -> int:
    return sum(value.numel() for value in net.parameters())


def test_impala_small_has_the_weights_of_its_reference() -> None:
    stage = [(3, 16), (16, 32), (32, 32)]
    due = sum(9 * i * o + o + 2 * (9 * o * o + o) for i, o in stage) + 8 * 8 * 32 * 512 + 512
    assert weights(Impala((64, 64, 3), 512, rng())) == due == 1_105_056


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 6)])
def test_pooling_pads_as_same_does(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    sides = []
    for side in reversed(size):  # the padding that gives ceil(side / 2) windows, less of it in front
        total = max((-(-side // 2) - 1) * 2 + 3 - side, 0)
        sides += [total // 2, total - total // 2]
    expected = max_pool2d(pad(x, sides, value=-torch.inf), 3, 2)
    assert torch.equal(halved(x), expected)


def test_patches_become_channels_and_nothing_is_lost() -> None:
    images = torch.arange(2 * 4 * 6 * 3).view(2, 4, 6, 3).byte()
    cells = numbers(images, 2)
    assert cells.shape == (2, 12, 2, 3)
    assert (cells[1, :, 1, 2] * 255).round().tolist() == images[1, 2:4, 4:6].flatten().tolist()


def test_resnet18_has_torchvisions_names_and_numbers() -> None:
    net = ResNet18(3, rng(), norm=FrozenBatchNorm)
    names = net.state_dict()
    assert {"conv1.weight", "bn1.running_var", "layer1.1.bn2.bias", "layer4.0.downsample.1.weight"} <= set(
        names
    )
    counted = [value.numel() for name, value in names.items() if "running" not in name]
    assert sum(counted) == 11_176_512  # torchvision's 11,689,512 without its last layer
    assert net(torch.zeros(2, 64, 64, 3, dtype=torch.uint8)).shape == (2, 512)


def test_group_norms_know_no_other_image() -> None:
    net = ResNet18(3, rng(), width=0.25)
    images = torch.randint(0, 256, (3, 32, 32, 3), generator=rng()).byte()
    torch.testing.assert_close(net(images)[1:2], net(images[1:2]))


def test_frozen_norms_are_batch_norms_that_no_longer_learn() -> None:
    ours, theirs = FrozenBatchNorm(5), nn.BatchNorm2d(5).eval()
    theirs.running_mean.uniform_(generator=rng())
    theirs.running_var.uniform_(0.5, 2, generator=rng())
    state = {name: value for name, value in theirs.state_dict().items() if name != "num_batches_tracked"}
    ours.load_state_dict(state)
    x = torch.randn(2, 5, 3, 3, generator=rng())
    torch.testing.assert_close(ours(x), theirs(x))


def test_every_key_has_a_network_of_its_own_and_larger_images_are_cut_to_their_middle() -> None:
    shapes = {"front": (16, 16, 3), "side": (10, 8, 1)}
    encoder = ImageEncoder("impala_small", shapes, 4, rng(), width=0.25, crop=0.25)
    assert encoder.sizes == [(12, 12), (8, 6)]
    images = [torch.randint(0, 256, (2, 3, *shape), generator=rng()).byte() for shape in shapes.values()]
    found = encoder(images)
    assert found.shape == (2, 3, 8)
    cut = [images[0][..., 2:14, 2:14, :], images[1][..., 1:9, 1:7, :]]
    assert torch.equal(encoder(cut), found)
    other = [images[0], 255 - images[1]]
    assert torch.equal(encoder(other)[..., :4], found[..., :4])
    assert not torch.equal(encoder(other)[..., 4:], found[..., 4:])


def test_weights_of_a_file_are_found_within_another_model(tmp_path) -> None:
    net = ResNet18(3, torch_stream(5, "init"), norm=FrozenBatchNorm)
    state = {f"module.convnet.{name}": value for name, value in net.state_dict().items()}
    head = {"module.head.weight": torch.zeros(3)}
    torch.save({"r3m": {**state, **head}, "step": 3}, tmp_path / "r3m.pt")
    found = resnet_weights(tmp_path / "r3m.pt")
    assert all(torch.equal(found[name], value) for name, value in net.state_dict().items())
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert FrozenEncoder(str(tmp_path / "r3m.pt"), {"pixels": (32, 32, 3)}).one({"pixels": frame}).shape == (
        512,
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": torch.zeros(2)}, "holds no ResNet-18"),
        (
            nn.Linear(2, 2),
            "holds more than tensors; nothing in it was executed",
        ),
        (b"not weights", "holds no plain weights"),
    ],
)
def test_a_file_without_a_resnet_is_refused(tmp_path, content, said: str) -> None:
    torch.save(content, tmp_path / "x.pt")
    if isinstance(content, bytes):
        (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ValueError, match=said) as error:
        resnet_weights(tmp_path / "x.pt")
    assert "weights_only" not in str(error.value)
