"""What a LeRobot set says of itself: info.json, its tasks, and a line for each episode.

    version 2   meta/tasks.jsonl      meta/episodes.jsonl         {"episode_index", "tasks", "length"}
    version 3   meta/tasks.parquet    meta/episodes/**/*.parquet  the same columns, and where data lie

The data themselves say where episodes begin: a list of episodes that cannot be read is passed over, and
counted.  trajrl leaves in it, of each episode, how it ended and the observation after its last action.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trajrl.core.json_file import read_object
from trajrl.formats.base.source import inside
from trajrl.formats.lerobot.parquet import batches, intact, kind_of, open_parquet

LARGEST_JSON = 16 << 20  # bytes of one line
MOST_TASKS = 1 << 20
OWN = "trajrl/"  # columns of trajrl's own in the list of episodes
OWN_FILE = "trajrl.json"
FIRST = "dataset_from_index"
CLIP = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")  # of an episode in its video


class Feature(NamedTuple):
    """One column, as info.json describes it."""

    dtype: str
    shape: tuple[int, ...]
    names: Any


class Own(NamedTuple):
    """What trajrl left of an episode that it exported."""

    terminated: bool
    success: bool | None
    source: int  # number of its name in trajrl.json
    final: np.ndarray  # (obs,) what was observed after the last action


class Listed(NamedTuple):
    """One episode, as the list has it."""

    length: int
    own: Own | None = None
    first: int | None = None  # `index` of its first frame
    videos: dict[str, tuple[float, ...]] | None = None  # feature -> chunk, file, first and last second in it


@dataclass
class Metadata:
    """Everything below meta/."""

    info: dict[str, Any]
    version: str
    fps: float  # 0: not said
    features: dict[str, Feature]
    tasks: dict[int, str] = field(default_factory=dict)
    episodes: dict[int, Listed] = field(default_factory=dict)
    listed: bool = False  # a list of episodes was found and could be read
    absent: bool = False  # there is no list of episodes
    own: dict[str, Any] = field(default_factory=dict)  # trajrl.json
    unreadable: list[str] = field(default_factory=list)  # what is wrong with files that were passed over


def read_metadata(folder: Path) -> Metadata:
    """Read everything below meta/; what only describes may be damaged, info.json may not."""
    place = held(folder, folder / "meta" / "info.json")
    info = read_object(place)
    features = info.get("features")
    if not isinstance(features, dict) or not features:
        raise ValueError(f"{place} names no features; a LeRobot set describes its columns there")
    version, fps = str(info.get("codebase_version", "")), info.get("fps", 0)
    if not version.startswith(("v2.", "v3.")):
        raise ValueError(
            f"{place} is of LeRobot version {version[:20]!r}; trajrl reads v2.0, v2.1 and v3.0: convert it "
            "with LeRobot's own script"
        )
    sound = isinstance(fps, int | float) and not isinstance(fps, bool) and 0 < fps < 1e6
    found = Metadata(
        info, version, float(fps) if sound else 0.0,
        {name: _feature(place, name, said) for name, said in features.items()},
    )  # fmt: skip
    own = folder / "meta" / OWN_FILE
    if own.exists():
        found.own = read_object(held(folder, own))
    _read_tasks(folder, found)
    _read_episodes(folder, found)
    return found


def held(folder: Path, path: Path) -> Path:
    """Return a file of the set; links out of it are followed only into the blobs of a hub's own cache."""
    if folder.parent.name == "snapshots" and path.is_symlink():
        return inside(folder.parent.parent / "blobs", path)
    return inside(folder, path)


def _feature(place: Path, name: str, said: Any) -> Feature:
    """Check what info.json says of one column."""
    shape = said.get("shape") if isinstance(said, dict) else None
    if not isinstance(shape, list | tuple) or not all(type(n) is int and 0 <= n < 1 << 31 for n in shape):
        raise ValueError(f"{place}: feature '{name}' has no shape such as [7]; the set is damaged")
    return Feature(str(said.get("dtype", "")), tuple(shape), said.get("names"))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of one on each line."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LARGEST_JSON):
            number += 1
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}: line {number} is not JSON ({_first(error)})") from error
            if not isinstance(found, dict):
                raise ValueError(f"{path}: line {number} holds no object")
            yield found


def _read_tasks(folder: Path, found: Metadata) -> None:
    """Take the texts of the tasks by their number."""
    plain, packed = folder / "meta" / "tasks.jsonl", folder / "meta" / "tasks.parquet"
    try:
        rows: Iterator[tuple[Any, Any]]
        if plain.exists():
            rows = ((row.get("task_index"), row.get("task")) for row in _lines(held(folder, plain)))
        elif packed.exists():
            rows = _packed_tasks(held(folder, packed))
        else:
            return
        for index, task in rows:
            if type(index) is not int or not isinstance(task, str) or len(found.tasks) > MOST_TASKS:
                raise ValueError(f"{plain if plain.exists() else packed} does not hold numbers and texts")
            found.tasks[index] = task
    except ValueError as error:
        found.unreadable.append(_first(error))


def _packed_tasks(path: Path) -> Iterator[tuple[Any, Any]]:
    """Yield number and text of each task; the text is the index of a pandas frame."""
    with open_parquet(path) as file, intact(path):
        names = file.schema_arrow.names
        text = next((name for name in ("task", "__index_level_0__") if name in names), None)
        if text is None or "task_index" not in names:
            raise ValueError(f"{path} has no columns 'task' and 'task_index'; it has {', '.join(names[:20])}")
        size = file.metadata.num_rows and path.stat().st_size
        most = max(1, min(1024, LARGEST_JSON // max(1, size)))  # one long text may stand in every row
        for batch in file.iter_batches(most, columns=["task_index", text], use_threads=False):
            yield from zip(batch.column("task_index").to_pylist(), batch.column(text).to_pylist())


def _read_episodes(folder: Path, found: Metadata) -> None:
    """Take the list of episodes; files of it that cannot be read are passed over."""
    plain = folder / "meta" / "episodes.jsonl"
    if plain.exists():
        _listed(found, _plain_episodes(held(folder, plain)))
        return
    files = sorted((folder / "meta" / "episodes").glob("**/*.parquet"))
    found.absent = not files
    filmed = [name for name, one in found.features.items() if one.dtype == "video"]
    for file in files:
        _listed(found, _packed_episodes(held(folder, file), filmed))


def _listed(found: Metadata, rows: Iterator[tuple[int, Listed]]) -> None:
    try:
        for index, episode in rows:
            found.episodes[index] = episode
        found.listed = True
    except ValueError as error:
        found.unreadable.append(_first(error))


def _plain_episodes(path: Path) -> Iterator[tuple[int, Listed]]:
    """Yield the episodes of version 2."""
    for row in _lines(path):
        index, length, own = row.get("episode_index"), row.get("length"), row.get(OWN.rstrip("/"))
        if type(index) is not int or type(length) is not int:
            raise ValueError(f"{path} does not hold 'episode_index' and 'length' of each episode")
        yield index, Listed(length, _own(own) if isinstance(own, dict) else None)


def _packed_episodes(path: Path, filmed: list[str]) -> Iterator[tuple[int, Listed]]:
    """Yield the episodes of version 3."""
    with open_parquet(path) as file:
        kinds = {one.name: kind_of(one) for one in file.schema_arrow}
    videos = {name: [f"videos/{name}/{part}" for part in CLIP] for name in filmed}
    videos = {n: parts for n, parts in videos.items() if all(kinds.get(part) is not None for part in parts)}
    for name in ("episode_index", "length"):
        if (kind := kinds.get(name)) is None or kind.kind not in "iu":
            raise ValueError(f"{path} has no column '{name}' of whole numbers")
    own = [name for name in kinds if name.startswith(OWN) and kinds[name] is not None]
    first = [FIRST] if kinds.get(FIRST) is not None else []
    columns = ["episode_index", "length", *first, *own, *(p for parts in videos.values() for p in parts)]
    for rows in batches(path, columns, 8 * len(columns), most=1024):
        for e, index in enumerate(rows["episode_index"].tolist()):
            kept = {name.removeprefix(OWN): rows[name][e] for name in own}
            place = int(rows[FIRST][e]) if first else None
            clips = {n: tuple(float(rows[part][e]) for part in parts) for n, parts in videos.items()}
            yield index, Listed(int(rows["length"][e]), _own(kept), place, clips)


def _own(kept: dict[str, Any]) -> Own | None:
    """Return what trajrl left of an episode; None where a part is missing."""
    try:
        final = np.atleast_1d(np.asarray(kept.get("final", ()), np.float32))  # of images alone: nothing
        success = int(kept["success"])
        return Own(
            bool(kept["terminated"]), None if success < 0 else bool(success), int(kept["source"]), final
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
