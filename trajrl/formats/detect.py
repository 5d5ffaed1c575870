"""Which format a file or folder has, by its content and never by its name."""

from __future__ import annotations

import zipfile
from pathlib import Path

from trajrl.formats.base.field_names import ROLES
from trajrl.formats.rlds.tfrecord import HEAD, length_of

HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
KNOWN = "D4RL, LeRobot, Minari, robomimic, OGBench, RLDS, npz, pickle and zarr files"
FLAT = {name for role in ("obs", "actions", "rewards") for name in ROLES[role]}
WHOLE = "download or copy it again"


def recognise(path: Path) -> str:
    """Return the name of a format in FORMATS; what is not data is refused with what it is."""
    if path.is_dir():
        return _folder(path)
    try:
        if path.is_fifo():
            raise ValueError(f"{path} is a pipe, which cannot be read twice; write it to a file first")
        with path.open("rb") as file:
            head = file.read(512)
    except PermissionError as error:
        raise PermissionError(f"{path}: no permission to read it") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    if head.startswith(HDF5):
        return _hdf5(path)
    if head.startswith((ZIP, b"PK\x05\x06")):
        return _zip(path)
    if head[:1] == b"\x80" or head[:2] in (b"(l", b"(d", b"]q", b"}q"):
        return "pickle"
    if length_of(head[:HEAD]) is not None:
        return "rlds"
    raise ValueError(f"{path} is {_not_data(head)}")


def _not_data(head: bytes) -> str:
    """Say what the first bytes of a file show that no format begins with."""
    start = head.lstrip().lower()
    if not head:
        return f"empty; {WHOLE}"
    if start.startswith(b"version https://git-lfs"):
        return "a git-lfs pointer, not the data; fetch it with `git lfs pull`"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return f"a web page, perhaps of an error, not the data; {WHOLE}"
    if all(byte in b"\t\n\r\f\b" or byte >= 32 for byte in head):
        return f"text, not data; trajrl reads {KNOWN}"
    return f"of no format trajrl knows; it reads {KNOWN}"


def _hdf5(path: Path) -> str:
    from h5py import Group

    from trajrl.formats.base.hdf5 import child, open_hdf5

    with open_hdf5(path) as file:
        names = set(file)
        if "schema" in file.attrs:
            return "trajrl"
        if {"observations", "actions"} <= names or "virtual" in names:
            return "d4rl"
        demos = child(file, "data") if "data" in names else None
        if isinstance(demos, Group) and any(name.startswith("demo") for name in demos):
            return "robomimic"
        if any(name.startswith("episode_") for name in names):
            return "minari"
        if {"actions", "rewards", "terminals"} & names:
            return "d4rl"  # an incomplete one: its reader says what is missing
    have = ", ".join(sorted(names)) or "nothing"
    flat = "; accepted are observations, actions, rewards and terminals" if names & FLAT else ""
    raise ValueError(f"{path} is an HDF5 file of no layout trajrl knows; it holds {have}{flat}")


def _zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.NameToInfo.keys() & {".zgroup", "zarr.json", "meta/episode_ends/.zarray"}:
                return "zarr"
            names = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a whole npz file ({error}); {WHOLE}") from error
    if not names:
        raise ValueError(
            f"{path} is a zip file without arrays; an npz has members such as 'observations.npy'"
        )
    rewards = {"rewards", "next_observations", "episode_starts"} & names
    return "ogbench" if {"observations", "actions", "terminals"} <= names and not rewards else "npz"


def _folder(path: Path) -> str:
    if (path / "meta" / "info.json").exists():
        return "lerobot"
    if any((path / name).exists() for name in (".zgroup", "zarr.json", "meta/episode_ends/.zarray")):
        return "zarr"
    if any(path.glob("*.tfrecord*")) or (path / "features.json").exists():
        return "rlds"
    for data in (path / "data", path):
        if (data / "metadata.json").exists() or (data / "main_data.hdf5").exists():
            return "minari"
    files = list(path.glob("*.npz"))
    if files:
        from trajrl.formats.npz.folder import one_episode_each

        return "npz-folder" if one_episode_each(files) else "ogbench"
    raise ValueError(
        f"{path} is a folder without shards (*.npz) or data/metadata.json; name a file or such a folder"
    )
