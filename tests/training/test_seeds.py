"""Runs of several seeds as one program: each as alone, the same bits after a kill, all at one step."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from faults import run_and_kill
from same_run import assert_same_run
from small_runs import settings, trained, write_store

from trajrl.cli.main import dispatch
from trajrl.training import loop, seeds
from trajrl.training.build_seeds import build_seeds
from trajrl.training.config import RunConfig
from trajrl.training.resolve_config import resolve_config
from trajrl.training.resume_seeds import restore_all
from trajrl.training.run import Run
from trajrl.training.run_dir import checkpoint, folder
from trajrl.training.run_dir.csv_log import read_csv
from trajrl.training.run_dir.folder import describe_run, new_folder

SEEDS = 3
QUICK = {
    "agent": "td3_bc",
    "sampler": "priority",
    "agent.history": 1,
    "eval_every": 7,
}  # evaluated when saved


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """Return the folder of runs that nobody disturbed."""
    place = tmp_path_factory.mktemp("whole")
    seeds.offline(built(place, store))
    return place


def built(place: Path, store: Path, count: int = SEEDS, **changes: Any) -> seeds.Seeds:
    """Build tiny runs of several seeds in one folder."""
    fields = {**QUICK, **changes}
    agent, sampler = fields.pop("agent"), fields.pop("sampler")
    chosen = {"data": str(store), "agent": agent, "sampler": sampler, "steps": 25, "batch_size": 16}
    chosen |= {"preset": "demo"}
    words = settings(agent, **fields)
    configs = [resolve_config({**chosen, "seed": seed}, words) for seed in range(count)]
    folders = [new_folder(one, str(place / f"s{one.seed}")) for one in configs]
    runs = build_seeds(configs, folders)
    for run in runs:
        describe_run(run.folder, run.config, run.store)
    return seeds.Seeds(runs, place)


def reopened(place: Path) -> seeds.Seeds:
    """Build the runs that a folder holds, where all of them stand."""
    folders = sorted(place.glob("s*"))
    runs = build_seeds([RunConfig.load(one / "config.json") for one in folders], folders)
    restore_all(runs)
    return seeds.Seeds(runs, place)


def same_runs(left: Path, right: Path) -> None:
    for seed in range(SEEDS):
        assert_same_run(left / f"s{seed}", right / f"s{seed}")


def numbers(path: Path) -> tuple[list[str], np.ndarray]:
    """Return the names and the numbers of a run's metrics."""
    frame = pd.read_csv(path / "metrics.csv")
    return list(frame), frame.to_numpy(np.float64)


def test_every_run_is_what_it_would_be_alone(store, whole, tmp_path):
    fields = {**QUICK}
    for seed in range(SEEDS):
        trained(tmp_path / f"s{seed}", store, seed=seed, **fields)
        (names, found), (alone_names, alone) = numbers(whole / f"s{seed}"), numbers(tmp_path / f"s{seed}")
        assert names == alone_names
        assert np.allclose(found, alone, rtol=1e-4, atol=1e-4, equal_nan=True)
        draws, own = (pd.read_parquet(one / f"s{seed}" / "episodes.parquet") for one in (whole, tmp_path))
        assert draws["draws"].tolist() == own["draws"].tolist()
        rows, own_rows = (read_csv(one / f"s{seed}" / "evals.csv") for one in (whole, tmp_path))
        assert [row["seed"] for row in rows] == [row["seed"] for row in own_rows]
        assert np.allclose(
            [float(row["return"]) for row in rows], [float(row["return"]) for row in own_rows], 1e-4
        )
        configs = [json.loads((one / f"s{seed}" / "config.json").read_text()) for one in (whole, tmp_path)]
        assert configs[0] == configs[1]
    assert not np.allclose(numbers(whole / "s0")[1], numbers(whole / "s1")[1], equal_nan=True)


class KilledError(BaseException):
    """Stands for a kill: nothing after it runs."""


FEW = [pytest.param(saves, marks=() if saves == 5 else pytest.mark.slow) for saves in (0, 1, 3, 5, 11)]


@pytest.mark.parametrize("saves", FEW)
def test_a_kill_between_two_checkpoints_loses_no_bit(store, whole, tmp_path, monkeypatch, saves):
    save, count = checkpoint.save, iter(range(saves))

    def dies(*given: Any, **options: Any) -> Path:
        if next(count, None) is None:
            raise KilledError
        return save(*given, **options)

    monkeypatch.setattr(checkpoint, "save", dies)
    with pytest.raises(KilledError):
        seeds.offline(built(tmp_path, store))
    monkeypatch.undo()
    continued = reopened(tmp_path)
    assert [run.step for run in continued.runs] == [7 * (saves // SEEDS)] * SEEDS
    seeds.offline(continued)
    same_runs(whole, tmp_path)
    for seed in range(SEEDS):
        places = [one / f"s{seed}" / "checkpoints" for one in (whole, tmp_path)]
        assert len({checkpoint.follow(place, "best").name for place in places}) == 1


def test_runs_that_are_ahead_go_back_and_keep_nothing_of_it(store, tmp_path):
    group = built(tmp_path, store)
    for run in group.runs:
        run.interrupt()
    with pytest.raises(KeyboardInterrupt):
        seeds.offline(group)
    assert [run.step for run in group.runs] == [1] * SEEDS
    ahead = group.runs[1]
    ahead.interrupted = False
    loop.train_step(ahead)
    loop.save(ahead)
    continued = reopened(tmp_path)
    assert [run.step for run in continued.runs] == [1] * SEEDS
    kept = sorted(path.name for path in (tmp_path / "s1" / "checkpoints").glob("step-*"))
    assert kept == ["step-000000001"]
    assert checkpoint.follow(tmp_path / "s1" / "checkpoints", "latest").name == kept[0]


def test_a_run_that_ends_early_leaves_the_others(store, tmp_path):
    group = built(tmp_path, store)

    def stops(run: Run, last: bool) -> None:
        if run.config.seed == 1:
            run.stop("enough")

    group.runs[1].show_with(stops)
    seeds.offline(group)
    found = [json.loads((tmp_path / f"s{seed}" / "summary.json").read_text()) for seed in range(SEEDS)]
    assert [one["steps"] for one in found] == [25, 7, 25]
    assert [one["stop_reason"] for one in found] == ["", "enough", ""]
    continued = reopened(tmp_path)
    assert [run.step for run in continued.runs] == [25, 7, 25]
    seeds.offline(continued)
    assert json.loads((tmp_path / "s1" / "summary.json").read_text())["steps"] == 7


def test_held_out_episodes_are_each_seeds_own(store, tmp_path):
    group = built(tmp_path, store, holdout=0.3, steps=6)
    held = [set(run.held_out.tolist()) for run in group.runs]
    assert held[0] != held[1]
    drawn = [loop.draw_next(run) for run in group.runs]
    batch = seeds.batches_of(group.runs, drawn)
    for run, own, rows, ids in zip(group.runs, drawn, batch.episode, held):
        assert not ids & set(own.values.episode.tolist())
        assert rows.tolist() == own.values.episode.tolist()
        assert run.store.obs is group.runs[0].store.obs  # the columns are shared


def test_one_gather_is_every_seeds_own(store, tmp_path):
    group = built(tmp_path, store, sampler="policy=uniform values=cluster")
    drawn = [loop.draw_next(run) for run in group.runs]
    together = seeds.batches_of(group.runs, drawn)
    for r, run in enumerate(group.runs):
        own = loop.batches_of(run.store, drawn[r], slice(None), run.agent, run.sampler)
        for role in ("policy", "values"):
            rows = [None if part is None else part[r] for part in getattr(together, role)]
            assert all(
                a is b is None or torch.equal(a, b) for a, b in zip(rows, getattr(own, role), strict=True)
            )


def test_what_works_on_one_update_is_refused(store, tmp_path):
    group = built(tmp_path, store, count=1)
    for changes, words in (({"compile": "default"}, "compile=default"), ({"graph": True}, "graph=true")):
        with pytest.raises(ValueError, match=f"^--seeds .* {words}"):
            build_seeds([replace(group.runs[0].config, **changes)], [tmp_path])


def test_a_refusal_leaves_no_folder(store, tmp_path, capsys):
    out = tmp_path / "out"
    assert dispatch([*words(store, out), "--set", "compile=default"]) == 1
    assert "--seeds stacks the losses" in capsys.readouterr().err
    assert not out.exists()


@pytest.fixture
def one_process():
    """Let this process open again what it has open: each command stands for a process of its own."""

    def let_go() -> None:
        while folder._locks:
            folder._locks.pop().close()

    return let_go


def words(store: Path, place: Path, *more: str) -> list[str]:
    """Return the command line of tiny runs."""
    given = ["offline", "--data", str(store), "--agent", "td3_bc", "--sampler", "priority", "--steps", "25"]
    given += ["--batch-size", "16", "--preset", "demo", "--seeds", str(SEEDS), "--out", str(place)]
    return [*given, *more, "--set", *settings("td3_bc", **{"agent.history": 1, "eval_every": 7})]


def test_the_command_makes_ordinary_runs_and_resumes_them(store, whole, tmp_path, capsys, one_process):
    out = tmp_path / "five"
    assert dispatch(words(store, out, "--json")) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["seeds"] == [0, 1, 2]
    assert [Path(one["run"]).name for one in said["runs"]] == ["s0", "s1", "s2"]
    same_runs(whole, out)
    one_process()
    assert dispatch(["offline", "--resume", "--seeds", "3", "--out", str(out), "--steps", "30"]) == 0
    assert "from step 25 of 30" in capsys.readouterr().out
    assert {read_csv(out / f"s{seed}" / "metrics.csv")[-1]["step"] for seed in range(SEEDS)} == {"30"}
    one_process()
    assert dispatch(["offline", "--resume", "--out", str(out / "s1"), "--steps", "35"]) == 0  # one alone
    assert dispatch(["evaluate", str(out / "s1"), "--episodes", "1"]) == 0


def test_a_wrong_folder_is_one_line_and_leaves_nothing(store, tmp_path, capsys):
    out = tmp_path / "five"
    (out / "s1").mkdir(parents=True)
    (out / "s1" / "metrics.csv").write_text("step\n")
    assert dispatch(words(store, out)) == 1
    assert "s1 holds metrics.csv" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["s1"]
    assert dispatch(["offline", "--resume", "--seeds", "2", "--out", str(out)]) == 1
    assert "holds no run to resume" in capsys.readouterr().err
    assert dispatch(["offline", "--seeds", "2", "--out", str(out), "--set", "seed=3"]) == 1
    assert "leave seed out of --set" in capsys.readouterr().err
    assert dispatch(["offline", "--seeds", "0"]) == 1
    assert "--seeds must be at least 1; got 0" in capsys.readouterr().err


def test_runs_that_differ_in_more_than_the_seed_are_refused(store, tmp_path, capsys, one_process):
    built(tmp_path, store)
    path = tmp_path / "s1" / "config.json"
    path.write_text(path.read_text().replace('"batch_size": 16', '"batch_size": 17'))
    one_process()
    assert dispatch(["offline", "--resume", "--seeds", "3", "--out", str(tmp_path)]) == 1
    assert "s1 differs from" in (said := capsys.readouterr().err)
    assert "(batch_size)" in said


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["trajectory_ql", "stratified_ql"])
def test_sigkill_at_writes_loses_no_bit(store, tmp_path, agent):
    lines = [
        ["run.py", *words(store, tmp_path / name / "{seed}", "--resume-or-start"), f"agent={agent}"]
        for name in ("whole", "killed")
    ]
    fitting = [[word for word in line if not word.startswith("agent.")] for line in lines]
    assert dispatch(fitting[0][1:]) == 0
    for writes in (47, 40, 31, 9):
        run_and_kill(fitting[1], under=tmp_path / "killed", after_writes=writes)
    assert dispatch(fitting[1][1:]) == 0
    for seed in range(SEEDS):
        assert_same_run(tmp_path / "whole" / str(seed), tmp_path / "killed" / str(seed))
