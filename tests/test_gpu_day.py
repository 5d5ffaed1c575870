"""The GPU's day, tried on a CPU at toy size: rows of every kind, each on disk before the next is measured."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import gpu_day
import gpu_day_parts
import gpu_day_runs

from trajrl import TrajectoryStore
from trajrl.cli.bench.generated import generate
from trajrl.envs import make_suite


def rows(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def day(folder, *words):
    return gpu_day.main(["--device", "cpu", "--out", str(folder), *words])


def test_updates_are_timed_along_every_path(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_day_parts, "TIMED", {"diffusion_ql": {}})
    quick = {name: gpu_day_parts.PATHS[name] for name in ("eager", "recorded", "recorded, bfloat16")}
    monkeypatch.setattr(gpu_day_parts, "PATHS", quick)
    assert day(tmp_path, "--minutes", "2", "--only", "paths", "batch", "store") == 0
    found = rows(tmp_path)
    assert [row["what"] for row in found if row["part"] == "paths"] == list(quick)
    assert all(row["updates_per_second"] > 0 for row in found if row["part"] in ("paths", "batch"))
    assert {row["what"] for row in found if row["part"] == "store"} >= {
        "device, gather of 16",
        "host, gather of 32",
    }
    assert found[0]["processor"]
    assert "updates/s" in capsys.readouterr().out


def test_a_record_that_is_not_the_update_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_day_parts, "AGENTS", {"td3_bc": gpu_day_parts.AGENTS["td3_bc"]})
    assert day(tmp_path / "same", "--minutes", "1", "--only", "recorded") == 0
    assert rows(tmp_path / "same")[1]["same"]

    def wrong(book, agent=None):
        return lambda program: lambda: tuple(2 * part for part in program())

    monkeypatch.setattr(gpu_day_parts, "recorder", wrong)
    assert day(tmp_path / "other", "--minutes", "1", "--only", "recorded") == 1
    assert not rows(tmp_path / "other")[1]["same"]


def test_what_there_is_no_time_for_is_named(tmp_path):
    day(tmp_path, "--minutes", "0.0001")
    left_out = {row["part"]: row["note"] for row in rows(tmp_path) if "left out" in row["what"]}
    assert set(left_out) >= {"recorded", "paths", "batch", "store", "runs"}
    assert "acfql on cube-double" in left_out["runs"]


def test_a_cut_run_loses_nothing(tmp_path, monkeypatch):
    def cut(book):
        book.row("batch", "x", "measured", updates_per_second=1.0)
        raise KeyboardInterrupt

    monkeypatch.setitem(gpu_day.PARTS, "batch", cut)
    with pytest.raises(KeyboardInterrupt):
        day(tmp_path, "--minutes", "1", "--only", "batch")
    assert [row["part"] for row in rows(tmp_path)] == ["machine", "batch"]


def test_generated_data_has_what_its_environment_relabels_from(tmp_path):
    pytest.importorskip("ogbench", reason="ogbench is not installed")
    for task in (gpu_day_runs.HOPPER, gpu_day_runs.CUBE):
        path = tmp_path / f"{task.name}.h5"
        generate(path, 1_000, 0, task.obs_dim, task.action_dim, task.extras)
        store, suite = TrajectoryStore.open(path), make_suite(task.env)
        assert (suite.obs_dim, suite.action_dim) == (store.obs_dim, store.action_dim)
        suite.relabel(store)
        assert np.isfinite(store.rewards.slice(0, 1_000)).all()


@pytest.mark.slow
def test_runs_evaluate_beside_themselves(tmp_path):
    assert day(tmp_path, "--minutes", "6", "--only", "runs") == 0
    last = [row for row in rows(tmp_path) if row.get("note") == "done"]
    assert [(row["agent"], row["steps"], row["evaluations"]) for row in last] == [
        ("diffusion_ql", 40, 2), ("trajectory_ql", 40, 2), ("acfql", 40, 2),
    ]  # fmt: skip
