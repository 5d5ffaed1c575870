"""The store's file, piece by piece: datasets with a digest each, attributes, and the seal over all of them.

    obs (R, obs)   actions (S, act)   rewards (S,)   extras/* (S, ...)   table/* (E,)   stats/*
    attributes: schema = 1, environment, units, provenance, ...
    fingerprint = hash of the content's digests    seal = hash of every digest and every attribute

Texts are of fixed length: they lie in checksummed headers, not in HDF5's global heap.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trajrl.core.atomic_files import require_space
from trajrl.core.damage import DAMAGE, first_line
from trajrl.core.program import program
from trajrl.store.file.bounds import DEEPEST, Unpacked, Visited, require_stored
from trajrl.store.hashing import CONTENT_TABLE, combine, digest, new_hash
from trajrl.store.table import CORE

SCHEMA = 1
MOST_DATASETS = 10_000  # and groups, in one file
HEADROOM_BYTES = 1 << 16  # for headers and what closing a file still writes
# How h5py makes the two kinds of file; the chunk index of v110 carries checksums.
PLAIN: dict[str, Any] = {"libver": ("v108", "v110"), "alignment_threshold": 4096, "alignment_interval": 4096}
PACKED: dict[str, Any] = {"libver": ("v110", "v110")}
ON_DISK = tuple(name for name in CORE if name != "alive")
RESERVED = ("schema", "fingerprint", "seal", "statistics")  # attributes that the file gives itself


def open_file(path: Path) -> h5py.File:
    """Open a store file for reading; anything else fails with one line."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; a store is one file")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path}: no permission to read it")
    try:
        # No lock: a store is replaced by renaming, never written in place; some file systems have no locks.
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        if isinstance(error, PermissionError):
            raise PermissionError(f"{path}: no permission to read it") from error
        raise ValueError(
            f"{path} is not a whole HDF5 file ({first_line(error)}); import or copy it again"
        ) from error
    try:
        check_schema(path, file)
    except BaseException:
        file.close()
        raise
    return file


def check_schema(path: Path | str, file: h5py.File) -> None:
    """Refuse HDF5 that is no store, or one of another schema."""
    try:
        schema = int(file.attrs["schema"]) if "schema" in file.attrs else None
    except DAMAGE as error:
        raise damaged(path, error) from error
    if schema is None:
        again = f"`{program()} store import {path} --out X.h5` makes one"
        raise ValueError(f"{path} is an HDF5 file but not a trajrl store; {again}")
    if schema != SCHEMA:
        raise ValueError(
            f"{path} has schema {schema}; this trajrl reads {SCHEMA}: update trajrl or import the data again"
        )


def damaged(path: Path | str, error: BaseException) -> ValueError:
    """Return the one line for a store file that cannot be read whole."""
    return ValueError(f"{path} is damaged ({first_line(error)}); import or copy it again")


def make_room(file: h5py.File, num_bytes: int) -> None:
    """Fail before HDF5 does if the disk does not take so many bytes more than the file has and reserves."""
    file.flush()
    require_space(Path(file.filename), num_bytes + HEADROOM_BYTES, file.id.get_filesize())


def put(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Write one small dataset with its digest, in place of one of that name."""
    make_room(file, values.nbytes)
    if name in file:
        del file[name]
    dataset = file.create_dataset(name, data=values)
    dataset.attrs["digest"] = np.bytes_(digest(values))


def recorded_digest(dataset: h5py.Dataset) -> str:
    """Return the digest that was written with a dataset."""
    value = dataset.attrs["digest"]
    return value.decode() if isinstance(value, bytes) else str(value)


def datasets(file: h5py.File) -> list[str]:
    """Return the names of all datasets; links that leave the file are refused by name."""
    found: list[str] = []
    visited, unpacked = Visited(file.filename, MOST_DATASETS), Unpacked(file)

    def walk(group: h5py.Group, prefix: str) -> None:
        visited.enter(group)
        for name in group:
            visited.count()
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"'{prefix}{name}' is a link to another place; trajrl follows no links")
            item = group[name]
            if isinstance(item, h5py.Group):
                if prefix.count("/") > DEEPEST:
                    raise ValueError(f"'{prefix}{name}' holds itself, or is nested too deeply")
                walk(item, f"{prefix}{name}/")
                continue
            if item.is_virtual or item.external:
                raise ValueError(f"'{prefix}{name}' keeps its rows in another file; trajrl follows no links")
            require_stored(item)
            unpacked.add([item])
            found.append(prefix + name)

    walk(file, "")
    return found


def is_column(name: str) -> bool:
    """Return whether a dataset holds rows of episodes, and not the table or statistics."""
    return not name.startswith(("table/", "stats/"))


def source_names(file: h5py.File) -> list[str]:
    """Return the sources in order of their code."""
    return [name.decode() for name in file["table/source_names"][:]]


def file_fingerprint(file: h5py.File) -> str:
    """Combine the recorded digests of the content; equal to trajrl.store.hashing of the same episodes."""
    names = [name for name in datasets(file) if is_column(name)]
    names += [f"table/{name}" for name in CONTENT_TABLE]
    described = {
        name: (file[name].dtype.str, file[name].shape[1:], recorded_digest(file[name])) for name in names
    }
    return combine(described, source_names(file))


def seal(file: h5py.File) -> None:
    """Set the schema, the fingerprint and the seal; the last thing done to a file that was changed."""
    file.attrs["schema"] = SCHEMA
    file.attrs["fingerprint"] = np.bytes_(file_fingerprint(file))
    file.attrs["seal"] = np.bytes_(seal_of(file))


def seal_of(file: h5py.File) -> str:
    """Hash name, type, shape and digest of every dataset, and every attribute but the seal."""
    state = new_hash()
    for name in sorted(datasets(file)):
        dataset = file[name]
        state.update(f"{name}|{dataset.dtype.str}|{dataset.shape}|{recorded_digest(dataset)}\n".encode())
    for name in sorted(set(file.attrs) - {"seal"}):
        state.update(f"{name}={file.attrs[name]!r}\n".encode())
    return state.hexdigest()


def write_attributes(file: h5py.File, attributes: Mapping[str, Any]) -> None:
    """Write attributes: numbers as they are, texts as they are, everything else as JSON."""
    for name, value in attributes.items():
        if name not in RESERVED:
            encoded = _encode(value)
            make_room(file, np.asarray(encoded).nbytes)
            file.attrs[name] = encoded


def read_attributes(file: h5py.File) -> dict[str, Any]:
    """Read the attributes back as what was written."""
    return {name: _decode(value) for name, value in file.attrs.items()}


def _encode(value: Any) -> Any:
    if isinstance(value, bool | int | float | np.bool_ | np.number):
        return value
    if not (isinstance(value, str) and value[:1] not in ("{", "[", '"', "n")):
        value = json.dumps(value, default=_plain)
    return np.bytes_(value.encode() or b"\0")


def _decode(value: Any) -> Any:
    if isinstance(value, bytes | str):
        text = value.decode() if isinstance(value, bytes) else value
        return json.loads(text) if text[:1] in ("{", "[", '"') or text == "null" else text
    return value.item() if isinstance(value, np.generic) else value


def _plain(value: Any) -> Any:
    """Turn what JSON does not know into what it knows."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"an attribute of a store is plain values; got {type(value).__name__}")
