"""Cameras of robosuite as robomimic's image data have them: bytes, upper row first, an image for each key.

    KEY = CAMERA_image        image = resized(rows of robosuite's frame, last first)

robosuite draws as OpenGL does, its first row the lowest; robomimic turns what it writes, so acting does.  A
frame is drawn as large as the file says that its camera was, and resized as the import resized the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from trajrl.core.registry import unknown
from trajrl.formats.base.resize import LARGEST, Size, resized

IMAGE = "_image"  # ends the keys of images
SIDES = ("camera_heights", "camera_widths")  # robosuite's arguments: one number for all cameras, or one each
USUAL = 84  # pixels of a side where nothing says: robomimic's own image data


class Camera(NamedTuple):
    """One camera of a task."""

    name: str  # in the simulation
    drawn: Size  # height and width of its frames
    shown: Size  # and of the images that observations hold

    def image(self, simulation: Any) -> np.ndarray:
        """Return what the camera sees now, (height, width, 3) of bytes."""
        height, width = self.drawn
        frame = simulation.render(height=height, width=width, camera_name=self.name)[::-1]
        return resized(np.ascontiguousarray(frame), self.shown)


def cameras_of(keys: Iterable[str], arguments: Mapping[str, Any], task: str) -> dict[str, Camera]:
    """Return the camera behind each key of an image, drawn as the arguments say."""
    found = {}
    for key in keys:
        if not key.endswith(IMAGE):
            raise ValueError(
                f"{task} shows images under CAMERA{IMAGE}, such as agentview{IMAGE}; got '{key}'"
            )
        name = key.removesuffix(IMAGE)
        drawn = _size(arguments, name, task)
        asked = arguments.get("image_sizes")
        shown = asked.get(key, drawn) if isinstance(asked, Mapping) else drawn
        found[key] = Camera(name, drawn, _checked(shown, f"{task}: image_sizes of '{key}'"))
    return found


def require_cameras(cameras: Mapping[str, Camera], simulation: Any, task: str) -> None:
    """Refuse a camera that the task has not."""
    have = list(simulation.model.camera_names)
    for camera in cameras.values():
        if camera.name not in have:
            raise ValueError(unknown(f"camera of {task}", camera.name, have))


def _size(arguments: Mapping[str, Any], camera: str, task: str) -> Size:
    """Return height and width of a camera's frames."""
    height, width = sides_of(arguments, camera)
    for name, side in zip(SIDES, (height, width)):
        if side is None and name in arguments:
            raise ValueError(f"{task}: {name} names no size of '{camera}'; got {arguments[name]}")
    return _checked((height or USUAL, width or USUAL), f"{task}: the frames of '{camera}'")


def sides_of(arguments: Mapping[str, Any], camera: str) -> tuple[int | None, int | None]:
    """Return height and width that arguments name for a camera; None where they do not."""
    names = arguments.get("camera_names", ())
    names = [names] if isinstance(names, str) else list(names or ())
    sides = []
    for name in SIDES:
        side = arguments.get(name)
        if isinstance(side, list | tuple):
            each = dict(zip(names, side))
            side = each.get(camera)
        sides.append(side if type(side) is int else None)
    return sides[0], sides[1]


def _checked(size: Any, what: str) -> Size:
    """Return a size; what is none is refused."""
    sides = list(size) if isinstance(size, list | tuple) else []
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= LARGEST for side in sides):
        raise ValueError(f"{what}: a height and a width of 1 to {LARGEST} pixels are due; got {size}")
    return sides[0], sides[1]
