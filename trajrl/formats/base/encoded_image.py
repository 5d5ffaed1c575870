"""Images of strangers, packed as PNG or JPEG: the head says how large they are before a pixel is unpacked.

    bytes -> (height, width, channels) of bytes; channels: 1 grey, 3 colour, and one more where some is opaque

Palettes and black and white are written out.  What has more than 8 bits is refused: bytes do not hold it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import Image

from trajrl.core.damage import DAMAGE, first_line

KINDS = ("PNG", "JPEG")
MOST_PIXELS = 1 << 24  # of one image, 4096 x 4096; pillow's own bound is ten times as high
KEPT = ("L", "LA", "RGB", "RGBA")  # pillow's modes of 8 bits
WRITTEN_OUT = {"1": "L", "P": "RGB"}
DEEP = "I;16"


def decode(raw: bytes | memoryview, place: str, deep: bool = False) -> np.ndarray:
    """Return the pixels of an image (h, w, c); `place` is what the image is called.

    Args:
        deep: whole numbers of 16 bits are returned as they are, (h, w, 1)
    """
    with _opened(raw, place) as image:
        if image.width * image.height > MOST_PIXELS:
            pixels = f"{image.width} x {image.height} pixels"
            raise ValueError(f"{place} is an image of {pixels}; at most {MOST_PIXELS:,} are unpacked")
        if image.mode not in (*KEPT, *WRITTEN_OUT, *([DEEP] if deep else [])):
            raise ValueError(
                f"{place} is an image of the kind {image.mode}, which bytes do not hold; write it "
                "grey or RGB with 8 bits"
            )
        try:
            shown = image.convert(WRITTEN_OUT.get(image.mode, image.mode))
        except DAMAGE as error:
            raise ValueError(f"{place} is damaged ({first_line(error)}); copy it again") from error
    frame = np.asarray(shown)
    return frame.reshape(*frame.shape[:2], -1)


@contextmanager
def _opened(raw: bytes | memoryview, place: str) -> Iterator[Image.Image]:
    """Read the head of an image; only kinds that are named are tried."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes and of broken notes beside the pixels
        try:
            image = Image.open(BytesIO(raw), formats=KINDS)
        except Image.DecompressionBombError as error:
            raise ValueError(f"{place} is an image of far too many pixels; none were unpacked") from error
        except DAMAGE as error:
            kinds = " or ".join(KINDS)
            raise ValueError(f"{place} holds no {kinds} image that can be read; copy it again") from error
        with image:
            yield image
