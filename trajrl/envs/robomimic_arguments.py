"""What data say of the task that they were recorded in: the arguments that make it again, and show it alike.

camera_names, camera_heights, camera_widths    as the file's env_args, else as its frames are
image_sizes                                    what the import made of those frames, where it made other sizes
state_keys                                     what the vector consists of, where it is not the usual
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trajrl.envs.robomimic_cameras import IMAGE, sides_of
from trajrl.envs.robomimic_vector import OBJECT, OBJECT_STATE, usual_keys

OWN = ("image_sizes", "state_keys")  # arguments that are not robosuite's


def recorded_arguments(provenance: Any) -> dict[str, Any]:
    """Return the arguments that data were recorded under; of several origins only what all say alike."""
    if not isinstance(provenance, Mapping):
        return {}
    before = provenance.get("origins") or [
        provenance.get("origin")
    ]  # of a merge or a mixture, else of features
    if isinstance(before, list) and before != [None]:
        found = [recorded_arguments(one) for one in before]
        return found[0] if all(one == found[0] for one in found) else {}
    if collected := part(provenance, "arguments"):
        return dict(collected)
    made = part(part(provenance, "versions"), "env_args")
    arguments = part(made, "env_kwargs")
    size = part(provenance, "options").get("image_size")
    drawn = camera_arguments(part(provenance, "images"), size, arguments)
    keys = state_keys(part(provenance, "obs_keys"), str(made.get("env_version", "")))
    return {**arguments, **drawn, **({"state_keys": keys} if keys else {})}


def part(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a mapping that lies in another; an empty one where there is none."""
    held = found.get(name)
    return held if isinstance(held, Mapping) else {}


def state_keys(widths: Mapping[str, int], version: str) -> list[str]:
    """Return what the vectors of a file consist of; nothing where it is as published, or has no names."""
    keys = list(widths)
    numbers = [int(word) if word.isdigit() else 0 for word in version.split(".")[:2]]
    if numbers >= [1, 5]:
        keys = [OBJECT_STATE if key == OBJECT else key for key in keys]
    return [] if keys in (usual_keys(1), usual_keys(2), ["flat"]) else keys


def camera_arguments(
    held: Mapping[str, Sequence[int]], size: Sequence[int] | None, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments that draw images again as a store holds them.

    Args:
        held: (height, width, channels) of each image in the file, by key
        size: that the import made them; None: they stayed as they were
        arguments: of the file
    """
    keys = [key for key in held if key.endswith(IMAGE)]
    if not keys:
        return {}
    names = [key.removesuffix(IMAGE) for key in keys]
    known = [sides_of(arguments, name) for name in names]
    drawn = [[height or held[key][0], width or held[key][1]] for key, (height, width) in zip(keys, known)]
    shown = {key: list(size or held[key][:2]) for key in keys}
    sizes = {key: shown[key] for key, sides in zip(keys, drawn) if shown[key] != sides}
    heights, widths = map(list, zip(*drawn))
    found = {"camera_names": names, "camera_heights": heights, "camera_widths": widths}
    return {**found, "image_sizes": sizes} if sizes else found
