"""Distillation at the end of a run: what is kept, that a kill changes nothing, and where it is refused."""

from __future__ import annotations

import json
import shutil

import pytest
from same_run import same_tree
from small_runs import reopened, small_run, trained, write_store

from trajrl.cli.main import dispatch
from trajrl.report import frames
from trajrl.report.page.overview import run_table
from trajrl.report.selection import four_scores
from trajrl.training import distil, loop
from trajrl.training.run_dir import distilled
from trajrl.training.run_dir.load_run import load_run

CHOICE = {"agent": "trajectory_ql", "sampler": "cluster", "distil": 12, "checkpoint_every": 5, "steps": 10}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a"
    trained(folder, store, **CHOICE)
    return folder


def weights(folder):
    return distilled.load(folder / "checkpoints", 10)[0]


def test_the_summary_has_the_students_score_and_both_times(run):
    summary = json.loads((run / "summary.json").read_text())
    found = summary["distilled"]
    assert (found["step"], found["updates"], found["score"]["step"]) == (10, 12, 10)
    assert found["scale"] == summary["scale"]
    assert min(found["milliseconds"]["chain"], found["milliseconds"]["student"]) > 0
    assert not (run / "checkpoints" / distilled.UNFINISHED).exists()


def test_a_run_killed_while_it_distils_continues_with_the_same_bits(run, store, tmp_path, monkeypatch):
    killed = small_run(tmp_path / "b", store, **CHOICE)
    real, steps = distil.train_step, []

    def dies(*arguments):
        steps.append(1)
        if len(steps) == 8:
            raise RuntimeError("killed")
        return real(*arguments)

    monkeypatch.setattr(distil, "train_step", dies)
    with pytest.raises(RuntimeError, match="killed"):
        loop.offline(killed)
    loop.offline(reopened(tmp_path / "b"))
    assert len(steps) == 8 + 7  # from its checkpoint of update 5
    assert same_tree(weights(tmp_path / "b"), weights(run))


def test_distilling_changes_no_number_of_the_run(run, store, tmp_path):
    trained(tmp_path / "c", store, **{**CHOICE, "distil": 0})
    kept = [load_run(folder).agent().state_dict() for folder in (run, tmp_path / "c")]
    assert same_tree(*kept)
    assert "distilled" not in json.loads((tmp_path / "c" / "summary.json").read_text())


def test_a_run_that_has_a_newer_policy_is_not_exported_as_its_old_student(run, tmp_path):
    shutil.copytree(run, tmp_path / "f")
    assert load_run(tmp_path / "f").has_student
    kept = tmp_path / "f" / "checkpoints"
    shutil.copytree(kept / "policy-000000010", kept / "policy-000000020")
    assert not load_run(tmp_path / "f").has_student
    assert load_run(tmp_path / "f").step("distilled") == 10


def test_a_finished_run_is_distilled_when_it_is_resumed(store, tmp_path, capsys):
    trained(tmp_path / "d", store, **{**CHOICE, "distil": 0, "env": "none"})
    with pytest.raises(ValueError, match="has no one-step student; `offline --resume"):
        load_run(tmp_path / "d").agent("distilled")
    assert dispatch(["offline", "--resume", "--out", str(tmp_path / "d"), "--distil", "3"]) == 0
    assert "of the one-step student" in capsys.readouterr().out
    summary = json.loads((tmp_path / "d" / "summary.json").read_text())
    assert summary["distilled"]["score"] is None
    assert load_run(tmp_path / "d").agent("distilled").student is not None


@pytest.mark.slow
def test_export_takes_the_student_unless_asked_otherwise(run, tmp_path, capsys):
    words = ["export", str(run), "--format", "torch", "--windows", "4", "--json"]
    for choice, checkpoint in ([], "distilled"), (["--checkpoint", "last"], "last"):
        assert dispatch([*words, *choice, "--out", str(tmp_path / f"{checkpoint}.pt2")]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert found["checkpoint"] == checkpoint
        assert ("chain_milliseconds" in found) == (checkpoint == "distilled")


def test_evaluate_scores_the_student_by_name(run, capsys):
    words = ["evaluate", str(run), "--checkpoint", "distilled", "--episodes", "2", "--json"]
    assert dispatch(words) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    kept = json.loads((run / "summary.json").read_text())["distilled"]["score"]
    assert (found["step"], found["score_mean"]) == (10, pytest.approx(kept["value"]))


def test_the_report_has_both_scores_and_both_times(run):
    runs, found = frames.load_runs(run), json.loads((run / "summary.json").read_text())["distilled"]
    evaluations = frames.evals(runs)
    row = run_table(runs, four_scores(evaluations, frames.metrics(runs)), evaluations).rows.iloc[0]
    assert row["one-step student of last"].startswith(f"{found['score']['value']:.1f} (")
    times = found["milliseconds"]
    assert row["ms per action: chain, student"] == f"{times['chain']:.2f}, {times['student']:.2f}"


def test_a_policy_without_a_chain_is_refused_at_the_start(store, tmp_path):
    with pytest.raises(ValueError, match="student of a diffusion chain, and the policy of iql is none"):
        small_run(tmp_path / "e", store, agent="iql", distil=5)
