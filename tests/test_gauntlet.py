"""The gauntlet: its runs can be made, each is done once and resumed, and its tables say what was scored."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import CalledProcessError
from time import sleep

import numpy as np
import pandas as pd
import pytest

from trajrl.training.resolve_config import resolve_config

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import evidence_runs
import gauntlet_tables
import gauntlet_together
import gauntlet_trials
from evidence_data import MAZE, MIXTURES, ORACLES, RECIPES, RECORDINGS, ROBOTS, TOY
from evidence_trials import Trial
from gauntlet_trials import AGENTS, FLAGSHIP, TASKS, updates_of

SMALL = ("eval_every=100", "eval_episodes=2", "last_eval_episodes=2", "log_every=10", "agent.width=8",
    "agent.candidates=3", "checkpoint_every=50", "env.time_limit=6")  # fmt: skip


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """Keep lines in a folder of the test, and look at runs often."""
    monkeypatch.setattr(evidence_runs, "ROWS", tmp_path / "rows")
    monkeypatch.setattr(evidence_runs, "PAUSE", 0.1)
    return tmp_path / "rows" / "gauntlet.csv"


def toy(steps: int, seed: int = 1) -> Trial:
    """Return a run of a few updates at toy:rooms."""
    words = ("--agent", FLAGSHIP, "--preset", "standard", "--steps", str(steps), "--batch-size", "4")
    return Trial("gauntlet", FLAGSHIP, TOY, seed, words, SMALL)


def test_first_come_all_medium_expert_tasks_of_seed_1():
    every = list(gauntlet_trials.trials())
    assert len({trial.name for trial in every}) == len(every) == len(TASKS) * len(AGENTS) * 3
    first = every[: 3 * len(AGENTS)]
    assert {trial.seed for trial in first} == {1}
    assert {trial.data for trial in first} == {f"{robot}-medium-expert" for robot in ROBOTS}
    assert {trial.cell for trial in first} == set(AGENTS)
    assert set(TASKS) <= {*MIXTURES, *RECORDINGS, *ORACLES, *RECIPES, TOY}


@pytest.mark.parametrize("trial", list(gauntlet_trials.trials(seeds=(1,))), ids=lambda t: t.name)
def test_every_run_is_a_config_that_resolves_to_the_published_settings(trial):
    words = trial.command(f"{trial.data}.h5", "out")[1:]
    asked = {word[2:]: words[i + 1] for i, word in enumerate(words) if word.startswith("--")}
    asked = {name: value for name, value in asked.items() if name not in ("set", "out")}
    config = resolve_config({**asked, "steps": int(asked["steps"]), "seed": 1}, trial.settings)
    steps = 50_000 if trial.cell in (FLAGSHIP, "bc_diffusion", "diffusion_ql", "cql") else 100_000
    assert (config.steps, config.eval_every, config.eval_episodes) == (steps, steps // 10, 10)
    if trial.cell == "rebrac" and trial.data == "walker2d-expert25":
        assert (config.batch_size, config.agent_options["critic_beta"]) == (1024, 0.001)
    if trial.cell == "iql" and trial.data == MAZE:
        assert (config.agent_options["expectile"], config.agent_options["beta"]) == (0.9, 10)
        assert (config.env_options["reward_shift"], config.reward) == (1.0, "iql_antmaze")
    if trial.cell == "iql":
        assert (config.reward == "iql_locomotion") == (trial.data.split("-")[0] in ROBOTS)


@pytest.mark.slow
def test_a_run_that_was_stopped_has_lines_and_continues_and_is_done_once(rows, tmp_path, monkeypatch):
    trial, wait = toy(600), evidence_runs.ended

    def stopped(process):
        if rows.exists():
            raise KeyboardInterrupt
        return wait(process)

    monkeypatch.setattr(evidence_runs, "ended", stopped)
    with pytest.raises(KeyboardInterrupt):
        evidence_runs.run([trial], tmp_path, tmp_path, workers=1, hours=1)
    assert evidence_runs.lines_of(trial)["last"].isna().all()
    monkeypatch.setattr(evidence_runs, "ended", wait)
    evidence_runs.run([trial], tmp_path, tmp_path, workers=1, hours=1)
    found = pd.read_csv(rows)
    assert found.step.tolist() == list(range(100, 601, 100))
    assert found["last"].isna().tolist() == [True] * 5 + [False]
    assert found.one.isna().tolist() == [True] + [False] * 5
    assert found.commit.notna().all()
    assert found.fingerprint.nunique() == 1
    assert found.seconds.is_monotonic_increasing
    assert found.processor.is_monotonic_increasing
    monkeypatch.setattr(evidence_runs, "do", None)
    evidence_runs.run([trial], tmp_path, tmp_path, workers=1, hours=1)


def test_two_workers_never_do_the_same_run(rows, tmp_path, monkeypatch):
    done, trial = [], toy(200)
    monkeypatch.setattr(evidence_runs, "add", lambda *_: None)
    monkeypatch.setattr(evidence_runs, "do", lambda trial, *_: done.append(trial) or sleep(0.5))
    evidence_runs.run([trial, trial, toy(200, seed=2)], tmp_path, tmp_path, workers=3, hours=1)
    assert sorted(each.seed for each in done) == [1, 2]


@pytest.mark.slow
def test_seeds_that_follow_each_other_train_together_and_stand_like_runs_alone(rows, tmp_path, monkeypatch):
    trials = [toy(200, seed=seed) for seed in (1, 2)]
    gauntlet_together.run_together(trials, tmp_path, tmp_path, hours=1)
    found = pd.read_csv(rows)
    assert found.groupby("seed").step.apply(list).to_dict() == {1: [100, 200], 2: [100, 200]}
    assert found.groupby("seed")["last"].apply(lambda last: last.notna().tolist()).to_dict() == {
        seed: [False, True] for seed in (1, 2)
    }
    assert set(found.together) == {2}
    summary = json.loads((tmp_path / trials[0].name / "summary.json").read_text())
    share = found.processor[found.step == 200].iloc[0]
    assert share == pytest.approx(summary["processor_seconds"] / 2, abs=0.1)
    monkeypatch.setattr(gauntlet_together, "do_group", None)  # a second invocation has nothing to do
    gauntlet_together.run_together(trials, tmp_path, tmp_path, hours=1)


def test_seeds_are_grouped_where_they_follow_each_other_and_nothing_else_differs():
    every = list(gauntlet_trials.trials(("toy-rooms", "hopper-medium"), ("iql",), (1, 2, 3, 11)))
    found = list(gauntlet_together.groups(every))
    assert [[(trial.data, trial.seed) for trial in group] for group in found] == [
        [("toy-rooms", 1), ("toy-rooms", 2), ("toy-rooms", 3)], [("toy-rooms", 11)],
        [("hopper-medium", 1), ("hopper-medium", 2), ("hopper-medium", 3)], [("hopper-medium", 11)],
    ]  # fmt: skip
    assert {trial.together for trial in found[0]} == {3}
    words = gauntlet_together.command(found[0], "X.h5", Path("out"))
    assert words[:4] == ["offline", "--seeds", "3", "--resume-or-start"]
    assert words[words.index("--out") + 1] == "out/gauntlet-toy-rooms-iql-s{seed}"
    assert words[words.index("--seed") + 1] == "1"


def test_a_group_of_which_some_is_done_is_left_to_runs_alone(rows, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(gauntlet_together, "do_group", lambda group, *_: tried.append(len(group)))
    monkeypatch.setattr(evidence_runs, "finished", lambda trial: trial.seed == 1)
    monkeypatch.setattr(gauntlet_together, "finished", lambda trial: trial.seed == 1)
    gauntlet_together.run_together([toy(200), toy(200, seed=2)], tmp_path, tmp_path, hours=1)
    assert tried == []


def test_a_run_that_fails_is_named_and_the_others_are_done(rows, tmp_path, monkeypatch, capsys):
    done = []

    def do(trial, out, policies):
        if trial.seed == 1:
            raise CalledProcessError(1, "run.py")
        return done.append(trial.seed)

    monkeypatch.setattr(evidence_runs, "do", do)
    monkeypatch.setattr(evidence_runs, "add", lambda *_: None)
    with pytest.raises(SystemExit, match=f"failed: {toy(200).name}$"):
        evidence_runs.run([toy(200), toy(200, seed=2)], tmp_path, tmp_path, workers=1, hours=1)
    assert done == [2]
    assert f"{toy(200).name}.txt says why" in capsys.readouterr().out


def lines(
    cell: str, values: list[float], data: str = "walker2d-medium-expert", **last: float
) -> pd.DataFrame:
    """Return the lines of a whole run that scored `values`, one second an update of the agent's pace."""
    every = updates_of(cell) // len(values)
    found = pd.DataFrame({"step": np.arange(1, len(values) + 1) * every, "score": values})
    found = found.assign(
        data=data, cell=cell, seed=1, seconds=9.0, processor=found.step / 100, last=np.nan, one=np.nan
    )
    for name, value in last.items():
        found[name] = value
    return found


def test_a_run_is_scored_by_its_last_five_its_lowest_and_one_candidate():
    rows = lines(FLAGSHIP, [10, 0, 20, 30, 40, 50, 60, 70, 80, 90], one=75.0, of_data=82.0)
    (found,) = gauntlet_tables.runs(rows).to_dict("records")
    assert (found["five"], found["lowest"], found["one"], found["ten"]) == (70, 0, 75, 45)
    table = gauntlet_tables.tables(rows)
    whole = f"{FLAGSHIP} | 1 | 50,000 | 70.0 | 0.0 | 75.0 | 90.0 | 45.0 | 82.0 |"
    assert f"| walker2d-medium-expert (tuned on) | {whole}" in table
    bold = [line for line in table.splitlines() if line.startswith("| **")]
    assert [line.split("**")[1].partition(":")[0] for line in bold] == [
        "no more than 2 points below one candidate", "the data's own average", "a score",
    ]  # fmt: skip
    assert "| **-2.0** | **-5.0** |" in bold[0]


def test_a_one_step_student_has_a_column_where_a_run_has_one():
    plain, distilled = (lines(FLAGSHIP, [10.0, 90.0], **own) for own in ({}, {"student": 88.0}))
    assert "student" not in gauntlet_tables.tables(plain)
    head, _, row = gauntlet_tables.scores(gauntlet_tables.runs(distilled)).splitlines()
    cells = dict(zip(head.split(" | "), row.split(" | ")))
    assert (cells["last"], cells["one-step student of the last"]) == ("90.0", "88.0")


def test_baselines_are_compared_in_the_time_that_the_flagship_took():
    own = lines(FLAGSHIP, [50.0] * 10).assign(processor=np.arange(1, 11) * 10)
    slow = lines("rebrac", [20.0] * 5 + [99.0] * 5).assign(processor=np.arange(1, 11) * 20)
    rows = pd.concat([own, slow, lines("iql", [40.0] * 10).assign(processor=9.0)])
    assert gauntlet_tables.at_equal_time(rows, "walker2d-medium-expert", 100.0) == 40.0
    found = {
        floor.what: floor for floor in gauntlet_tables.floors(rows) if floor.task == "walker2d-medium-expert"
    }
    ahead = found["no more than 5 points below the best baseline in equal time"]
    assert (ahead.found, ahead.fails) == (10.0, False)


def test_seeds_that_settings_are_tuned_with_judge_nothing():
    rows = pd.concat([lines(FLAGSHIP, [90.0] * 10), lines(FLAGSHIP, [10.0] * 10).assign(seed=11)])
    (floor,) = [
        f for f in gauntlet_tables.floors(rows) if (f.what, f.task) == ("a score", "walker2d-medium-expert")
    ]
    assert (floor.found, floor.fails) == (90.0, False)
    shown = [
        line.split(" | ")[2] for line in gauntlet_tables.scores(gauntlet_tables.runs(rows)).splitlines()[2:]
    ]
    assert shown == ["1", "11"]


def test_successes_are_told_in_per_cent_and_runs_underway_by_their_updates():
    rows = lines("ifql", [0.1, 0.3], data="cube-single-oracle").rename(columns={"score": "success"})
    rows = rows.assign(score=np.nan, of_data=0.2)
    (found,) = gauntlet_tables.runs(rows[rows.step < updates_of("ifql")]).to_dict("records")
    assert (found["five"], found["of_data"], found["updates"]) == (10.0, 20.0, 50_000)
