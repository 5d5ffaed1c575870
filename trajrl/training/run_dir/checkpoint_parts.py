"""The parts of a checkpoint as files: tensors in NAME.pt, numpy arrays in NAME.npz, the rest in NAME.json.

Tensors are loaded with weights_only, all else is JSON and npz without pickle: a checkpoint runs no code.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from trajrl.core.damage import DAMAGE, first_line
from trajrl.core.json_file import read_object
from trajrl.core.plain_file import open_to_read

TENSOR_PARTS = ("agent", "logger")


def write_part(folder: Path, name: str, state: Mapping[str, Any]) -> None:
    """Write one part: tensors to NAME.pt, or numpy arrays to NAME.npz and the rest to NAME.json."""
    if name in TENSOR_PARTS:
        with (folder / f"{name}.pt").open("wb") as file:  # ours, so that a full disk is reported as one
            torch.save(own_storage(state), file)
        return
    arrays: dict[str, np.ndarray] = {}
    (folder / f"{name}.json").write_text(json.dumps(_strip(state, arrays)))
    if arrays:
        np.savez(folder / f"{name}.npz", allow_pickle=False, **arrays)


def own_storage(state: Any) -> Any:
    """Copy tensors that are a part of a larger one: torch would write all of that."""
    if isinstance(state, Mapping):
        return {name: own_storage(part) for name, part in state.items()}
    if isinstance(state, torch.Tensor) and state.untyped_storage().nbytes() > state.nbytes:
        return state.detach().clone()
    return state


def read_part(folder: Path, name: str) -> Any:
    """Read one part back as it was given; what cannot be read is one line."""
    try:
        if name in TENSOR_PARTS:
            with open_to_read(folder / f"{name}.pt") as file:
                _require_stored(file)
                return torch.load(file, weights_only=True, map_location="cpu")
        return _fill(read_object(folder / f"{name}.json"), _read_arrays(folder / f"{name}.npz"))
    except DAMAGE as error:
        reason = first_line(error).replace(f"{folder}/", "")[:160]
        raise ValueError(f"{folder}: part '{name}' cannot be read ({reason})") from error


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a part, if it has any."""
    if not path.exists():
        return {}
    with open_to_read(path) as file:
        _require_stored(file)
        with np.load(file, allow_pickle=False) as found:
            return dict(found)


def _require_stored(file: IO[bytes]) -> None:
    """Refuse a zip file with packed members, which trajrl never writes: they could fill the memory."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if any(one.compress_type != zipfile.ZIP_STORED for one in members) or (
        sum(one.file_size for one in members) > size
    ):
        raise ValueError("it holds more than its size allows")


def _strip(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Replace every array in a tree by its place in `arrays`."""
    if isinstance(value, np.ndarray):
        arrays[f"a{len(arrays)}"] = value
        return {"__array__": f"a{len(arrays) - 1}"}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a checkpoint's mappings have names as keys")
        return {key: _strip(item, arrays) for key, item in value.items()}
    return [_strip(item, arrays) for item in value] if isinstance(value, list | tuple) else value


def _fill(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Undo `_strip`."""
    if isinstance(value, dict):
        if set(value) == {"__array__"}:
            return arrays[value["__array__"]]
        return {key: _fill(item, arrays) for key, item in value.items()}
    return [_fill(item, arrays) for item in value] if isinstance(value, list) else value
