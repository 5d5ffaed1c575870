"""What a TFDS folder says of itself: features.json and dataset_info.json, and its numbered shards.

NAME-train.tfrecord-00000-of-00032      features.json: a tree of tensors, images, texts and dictionaries
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trajrl.core.json_file import read_object
from trajrl.formats.base.source import inside
from trajrl.formats.npz.folder import natural

SHARD = re.compile(r"(.*)\.tfrecord(?:-(\d{1,9})-of-(\d{1,9}))?")
SPLITS = {"train": "train", "val": "val|valid|validation|test", "all": ".*"}
NAMED = "train|val|valid|validation|test"
DEEPEST = 20


class Feature(NamedTuple):
    """One feature of a step."""

    kind: str  # tensor, image, text ...
    shape: tuple[int, ...] | None  # of a step; None: not said
    dtype: str


def features_of_steps(folder: Path) -> dict[str, Feature]:
    """Return the features by their place, such as steps/observation/state; empty where nothing says."""
    place = folder / "features.json"
    return dict(_leaves(read_object(inside(folder, place)), "", 0)) if place.exists() else {}


def _leaves(node: Any, name: str, depth: int) -> Iterator[tuple[str, Feature]]:
    """Walk down dictionaries and sequences."""
    if not isinstance(node, dict) or depth > DEEPEST:
        return
    if isinstance(inner := node.get("featuresDict"), dict):
        below = inner.get("features")
        for key, child in (below if isinstance(below, dict) else {}).items():
            yield from _leaves(child, f"{name}/{key}" if name else str(key), depth + 1)
    elif isinstance(inner := node.get("sequence"), dict):
        yield from _leaves(inner.get("feature"), name, depth + 1)
    else:
        kind = next((key for key in node if key != "pythonClassName" and isinstance(node[key], dict)), "")
        said = node.get(kind, {})
        shape = said.get("shape")
        found = shape.get("dimensions", []) if isinstance(shape, dict) else None
        known = isinstance(found, list) and all(re.fullmatch(r"\d{1,12}", str(n)) for n in found)
        yield (
            name,
            Feature(kind, tuple(int(n) for n in found or ()) if known else None, str(said.get("dtype"))),
        )


def shards(folder: Path, split: str) -> list[Path]:
    """Return the record files of a split, in order of their numbers; without a split in the names, all."""
    found = [path for path in folder.iterdir() if SHARD.fullmatch(path.name) and path.is_file()]
    splits = {path: path.name.partition(".tfrecord")[0].rpartition("-")[2] for path in found}
    if any(re.fullmatch(NAMED, name) for name in splits.values()):
        found = [path for path, name in splits.items() if re.fullmatch(SPLITS[split], name)]
    return [inside(folder, path) for path in sorted(found, key=natural_name)]


def natural_name(path: Path) -> list[tuple[int, str]]:
    """Return what sorts shard 2 before shard 10."""
    return natural(Path(f"{path.name}.x"))


def absent_shards(files: list[Path]) -> int:
    """Return how many shards the names promise and the folder lacks."""
    promised: dict[str, int] = {}
    for path in files:
        found = SHARD.fullmatch(path.name)
        if found and found[3]:
            promised[found[1]] = int(found[3])
    have = sum(bool((found := SHARD.fullmatch(path.name)) and found[3]) for path in files)
    return max(0, sum(promised.values()) - have)


def promised_records(folder: Path, files: list[Path]) -> int | None:
    """Return how many records dataset_info.json promises of the splits of these files; None: not said."""
    place = folder / "dataset_info.json"
    if not place.exists():
        return None
    splits = {path.name.partition(".tfrecord")[0].rpartition("-")[2] for path in files}
    said, total = read_object(inside(folder, place)).get("splits"), 0
    for split in said if isinstance(said, list) else []:
        if isinstance(split, dict) and split.get("name") in splits:
            lengths = split.get("shardLengths", [])
            if not isinstance(lengths, list) or not all(re.fullmatch(r"\d{1,12}", str(n)) for n in lengths):
                return None
            total += sum(int(n) for n in lengths)
    return total or None
