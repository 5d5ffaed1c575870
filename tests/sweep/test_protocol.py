"""A protocol: which runs it is of, what it writes, and that a kill changes none of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_runs import settings
from small_sweeps import wait

from trajrl.cli.main import dispatch
from trajrl.cli.protocol import Protocol
from trajrl.sweep import protocol
from trajrl.sweep.process import command
from trajrl.sweep.protocol_rows import aggregates, outcomes, rows
from trajrl.sweep.published import published, table
from trajrl.training.config import RunConfig
from trajrl.training.resolve_config import resolve_config


def test_tasks_are_numbers_of_those_there_are():
    assert protocol.chosen_tasks("", 5) == [1, 2, 3, 4, 5]
    assert protocol.chosen_tasks("4,1-2", 5) == [1, 2, 4]
    assert protocol.chosen_tasks("", 1) == [1]


@pytest.mark.parametrize(
    ("text", "said"),
    [("6", "there are tasks 1 to 5"), ("0-2", "there are tasks 1 to 5"), ("one", "takes numbers such as 2"),
     ("3-1", "there are tasks 1 to 5"), ("1-", "takes numbers")],
)  # fmt: skip
def test_other_tasks_are_refused(text, said):
    with pytest.raises(ValueError, match=said):
        protocol.chosen_tasks(text, 5)


def test_a_family_stands_for_its_tasks_and_an_environment_for_itself():
    found = protocol.tasks_of("ogbench:cube-double")
    assert found[1] == "ogbench:cube-double-play-singletask-task2-v0"
    assert len(found) == 5
    assert protocol.tasks_of("ogbench:cube-double-play-v0") == found
    assert protocol.tasks_of(found[2]) == (found[2],)
    assert protocol.tasks_of("toy:rooms") == ("toy:rooms",)


def made(out: Path, evaluations: dict[tuple[int, int, str], dict[int, list[bool]]]) -> list[protocol.Pair]:
    """Write run folders with these successes at each step, for (task, seed, phase)."""
    tasks = {task: f"env:{task}" for task, _, _ in evaluations}
    seeds = sorted({seed for _, seed, _ in evaluations})
    found = protocol.pairs(out, tasks, seeds, {"offline": ["steps=100"], "online": ["env_steps=50"]})
    for pair in found:
        for phase in protocol.PHASES:
            steps = evaluations.get((pair.task, pair.seed, phase))
            if steps is None:
                continue
            folder = getattr(pair, phase).folder
            folder.mkdir(parents=True)
            RunConfig(phase=phase, steps=100, env_steps=50).save(folder / "config.json")
            lines = [f"{s},{e},0,{int(x)},,{x},9" for s, each in steps.items() for e, x in enumerate(each)]
            text = "\n".join(["step,episode,seed,return,score,success,length", *lines])
            (folder / "evals.csv").write_text(text + "\n")
    return found


CURVE = {
    (2, 0, "offline"): {50: [False, False], 100: [True, False]},
    (2, 0, "online"): {0: [True, True], 25: [False, False], 50: [True, True]},
    (2, 1, "offline"): {50: [False, False], 100: [False, False]},
}


def test_rows_have_one_clock_over_both_phases(tmp_path):
    found = rows(made(tmp_path, CURVE))
    own = found[found["seed"] == 0]
    assert own["x"].tolist() == [-50, 0, 0, 25, 50]
    assert own["value"].tolist() == [0.0, 0.5, 1.0, 0.0, 1.0]
    assert own["episodes"].tolist() == [2] * 5
    assert set(found["environment"]) == {"env:2"}


def test_aggregates_are_of_the_runs_that_came_so_far(tmp_path):
    found = aggregates(rows(made(tmp_path, CURVE))).set_index("x")
    assert found.loc[-50, ["runs", "mean", "low", "high"]].tolist() == [2, 0.0, 0.0, 0.0]
    assert found.loc[0, ["runs", "mean"]].tolist() == [2, 0.375]  # (0.5 + 1) / 2 and 0
    assert found.loc[0, ["low", "high"]].tolist() == [0.0, 0.75]
    assert found.loc[50, "runs"] == 1


def test_all_tasks_together_only_where_every_run_has_come(tmp_path):
    two = {(1, 0, "offline"): {100: [True, True]}, **CURVE}
    del two[2, 1, "offline"]
    found = aggregates(rows(made(tmp_path, two)))
    whole = found[found["task"] == "all"]
    assert whole["x"].tolist() == [0]
    assert whole["mean"].tolist() == [(1.0 + 0.75) / 2]


def test_an_outcome_has_drop_regret_and_the_first_step_at_90_per_cent(tmp_path):
    (one,) = outcomes(rows(made(tmp_path, CURVE))).to_dict("records")
    assert (one["offline"], one["online"], one["gain"], one["drop"]) == (1.0, 1.0, 0.0, 1.0)
    assert one["regret"] == 0.5  # a triangle of height 1 over the whole phase
    assert one["steps_to_90"] == 0


def test_a_phase_is_an_ordinary_run(tmp_path):
    (pair,) = protocol.pairs(tmp_path, {1: "toy:rooms"}, [3], {"offline": ["steps=9"], "online": ["utd=2"]})
    assert command(pair.offline)[3:6] == ["offline", "--resume-or-start", "--out"]
    words = command(pair.online)
    assert words[3:6] == ["online", "--from", str(pair.offline.folder)]
    assert words[-4:] == ["--seed", "3", "--set", "utd=2"]


def test_published_numbers_stand_beside_the_preset_that_they_are_of():
    found = published("ogbench:cube-double", "acfql", "small")["all"]
    assert (found.method, found.offline, found.online) == ("QC-FQL", 0.39, 1.0)
    assert published("ogbench:cube-double-play-v0", "acfql", "qc")["2"].offline == 0.79
    assert np.isnan(published("robomimic:Lift", "rlpd", "paper")["1"].offline)
    assert published("ogbench:cube-single", "acfql", "paper") == {}
    known = table()
    assert not known.duplicated(["environment", "task", "method"]).any()
    assert known[["offline", "online"]].max().max() <= 1.0


TINY = settings("acfql", log_every=10, eval_every=12, checkpoint_every=8, video_every=0)
WORDS = ["protocol", "toy:rooms", "--preset", "small", "--workers", "1", "--steps", "24", "--env-steps", "48",
         "--eval-episodes", "2", "--batch-size", "8", "--online", "envs=2", "learning_starts=8",
         "--set", *TINY]  # fmt: skip


def in_this_process(planned, resources, on_end):
    """Be an engine that starts no process."""
    for trial in planned:
        on_end(trial, dispatch(command(trial)[3:]))


def test_a_protocol_writes_rows_aggregates_and_a_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("trajrl.sweep.local.run", in_this_process)
    assert dispatch([*WORDS, "--out", str(tmp_path / "p"), "--json"]) == 0, capsys.readouterr().err
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["unfinished"] == 0
    found = pd.read_csv(tmp_path / "p" / "rows.csv")
    assert found["x"].tolist() == [-12, 0, *range(0, 49, 12)]
    assert found["success"].between(0, 1).all()
    assert (tmp_path / "p" / "curves.png").read_bytes()[1:4] == b"PNG"
    assert "updates before 0" in (tmp_path / "p" / "protocol.html").read_text()
    again = (tmp_path / "p" / "rows.csv").read_bytes()
    assert dispatch([*WORDS, "--out", str(tmp_path / "p")]) == 0
    assert (tmp_path / "p" / "rows.csv").read_bytes() == again
    capsys.readouterr()
    assert dispatch([*WORDS, "agent.alpha=3", "--out", str(tmp_path / "p")]) == 1
    assert "holds a protocol with another offline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["toy:rooms", "--tasks", "2"], "there is 1 task"),
        (["toy:rooms", "--agent", "acfq"], "did you mean 'acfql'"),
        (["toy:rooms", "--preset", "smal"], "did you mean 'small'"),
        (["toy:rooms", "--data", "x.h5", "--collect", "9"], "give one"),
        (["toy:point"], "no offline data belongs to toy:point"),
        (["toy:rooms", "--online", "env_stps=3"], "did you mean 'env_steps'"),
        (["toy:rooms", "--seeds", "0"], "--seeds must be at least 1"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused_before_anything_runs(words, said, tmp_path, capsys):
    assert dispatch(["protocol", *words, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_kill_in_either_phase_changes_no_row(tmp_path):
    def started(out: Path) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "trajrl", *WORDS, "--out", str(out)]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)

    assert started(tmp_path / "whole").wait() == 0
    for phase in protocol.PHASES:
        process = started(tmp_path / "killed")
        place = tmp_path / "killed" / "trials" / f"task=1-s0-{phase}" / "checkpoints" / "latest"
        wait(place.exists)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert started(tmp_path / "killed").wait() == 0
    for name in ("rows", "aggregates", "outcomes"):
        whole, killed = ((tmp_path / part / f"{name}.csv").read_bytes() for part in ("whole", "killed"))
        assert whole == killed


def test_the_papers_sizes_are_those_of_the_protocol_unless_the_agent_has_its_own():
    def sizes(**options):
        command = Protocol(environment="toy:rooms", **options)
        words = command.settings("offline", Path("out"), {1: "toy:rooms"})
        config = resolve_config({"phase": "offline"}, words)
        return config.steps, config.eval_every, config.eval_episodes

    assert sizes(agent="rebrac", preset="paper") == (1_000_000, 100_000, 50)
    assert sizes(agent="acfql", preset="qc") == (1_000_000, 100_000, 50)
    assert sizes(agent="rebrac", preset="small") == (100_000, 20_000, 25)
    assert sizes(agent="rebrac", preset="paper", steps=7, eval_every=3) == (7, 3, 50)
