"""One episode as bytes: the size of a JSON header (8 bytes), the header, the raw numbers of every array.

header = {terminated, success, source, meta, arrays: [[name, type, shape], ...]}      nothing is pickled
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from trajrl.store.episode import Episode

SIZE = struct.Struct("<Q")


def encode(episode: Episode, meta: Mapping[str, Any]) -> bytes:
    """Turn an episode and plain values into bytes."""
    arrays = {"obs": episode.obs, "actions": episode.actions, "rewards": episode.rewards}
    arrays.update({f"extras/{name}": column for name, column in episode.extras.items()})
    described = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    facts = {"terminated": episode.terminated, "success": episode.success, "source": episode.source}
    header = json.dumps({**facts, "meta": dict(meta), "arrays": described}, default=_plain).encode()
    return SIZE.pack(len(header)) + header + b"".join(array.tobytes() for array in arrays.values())


def decode(payload: bytes) -> tuple[Episode, dict[str, Any]]:
    """Turn the bytes back; they were checked to be what `encode` made."""
    (size,) = SIZE.unpack_from(payload)
    header = json.loads(payload[SIZE.size : SIZE.size + size])
    arrays, place = {}, SIZE.size + size
    for name, kind, shape in header["arrays"]:
        count = int(np.prod(shape, dtype=int))
        arrays[name] = np.frombuffer(payload, np.dtype(kind), count, place).reshape(shape).copy()
        place += arrays[name].nbytes
    extras = {
        name.removeprefix("extras/"): array for name, array in arrays.items() if name.startswith("extras/")
    }
    episode = Episode(
        arrays["obs"], arrays["actions"], arrays["rewards"], header["terminated"], header["success"],
        header["source"], extras,
    )  # fmt: skip
    return episode, header["meta"]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"the meta values of an episode are plain values; got {type(value).__name__}")
