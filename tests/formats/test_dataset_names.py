"""Names of published sets lead to the caches of their own tools, and to an address where a file is absent."""

from __future__ import annotations

import re

import pytest

from trajrl.formats import locate_dataset
from trajrl.formats.d4rl.family import urls
from trajrl.formats.dataset_names import (
    _known_files,
    known_file,
    minari_names,
    published,
    published_files,
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("D4RL_DATASET_DIR", "MINARI_DATASETS_PATH", "HF_LEROBOT_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("hopper-medium-v2", ".d4rl/datasets/hopper_medium-v2.hdf5"),
        ("d4rl:hopper-medium-v2", ".d4rl/datasets/hopper_medium-v2.hdf5"),
        ("hopper-medium-replay-v0", ".d4rl/datasets/hopper_mixed.hdf5"),
        ("pen-cloned-v0", ".d4rl/datasets/pen-demos-v0-bc-combined.hdf5"),
        (
            "antmaze-umaze-v2",
            ".d4rl/datasets/Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse_fixed.hdf5",
        ),
        ("lerobot:lerobot/pusht", ".cache/huggingface/lerobot/lerobot/pusht"),
        ("mujoco/hopper/medium-v0", ".minari/datasets/mujoco/hopper/medium-v0"),
        ("minari:D4RL/door/human-v2", ".minari/datasets/D4RL/door/human-v2"),
        ("my/own-v3", ".minari/datasets/my/own-v3"),
        ("cube-single-play-v0", ".ogbench/data/cube-single-play-v0.npz"),
        ("cube-single-play-singletask-task2-v0", ".ogbench/data/cube-single-play-v0.npz"),
        ("antmaze-medium-navigate-singletask-v0", ".ogbench/data/antmaze-medium-navigate-v0.npz"),
        ("square-mh-low", ".robomimic/square/mh/low_dim_v15.hdf5"),
        ("robomimic:lift-ph-low_dim", ".robomimic/lift/ph/low_dim_v15.hdf5"),
        ("tool_hang-ph-low", ".robomimic/tool_hang/ph/low_dim_v15.hdf5"),
    ],
)
def test_a_name_finds_the_file_in_the_cache_of_its_tool(home, name, place):
    path = home / place
    path.parent.mkdir(parents=True)
    path.write_text("found")
    assert locate_dataset(name, download=False) == path


def test_folders_named_by_the_environment_win(home, tmp_path, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "d"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "m"))
    for place in ("d/hopper_medium-v2.hdf5", "m/mujoco/hopper/medium-v0"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("found")
    assert locate_dataset("hopper-medium-v2", download=False) == tmp_path / "d/hopper_medium-v2.hdf5"
    assert locate_dataset("mujoco/hopper/medium-v0", download=False) == tmp_path / "m/mujoco/hopper/medium-v0"


def test_a_path_wins_over_a_name(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hopper-medium-v2").write_text("mine")
    assert locate_dataset("hopper-medium-v2").read_text() == "mine"
    assert locate_dataset("~/hopper-medium-v2").read_text() == "mine"


def test_a_folder_of_shards_and_an_older_file_are_found(home):
    shards = home / ".ogbench/data/cube-double-play-100m-v0"
    older = home / ".robomimic/can/mh/low_dim_v141.hdf5"
    shards.mkdir(parents=True)
    older.parent.mkdir(parents=True)
    older.write_text("old")
    assert locate_dataset("cube-double-play-100m-v0", download=False) == shards
    assert locate_dataset("can-mh-low", download=False) == older


def test_an_absent_set_says_where_it_can_be_fetched(home):
    with pytest.raises(
        FileNotFoundError, match=r"hopper-medium-v2 is not in .*\.d4rl/datasets; .*https://rail.*hdf5"
    ):
        locate_dataset("hopper-medium-v2", download=False)
    with pytest.raises(FileNotFoundError, match=r"nowhere to download it from is known; put the file there"):
        locate_dataset("minari:my/own-v3")


def test_an_unknown_name_fails_with_the_nearest_one(home):
    with pytest.raises(FileNotFoundError, match=r"did you mean 'hopper-medium-v2'\?"):
        locate_dataset("hoper-medium-v2")
    with pytest.raises(FileNotFoundError, match=r"^out/x\.h5: no such file$"):
        locate_dataset("out/x.h5")


def test_every_published_address_is_https():
    names = [*urls(), *minari_names(), "cube-single-play-v0", "square-mh-low", "lift-ph-low"]
    found = [url for name in names for place in published(name) for url in place.fetch.values()]
    assert len(found) == 179 + 2 * 393 + 3
    assert all(url.startswith("https://") for url in found)


def test_a_missing_set_is_fetched_into_the_cache(home, monkeypatch):
    asked, sizes = {}, {}

    def fetch(url, path, show=None, size=None, sha256=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("fetched")
        asked[path.name] = url
        sizes[path.name] = size, sha256 and len(sha256)
        return path

    monkeypatch.setattr("trajrl.formats.dataset_names.fetch", fetch)
    assert locate_dataset("hopper-medium-v2") == home / ".d4rl/datasets/hopper_medium-v2.hdf5"
    assert locate_dataset("mujoco/hopper/medium-v0") == home / ".minari/datasets/mujoco/hopper/medium-v0"
    assert asked["metadata.json"].endswith(
        "farama-minari/mujoco/resolve/main/hopper/medium-v0/data/metadata.json"
    )
    assert sizes["hopper_medium-v2.hdf5"] == (152756557, 64)
    assert sizes["main_data.hdf5"] == (None, None)
    assert list(asked) == ["hopper_medium-v2.hdf5", "main_data.hdf5", "metadata.json"]


def test_every_file_of_the_table_of_sizes_is_a_published_one():
    addresses = {str(row["url"]).partition("/datasets/")[2] for row in urls().values() if row["url"]}
    assert set(_known_files()) <= addresses
    assert all(size > 0 and re.fullmatch("[0-9a-f]{64}", sha256) for size, sha256 in _known_files().values())


def test_the_table_of_sizes_has_a_source_for_each_block_and_no_file_or_hash_twice():
    blocks = published_files()
    assert all(source.startswith("tensorflow/datasets: ") for source in blocks)
    rows = [(path, sha256) for block in blocks.values() for path, (_, sha256) in block.items()]
    assert len(rows) == len({path for path, _ in rows}) == len({sha256 for _, sha256 in rows}) == 98


@pytest.mark.parametrize("name", ["hopper-medium-v0", "ant-random-v1", "door-human-v1", "antmaze-umaze-v0"])
def test_older_d4rl_sets_are_checked_against_their_hash(name):
    (url,) = next(published(name)).fetch.values()
    size, sha256 = known_file(url)
    assert size is not None
    assert sha256 is not None


def test_a_set_that_came_in_part_is_fetched_again(home, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "trajrl.formats.dataset_names.fetch", lambda url, path, *_, **__: asked.append(path.name)
    )
    data = home / ".minari/datasets/mujoco/hopper/medium-v0/data"
    data.mkdir(parents=True)
    locate_dataset("mujoco/hopper/medium-v0")
    assert asked == ["main_data.hdf5", "metadata.json"]
    (data / "metadata.json").write_text("{}")  # the last to come
    assert locate_dataset("mujoco/hopper/medium-v0", download=False) == data.parent
