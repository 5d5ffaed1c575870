"""Options: everything a reader can be asked for; one that a format has no use for is refused, not ignored."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from trajrl.core.registry import unknown
from trajrl.formats.base.depth import check_range
from trajrl.formats.base.resize import Size, check_size

ENDS = ("auto", "flags", "resets")
SPLITS = ("train", "val", "all")
FLAT = ("d4rl", "npz", "pickle")  # columns in which episodes lie one behind another
ONLY_FOR = {  # option -> the formats that read it; the others read every option that is not here
    "depth_range": ("lerobot", "npz-folder", "robomimic"),
    "ends": (*FLAT, "lerobot", "rlds"),
    "horizon": FLAT,
    "filter": ("robomimic",),
    "image_size": ("lerobot", "minari", "npz-folder", "rlds", "robomimic", "zarr"),
    "obs_keys": ("lerobot", "minari", "npz-folder", "rlds", "robomimic", "zarr"),
    "split": ("ogbench", "rlds"),
    "trust_pickle": ("pickle",),
}


@dataclass(frozen=True)
class Options:
    """How to read a source; the defaults read every published set as its facts say."""

    environment: str = ""  # environment id to record; also decides the family where the content does not
    source: str = ""  # label of every episode; empty: the file's own labels, else its name
    obs_keys: tuple[str, ...] = ()  # order in which observation groups are concatenated; images among them
    image_size: tuple[int, ...] = ()  # height and width that images are made; empty: as the source has them
    depth_range: tuple[float, ...] = ()  # nearest and farthest metres that depth has as bytes; empty: refused
    ends: str = "auto"  # flags: only terminals and timeouts end episodes; resets: only jumps in the state do
    horizon: int = 0  # steps after which an episode is cut where a file has no timeouts; 0: the family's own
    filter: str = ""  # only the demonstrations that this mask names
    split: str = "train"  # files of a shard folder: train, val or all
    action_box: tuple[tuple[float, ...], ...] = ()  # low and high of the actions, as the user says; wins
    env_box: tuple[tuple[float, ...], ...] = ()  # that of the environment recorded; a box in the file wins
    trust_pickle: bool = False  # load pickles that hold more than arrays: runs code from the file

    @property
    def size(self) -> Size | None:
        """Return height and width that images are made; None: they stay as they are."""
        return (self.image_size[0], self.image_size[1]) if self.image_size else None

    def validate(self) -> None:
        """Refuse values that no reader knows."""
        if self.ends not in ENDS:
            raise ValueError(f"ends is one of {', '.join(ENDS)}; got '{self.ends}'")
        if self.split not in SPLITS:
            raise ValueError(f"split is one of {', '.join(SPLITS)}; got '{self.split}'")
        check_size(self.image_size)
        if self.image_size and not self.obs_keys:
            raise ValueError("an image size is for images, and --obs-keys names which of them are read")
        if self.depth_range and not self.obs_keys:
            raise ValueError("a range of depth is for images, and --obs-keys names which of them are read")
        check_range(self.depth_range)
        if self.horizon < 0:
            raise ValueError(f"a horizon is a positive number of steps; got {self.horizon}")


def check_used(options: Options, format: str) -> None:
    """Refuse options that the format would leave unused."""
    for name, formats in ONLY_FOR.items():
        if getattr(options, name) != getattr(Options(), name) and format not in formats:
            raise ValueError(f"the option {name} is for {', '.join(formats)}; this source is {format}")


def make_options(values: dict[str, Any]) -> Options:
    """Build options by name; an unknown name fails with the nearest one."""
    names = [field.name for field in fields(Options)]
    for name in values:
        if name not in names:
            raise ValueError(unknown("reader option", name, names))
    chosen: dict[str, Any] = {
        name: tuple(value) if name in ("obs_keys", "image_size", "depth_range") else value
        for name, value in values.items()
    }
    options = replace(Options(), **chosen)
    options.validate()
    return options
