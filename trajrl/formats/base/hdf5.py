"""Foreign HDF5 files: one clear line where they cannot be opened; never followed out of themselves."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trajrl.core.atomic_files import require_space
from trajrl.store.file.bounds import DEEPEST, MOST_COLUMNS, Visited, require_stored

CHUNK_CACHE_BYTES = 64 << 20  # old files hold a column in few large compressed chunks


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading; a missing, forbidden or broken one fails with one line."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name the file in it")
    try:
        with path.open("rb"):
            pass
        return h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except PermissionError as error:
        raise PermissionError(f"{path}: no permission to read it") from error
    except OSError as error:
        raise ValueError(f"{path} is not a whole HDF5 file ({error}); download or copy it again") from error


def hdf5_file(path: Path, num_bytes: int) -> h5py.File:
    """Open a new file that will take at most so many bytes, once the disk is known to have room for them."""
    require_space(path, num_bytes)
    return h5py.File(path, "w", track_order=True)


def child(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Return a member of a group by name; whatever leads elsewhere, in the file or out of it, is refused."""
    link = group.get(name, getlink=True)
    if link is None:
        inside = f"'{group.name}' of " if group.name != "/" else ""
        raise ValueError(
            f"{inside}{group.file.filename} has no '{name}'; it has {', '.join(group) or 'nothing'}"
        )
    place = f"{group.file.filename}: '{group.name.rstrip('/')}/{name}'"
    if not isinstance(link, h5py.HardLink):
        kind = "an external" if isinstance(link, h5py.ExternalLink) else "a soft"
        raise ValueError(f"{place} is {kind} link; trajrl follows no links: copy the data into the file")
    item = group[name]
    if isinstance(item, h5py.Datatype):
        raise ValueError(f"{place} is a named datatype, not an array; copy the data into a new file")
    if isinstance(item, h5py.Dataset):
        if item.is_virtual:  # HDF5 ends the process on one that refers to itself
            raise ValueError(f"{place} is a virtual dataset; trajrl follows no links: copy the data in")
        if item.external:
            raise ValueError(
                f"{place} keeps its rows in another file; trajrl follows no links: copy the data in"
            )
        require_stored(item)
    elif item.name.count("/") > DEEPEST:
        raise ValueError(f"{place} holds itself, or is nested too deeply; copy the data into a new file")
    return item


def members(group: h5py.Group) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Yield every member of a group with its name."""
    for name in group:
        yield name, child(group, name)


def columns_below(
    group: h5py.Group, skip: Collection[str] = (), most: int = MOST_COLUMNS
) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield every dataset of a group and of the groups in it, with its place.

    Args:
        skip: groups directly in this one that are left out.
        most: datasets and groups that there may be.
    """
    return _below(group, "", skip, Visited(group.file.filename, most))


def _below(
    group: h5py.Group, prefix: str, skip: Collection[str], visited: Visited
) -> Iterator[tuple[str, h5py.Dataset]]:
    visited.enter(group)
    for name, item in members(group):
        visited.count()
        if isinstance(item, h5py.Dataset):
            yield prefix + name, item
        elif name not in skip:
            yield from _below(item, f"{prefix}{name}/", (), visited)


def numbered(group: h5py.Group, prefix: str) -> list[str]:
    """Return the members called `prefix` and a number, in order of the number (demo_2 before demo_10)."""
    found = [name for name in group if re.fullmatch(re.escape(prefix) + r"\d+", name)]
    return sorted(found, key=lambda name: int(name[len(prefix) :]))


def text(value: Any) -> str:
    """Return an attribute or scalar as text, however it was stored."""
    if isinstance(value, h5py.Dataset):
        value = value[()]
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(())[()]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
