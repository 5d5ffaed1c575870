"""Images among the observations of RLDS steps: PNG or JPEG as TFDS writes them, or tensors of bytes.

steps/observation/KEY -> image KEY (N, h, w, c), a slash in its name becomes a dot
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trajrl.formats.base.columns import ArrayColumn
from trajrl.formats.base.episode_images import encoded_images, plain_images
from trajrl.formats.base.options import Options
from trajrl.formats.base.transitions import check_numbers
from trajrl.formats.rlds.description import Feature
from trajrl.formats.rlds.example import Values

STEPS, OBS = "steps/", "observation"


def images_of(
    found: Mapping[str, Values], features: Mapping[str, Feature], count: int, options: Options
) -> dict[str, np.ndarray]:
    """Return the images (N, h, w, c) that are asked for, by the names of their features."""
    images = {}
    for name in (f"{OBS}/{key}" for key in options.obs_keys if f"{OBS}/{key}" in found):
        values, known = found[name], features.get(STEPS + name)
        if not isinstance(values, np.ndarray):
            if len(values) != count:
                raise ValueError(f"'{name}' has {len(values)} images for {count} steps; one each is due")
            images[name] = encoded_images(values, options.size, f"'{name}'")
        elif known is not None and known.shape is not None and len(known.shape) == 3:
            if not values.size or values.size != count * int(np.prod(known.shape, dtype=object)):
                due = f"{count} x {list(known.shape)}"
                raise ValueError(f"'{name}' has {values.size} numbers for {count} steps; {due} are due")
            column = ArrayColumn(values.reshape(count, *known.shape))
            sample = ArrayColumn(np.empty((0, *known.shape), np.uint8))
            check_numbers("the record", name, sample, "observations")
            images[name] = plain_images(column, 0, count, options.size, f"'{name}'")
    return images


def named(images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return images by the names that they have in a store."""
    return {name.removeprefix(f"{OBS}/").replace("/", "."): rows for name, rows in images.items()}
