"""LeRobot sets that trajrl writes: the same episodes again, and what the official loader sees of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from foreign import normal, read, store_of

from trajrl import Episode, TrajectoryStore
from trajrl.formats import export, import_source, open_source
from trajrl.formats.lerobot.stats import Total, stats_of

OFFICIAL = Path(__file__).parents[1] / "fixtures" / "lerobot"  # written by the official package
FORMATS = {"lerobot": "v3.0", "lerobot-v2.1": "v2.1"}


def robot_episodes() -> list[Episode]:
    """Return three episodes with columns of every kind, and a task that nobody named."""
    found = []
    for e, length in enumerate((4, 1, 6)):
        extras = {
            "camera/pose": normal(f"pose{e}", length, 2, 3).astype(np.float64),
            "terminal": np.arange(length) == length - 1, "button": np.arange(length),
            "one": np.ones((length, 1)),
        }  # fmt: skip
        found.append(
            Episode(
                normal(f"o{e}", length + 1, 3), np.tanh(normal(f"a{e}", length, 2)), normal(f"r{e}", length),
                e == 1, e != 0, ("push", "", "pull")[e], extras,
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize("name", ["v21", "v30"])
@pytest.mark.parametrize("format", FORMATS)
def test_in_out_in_gives_the_same_episodes(name, format, tmp_path):
    import_source(open_source(OFFICIAL / name), tmp_path / "a.h5")
    store = TrajectoryStore.open(tmp_path / "a.h5")
    said = export(store, tmp_path / "set", format)
    assert said["beside"] == ["3 last observations"]
    import_source(open_source(tmp_path / "set"), tmp_path / "b.h5")
    again = TrajectoryStore.open(tmp_path / "b.h5")
    assert again.fingerprint == store.fingerprint
    versions = again.attributes["provenance"]["versions"]
    assert versions["fps"] == 10
    assert versions["names"] == {"observation.state": ["a", "b", "c"], "action": ["x", "y"]}
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert info["codebase_version"] == FORMATS[format]
    assert info["features"]["observation.environment_state"]["shape"] == [2]


def test_a_set_whose_list_was_edited_is_read_as_found(tmp_path):
    export(store_of(robot_episodes()), tmp_path / "set", "lerobot-v2.1")
    lines = (tmp_path / "set/meta/episodes.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    rows[0]["length"], rows[2]["trajrl"]["final"] = 3, [0.0]
    (tmp_path / "set/meta/episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    episodes, source = read(tmp_path / "set")
    assert [len(e) for e in episodes] == [3, 1, 5]
    assert source.notes.counts["outdated_ledger"] == 1
    assert source.notes.counts["length_mismatches"] == 1


def test_success_that_not_every_episode_knows_is_no_column(tmp_path):
    episodes = robot_episodes()
    export(store_of(episodes), tmp_path / "all", "lerobot")
    unknown = Episode(
        episodes[1].obs, episodes[1].actions, episodes[1].rewards, True, None, "", episodes[1].extras
    )
    said = export(store_of([episodes[0], unknown]), tmp_path / "some", "lerobot")
    assert "1 episode says whether it succeeded" in said["beside"]
    data = "data/chunk-000/file-000.parquet"
    assert "next.success" in pq.read_schema(tmp_path / "all" / data).names
    assert "next.success" not in pq.read_schema(tmp_path / "some" / data).names


def test_files_are_no_larger_than_said(tmp_path, monkeypatch):
    monkeypatch.setattr("trajrl.formats.lerobot.writer.FILE_BYTES", 2000)
    monkeypatch.setattr("trajrl.formats.lerobot.listing.HELD", 2)
    store = store_of(robot_episodes() * 3)
    export(store, tmp_path / "set", "lerobot")
    files = sorted((tmp_path / "set/data").rglob("*.parquet"))
    assert len(files) > 2
    listed = pq.read_table(tmp_path / "set/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    for row in listed:
        frames = pq.read_table(files[row["data/file_index"]]).filter(
            pq.read_table(files[row["data/file_index"]])["episode_index"].to_numpy() == row["episode_index"]
        )
        index = frames["index"].to_pylist()
        assert (index[0], index[-1] + 1) == (row["dataset_from_index"], row["dataset_to_index"])
    assert len(read(tmp_path / "set")[0]) == 9


def test_statistics_of_a_set_are_those_of_its_rows():
    parts = [normal(f"{n}", n, 2, 2) for n in (3, 5, 1)]
    total = Total()
    for rows in parts:
        total.add(rows, stats_of(rows))
    rows, found = np.concatenate(parts).astype(np.float64), total.plain()
    np.testing.assert_allclose(found["mean"], rows.mean(0))
    np.testing.assert_allclose(found["std"], rows.std(0))
    np.testing.assert_allclose(found["max"], rows.max(0))
    assert found["count"] == [9]
    assert stats_of(np.array([True, False]))["mean"] == 0.5


ORACLE = """
import json, sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.compute_stats import compute_episode_stats

found = LeRobotDataset("me/x", root=sys.argv[1])
rows = [found[i] for i in range(len(found))]
keys = [key for key in found.features]
columns = {key: np.stack([np.asarray(row[key]) for row in rows]) for key in keys}
def plain(stats):
    exact = ("min", "max", "mean", "std", "count")
    return {k: {n: np.asarray(s[n], float).tolist() for n in exact} for k, s in stats.items()}
print(json.dumps({
    "episodes": found.num_episodes, "frames": found.num_frames, "fps": found.fps,
    "tasks": [row["task"] for row in rows], "columns": {k: v.tolist() for k, v in columns.items()},
    "due": plain(compute_episode_stats(columns, found.features)), "stats": plain(found.meta.stats),
}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_the_official_loader_opens_what_is_exported(format, tmp_path):
    name = "TRAJRL_LEROBOT" if format == "lerobot" else "TRAJRL_LEROBOT21"
    python = os.environ.get(name) or (sys.executable if format == "lerobot" and find_spec("lerobot") else "")
    if not python:
        pytest.skip("the lerobot package is not installed")
    episodes = robot_episodes()
    export(store_of(episodes), tmp_path / "set", format)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    environment.pop("PYTHONPATH", None)
    command = [python, "-c", ORACLE, str(tmp_path / "set")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert (found["episodes"], found["frames"], found["fps"]) == (3, 11, 10)
    assert found["tasks"] == ["push"] * 4 + ["no task is named"] + ["pull"] * 6
    columns = {key: np.array(value) for key, value in found["columns"].items()}
    together = {
        "observation.state": [e.obs[:-1] for e in episodes], "action": [e.actions for e in episodes],
        "next.reward": [e.rewards for e in episodes],
        "extra.camera.pose": [e.extras["camera/pose"] for e in episodes],
        "extra.button": [e.extras["button"] for e in episodes],
    }  # fmt: skip
    for key, parts in together.items():
        due = np.concatenate(parts)
        np.testing.assert_array_equal(columns[key].reshape(due.shape).astype(due.dtype), due)
    np.testing.assert_allclose(columns["timestamp"].ravel()[:4], [0, 0.1, 0.2, 0.3], rtol=1e-6)
    assert columns["next.truncated"].ravel().tolist() == [False] * 3 + [True] + [False] * 6 + [True]
    due_of = {
        key: due for key, due in found["due"].items() if key != "extra.camera.pose"
    }  # over an axis more
    for key, due in due_of.items():
        for statistic, value in due.items():
            np.testing.assert_allclose(
                np.ravel(found["stats"][key][statistic]),
                np.ravel(value),
                atol=1e-6,
                err_msg=f"{key}/{statistic}",
            )
