"""Named random streams.

    stream(seed, name, *index) = Generator(Philox(SeedSequence([seed, crc32(name), *index])))

Every random number of the package comes from here.  A stream is a pure function of its arguments, so a
checkpoint holds no random state, any step can be run again alone, and evaluating more often changes no
training number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    import torch


def sequence(seed: int, name: str, *index: int) -> np.random.SeedSequence:
    """Mix the run's seed, the stream's name and its index; neighbouring indices are independent."""
    return np.random.SeedSequence([seed, crc32(name.encode()), *index])


def stream(seed: int, name: str, *index: int) -> np.random.Generator:
    """Return the numpy generator of the stream `name` at `index`."""
    return np.random.Generator(np.random.Philox(sequence(seed, name, *index)))


def integer(seed: int, name: str, *index: int) -> int:
    """Return a 63-bit seed for something that takes an integer, such as an environment's reset."""
    return int(sequence(seed, name, *index).generate_state(1, np.uint64)[0] >> 1)


def torch_stream(seed: int, name: str, *index: int, device: str = "cpu") -> torch.Generator:
    """Return the torch generator of the stream `name` at `index`."""
    import torch

    return torch.Generator(device=device).manual_seed(integer(seed, name, *index))
