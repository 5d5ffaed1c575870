"""Names of published data sets -> files in the caches their own tools use, else a download into those caches.

    hopper-medium-v2              ~/.d4rl/datasets/hopper_medium-v2.hdf5             (D4RL_DATASET_DIR)
    mujoco/hopper/medium-v0       ~/.minari/datasets/mujoco/hopper/medium-v0         (MINARI_DATASETS_PATH)
    cube-single-play-v0           ~/.ogbench/data/cube-single-play-v0.npz
    square-mh-low                 ~/.robomimic/square/mh/low_dim_v15.hdf5
    lerobot:lerobot/pusht         ~/.cache/huggingface/lerobot/lerobot/pusht         (HF_LEROBOT_HOME)

A path that exists wins over any name.  A suite may be put before a name: d4rl:hopper-medium-v2.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from trajrl.formats.base.download import download as fetch
from trajrl.formats.base.importer import Show
from trajrl.formats.d4rl.family import urls
from trajrl.store.remote.addresses import is_far, require_near

OGBENCH = "https://rail.eecs.berkeley.edu/datasets/ogbench"
ROBOMIMIC = "https://huggingface.co/datasets/robomimic/robomimic_datasets/resolve/main/v1.5"
MINARI = "https://huggingface.co/datasets/farama-minari"
OGBENCH_NAME = r"(pointmaze|antmaze|humanoidmaze|antsoccer|cube|scene|puzzle)-[a-z0-9-]*-v\d+(-val)?"
ROBOMIMIC_NAME = r"(lift|can|square|transport|tool_hang)-(mh|ph)-low(_dim)?(-v\d+)?"


class Published(NamedTuple):
    """One data set: where its tools keep it, and where each file can be fetched (empty: nowhere)."""

    path: Path
    fetch: dict[Path, str]  # in this order: with the last one the set is whole

    @property
    def whole(self) -> bool:
        """Say whether it is there; a folder into which a download began is not, until its last file came."""
        if not self.path.is_dir() or not self.fetch:
            return self.path.exists()
        return [*self.fetch][-1].exists()


def locate_dataset(name: str, download: bool = True, show: Show | None = None) -> Path:
    """Return the path that a name stands for, fetching it where it is not in a cache."""
    plain = Path(name).expanduser()
    if is_far(name):
        require_near(name)
    if plain.exists():
        return plain
    places = list(published(name))
    for place in places:
        if place.whole:
            return place.path
    fetchable = next((place for place in places if place.fetch), None)
    if fetchable is None:
        raise FileNotFoundError(_missing(name, places))
    if not download:
        url = next(iter(fetchable.fetch.values()))
        raise FileNotFoundError(f"{name} is not in {fetchable.path.parent}; it can be fetched from {url}")
    for path, url in fetchable.fetch.items():
        size, sha256 = known_file(url)
        fetch(url, path, show, size=size, sha256=sha256)
    return fetchable.path


def published(name: str) -> Iterator[Published]:
    """Yield what a name may stand for, the likeliest first."""
    suite, _, rest = name.rpartition(":")
    finders = {
        "d4rl": _d4rl, "minari": _minari, "ogbench": _ogbench, "robomimic": _robomimic, "lerobot": _lerobot,
    }  # fmt: skip
    for known, find in finders.items():
        if suite in ("", known):
            found = find(rest)
            if found is not None:
                yield found


def _d4rl(name: str) -> Published | None:
    row = urls().get(name)
    if row is None:
        return None
    folder = Path(os.environ.get("D4RL_DATASET_DIR") or "~/.d4rl/datasets").expanduser()
    url = str(row["url"] or "").replace("http://", "https://")
    if not url:
        return Published(folder / f"{name}.hdf5", {})
    path = folder / url.rpartition("/")[2]
    return Published(path, {path: url})


def _minari(name: str) -> Published | None:
    if not re.fullmatch(r"([\w-]+/)*[\w-]+-v\d+", name):
        return None
    root = Path(os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets").expanduser()
    path = root / name
    if name not in minari_names():
        return Published(path, {})
    repository, _, rest = name.partition("/")
    base = "/".join(part for part in (MINARI, repository, "resolve/main", rest, "data") if part)
    order = ("main_data.hdf5", "metadata.json")  # the small one last: with it the set is whole
    return Published(path, {path / "data" / file: f"{base}/{file}" for file in order})


def _ogbench(name: str) -> Published | None:
    name = re.sub(r"-singletask(-task\d+)?", "", name)
    if name in urls() or not re.fullmatch(OGBENCH_NAME, name):
        return None
    folder = Path("~/.ogbench/data").expanduser()
    if (folder / name).is_dir():
        return Published(folder / name, {})
    path = folder / f"{name}.npz"
    return Published(path, {} if re.search(r"-\d+(m|b)-v\d+", name) else {path: f"{OGBENCH}/{name}.npz"})


def _robomimic(name: str) -> Published | None:
    found = re.fullmatch(ROBOMIMIC_NAME, name.replace("tool-hang", "tool_hang"))
    if found is None:
        return None
    place = f"{found[1]}/{found[2]}/low_dim_v15.hdf5"
    path = Path("~/.robomimic").expanduser() / place
    older = path.with_name("low_dim_v141.hdf5")
    return (
        Published(older, {})
        if older.exists() and not path.exists()
        else Published(path, {path: f"{ROBOMIMIC}/{place}"})
    )


def _lerobot(name: str) -> Published | None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return None
    home = os.environ.get("HF_LEROBOT_HOME") or "~/.cache/huggingface/lerobot"
    return Published(Path(home).expanduser() / name, {})


def known_file(url: str) -> tuple[int | None, str | None]:
    """Return the size and the SHA-256 that are published of a file, where they are."""
    size, sha256 = _known_files().get(url.partition("/datasets/")[2], (None, None))
    return size, sha256


@cache
def _known_files() -> dict[str, tuple[int, str]]:
    """Return path of a file on its server -> size in bytes and SHA-256, of every source together."""
    return {path: row for block in published_files().values() for path, row in block.items()}


def published_files() -> dict[str, dict[str, tuple[int, str]]]:
    """Return the table of sizes and hashes: one block for each source that publishes them."""
    return json.loads((files("trajrl.formats") / "tables" / "published_files.json").read_text())


@cache
def minari_names() -> frozenset[str]:
    """Return the ids of the published Minari sets."""
    return frozenset((files("trajrl.formats") / "tables" / "minari_names.txt").read_text().split())


def _missing(name: str, places: list[Published]) -> str:
    """Say that there is neither a file nor a data set of this name."""
    suite, _, rest = name.rpartition(":")
    if places and (suite or rest in urls()):
        return (
            f"{name} is not at {places[0].path}, and nowhere to download it from is known; put the file there"
        )
    if "/" in name and not re.search(r"-v\d+$", name):
        return f"{name}: no such file"
    near = get_close_matches(rest, [*urls(), *minari_names()], n=1, cutoff=0.7)
    return f"{name}: no such file, and no data set of that name" + (
        f"; did you mean '{near[0]}'?" if near else ""
    )
