"""Several files as --data: a run of shards draws and learns as a run of one file, and resumes as exactly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.small_runs import write_store
from trajrl.cli.main import dispatch
from trajrl.store.file.writer import StoreWriter
from trajrl.store.shard_rows import ShardRows
from trajrl.store.store import TrajectoryStore

TINY = ("--agent", "td3_bc", "--batch-size", 16, "--env", "none", "--checkpoint-every", 10, "--log-every", 10,
        "--device", "cpu", "--set", "agent.width=16", "threads=1")  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Write 12 episodes of a toy as one store and as three."""
    folder = tmp_path_factory.mktemp("data")
    whole = TrajectoryStore.open(write_store(folder / "whole.h5"))
    for part, ids in enumerate(np.array_split(np.arange(12), 3)):
        kept = {name: whole.attributes[name] for name in ("environment", "actions_scaled")}
        with StoreWriter(folder / f"part-{part}.h5", kept) as writer:
            for e in ids:
                writer.append(whole.episode(int(e)))
    return folder


def run(*words: object) -> int:
    """Run a command line, and let go of the run's folder as the end of a process would."""
    from trajrl.training.run_dir import folder

    code = dispatch([str(word) for word in words])
    while folder._locks:
        folder._locks.pop().close()
    return code


def metrics(folder: Path) -> pd.DataFrame:
    """Return what a run logged."""
    return pd.read_csv(folder / "metrics.csv")


def test_a_run_of_shards_learns_as_a_run_of_one_file(data, tmp_path):
    for name, places in {"one": [data / "whole.h5"], "three": [f"{data}/part-?.h5"]}.items():
        assert not run("offline", "--data", *places, *TINY, "--steps", 20, "--out", tmp_path / name)
    pd.testing.assert_frame_equal(metrics(tmp_path / "one"), metrics(tmp_path / "three"), rtol=1e-4)
    config = json.loads((tmp_path / "three" / "config.json").read_text())
    assert config["data"] == " ".join(f"{data}/part-{part}.h5" for part in range(3))


def test_a_stopped_run_of_shards_resumes_to_the_same_numbers(data, tmp_path, capsys):
    held = ("--holdout", 0.25, "--memory", "map", "--sampler", "priority")
    parts = [data / f"part-{part}.h5" for part in range(3)]
    assert not run("offline", "--data", *parts, *TINY, *held, "--steps", 40, "--out", tmp_path / "a")
    assert not run("offline", "--data", *parts, *TINY, *held, "--steps", 20, "--out", tmp_path / "b")
    assert not run("offline", "--resume", "--out", tmp_path / "b", "--steps", 40)
    assert "12 episodes" in capsys.readouterr().out
    both = [metrics(tmp_path / name).filter(regex="critic|actor") for name in "ab"]
    pd.testing.assert_frame_equal(*both, check_exact=True)
    assert (tmp_path / "a/holdout.json").read_text() == (tmp_path / "b/holdout.json").read_text()
    other = run("offline", "--resume", "--out", tmp_path / "b", "--steps", 50, "--data", *parts[::-1])
    said = capsys.readouterr().err
    assert (other, "other data" in said or "is not the data" in said) == (1, True), said


@pytest.mark.slow
def test_a_run_is_judged_and_exported_on_shards(data, tmp_path):
    parts = [data / f"part-{part}.h5" for part in range(3)]
    assert not run("offline", "--data", *parts, *TINY, "--steps", 20, "--out", tmp_path / "a")
    assert not run("select", tmp_path / "a", "--by", "bc_loss", "--data", *parts[:2])
    assert not run("export", tmp_path / "a", "--format", "torch", "--data", *parts)


def test_what_is_no_store_is_refused_in_one_line(data, tmp_path, capsys):
    (tmp_path / "x.npz").write_bytes(b"PK")
    np.savez(tmp_path / "y.npz", observations=np.zeros((3, 2)))
    words = ("offline", *TINY, "--out", tmp_path / "r", "--data", data / "whole.h5")
    for other, line in {
        tmp_path / "y.npz": "each is a store",
        f"{tmp_path}/*.zip": "no file is called so",
    }.items():
        assert run(*words, other) == 1
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert line in said
    assert not (tmp_path / "r").exists()


def test_processes_of_one_run_map_the_shards(data):
    from trajrl.training.config import RunConfig
    from trajrl.training.data import open_data

    config = RunConfig(data=f"{data}/part-0.h5 {data}/part-1.h5")
    assert [isinstance(open_data(config, shared).obs.base, ShardRows) for shared in (False, True)] == [
        False,
        True,
    ]


def test_a_run_of_a_far_store_learns_as_a_run_of_the_file(data, tmp_path, monkeypatch):
    from trajrl.cli.bench.range_server import serving

    monkeypatch.setenv("TRAJRL_FAR_CACHE", str(tmp_path / "cache"))
    with serving(data) as url:
        for name, place in {"near": data / "whole.h5", "far": f"{url}whole.h5"}.items():
            assert not run("offline", "--data", place, *TINY, "--steps", 20, "--out", tmp_path / name)
    pd.testing.assert_frame_equal(metrics(tmp_path / "near"), metrics(tmp_path / "far"), check_exact=True)


def test_info_of_several_files_adds_them_up(data, capsys, monkeypatch, tmp_path):
    from trajrl.cli.bench.range_server import serving

    monkeypatch.setenv("TRAJRL_FAR_CACHE", str(tmp_path / "cache"))
    with serving(data) as url:
        found = {}
        for name, places in {
            "one": [data / "whole.h5"], "far": [f"{url}whole.h5"], "parts": [f"{data}/part-?.h5"],
            "mixed": [f"{url}part-0.h5", data / "part-1.h5", data / "part-2.h5"],
        }.items():  # fmt: skip
            assert not run("store", "info", *places, "--json")
            found[name] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    same = (
        "episodes",
        "transitions",
        "lengths",
        "returns",
        "obs_range",
        "action_range",
        "sources",
        "obs_dim",
    )
    for name in same:
        assert found["one"][name] == found["far"][name] == found["parts"][name] == found["mixed"][name], name
    assert found["one"]["fingerprint"] == found["far"]["fingerprint"] != found["parts"]["fingerprint"]
    assert (found["parts"]["fingerprint"], found["parts"]["files"]) == (found["mixed"]["fingerprint"], 3)
    assert run("store", "info") == 2
    assert "name a store file" in capsys.readouterr().err
