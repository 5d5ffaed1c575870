"""Evaluations beside the training: the rows of one in the loop, in order, once, whatever is killed."""

import json
import os
import signal
from contextlib import suppress

import pytest
from faults import run_and_kill
from same_run import assert_same_run, final
from small_runs import reopened, settings, small_online, small_run, trained, write_store

from trajrl.nets.activation import use_kernel
from trajrl.training import loop
from trajrl.training.evaluators import Evaluators
from trajrl.training.run_dir import checkpoint
from trajrl.training.run_dir.csv_log import read_csv
from trajrl.training.run_dir.evaluations import Awaited

EVALUATED = {"eval_every": 3, "checkpoint_every": 3}  # so often that several are awaited together


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("whole") / "run", store, agent="diffusion_ql", **EVALUATED).folder


def beside(folder, store, **changes):
    return small_run(folder, store, agent="diffusion_ql", **EVALUATED, eval_async="true", **changes)


def taken(run, updates):
    for _ in range(updates):
        loop.train_step(run)
        loop.after_step(run)


def test_a_run_is_the_same_as_with_evaluations_in_the_loop(store, whole, tmp_path):
    run = beside(tmp_path / "beside", store, eval_workers=2)
    loop.offline(run)
    assert_same_run(whole, tmp_path / "beside")
    for name in ("best", "latest"):
        assert (tmp_path / "beside/checkpoints" / name).read_text() == (
            whole / "checkpoints" / name
        ).read_text()
    one, other = (json.loads((folder / "summary.json").read_text()) for folder in (whole, run.folder))
    assert one["scores"] == other["scores"]


def test_what_is_awaited_at_a_checkpoint_is_evaluated_again(store, whole, tmp_path, monkeypatch):
    run = beside(tmp_path / "parts", store)
    monkeypatch.setattr(Evaluators, "answers", lambda self, jobs, to_the_end: [])  # none comes in time
    taken(run, 13)
    run.logger.close()
    monkeypatch.undo()
    assert not (run.folder / "evals.csv").exists()
    kept = {path.name for path in (run.folder / "checkpoints").glob("step-*")}
    assert kept == {f"step-{step:09d}" for step in (3, 6, 9, 12)}  # one of them may be the best
    resumed = reopened(run.folder)
    assert [each.step for each in resumed.evaluations.awaited] == [3, 6, 9, 12]
    loop.offline(resumed)
    assert_same_run(whole, run.folder)


def test_rows_written_after_the_checkpoint_come_once(store, whole, tmp_path):
    run = beside(tmp_path / "parts", store)
    taken(run, 7)
    run.evaluations.awaited = [Awaited(3, 2, None), Awaited(6, 2, None)]  # as if neither had been in time
    run.evaluations.entries = []
    loop.save(run)
    run.logger.close()
    assert checkpoint.newest(run.folder / "checkpoints").name == "step-000000007"
    resumed = reopened(run.folder)
    assert read_csv(run.folder / "evals.csv") == []
    loop.offline(resumed)
    assert final(run.folder)["evals"] == final(whole)["evals"]


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again(store, whole, tmp_path):
    run = beside(tmp_path / "killed", store)
    taken(run, 3)
    os.kill(run.evaluators.workers[0].process.pid, signal.SIGKILL)
    loop.offline(run)
    assert_same_run(whole, tmp_path / "killed")


def test_a_step_that_kills_every_worker_ends_the_run_in_one_line(store, tmp_path):
    run = beside(tmp_path / "killed", store)
    taken(run, 3)

    def killed():
        while True:
            with suppress(ProcessLookupError):  # the last one killed, which nothing was asked of since
                os.kill(run.evaluators.workers[0].process.pid, signal.SIGKILL)
            run.evaluators.workers[0].process.join()
            taken(run, 1)

    with pytest.raises(RuntimeError, match=r"evaluates step \d+ ended by itself, 2 times \(SIGKILL\)"):
        killed()
    run.evaluators.close()


def test_a_policy_that_is_gone_is_named(store, tmp_path):
    run = beside(tmp_path / "gone", store)
    with pytest.raises(
        ValueError, match=r"the evaluation of step 999 failed: .*no policy of step 999|holds no"
    ):
        run.evaluators.answers([Awaited(999, 2, None)], to_the_end=True)
    run.evaluators.close()


@pytest.mark.slow
@pytest.mark.parametrize("writes", [14, 21, 30])
def test_a_run_killed_at_any_moment_resumes_to_the_same_rows(store, whole, tmp_path, writes):
    words = [
        "offline",
        "--data",
        str(store),
        "--agent",
        "diffusion_ql",
        "--sampler",
        "cluster",
        "--steps",
        "25",
    ]
    words += ["--batch-size", "16", "--preset", "demo", "--eval-async", "--resume-or-start"]
    words += ["--out", str(tmp_path / "killed"), "--set", *settings("diffusion_ql", **EVALUATED)]
    run_and_kill(["run.py", *words], under=tmp_path / "killed", after_writes=writes)
    loop.offline(reopened(tmp_path / "killed"))
    assert_same_run(whole, tmp_path / "killed")


def test_online_evaluates_in_the_loop(store, whole, tmp_path):
    source = beside(tmp_path / "offline", store)
    loop.offline(source)
    assert small_online(tmp_path / "online", source.folder).evaluators is None
    with pytest.raises(ValueError, match="eval_async serves the offline phase"):
        small_online(tmp_path / "refused", source.folder, eval_async="true")


def test_workers_compute_as_the_run_does(store, tmp_path):
    for name, changes in (("loop", {}), ("beside", {"eval_async": "true"})):
        loop.offline(
            small_run(tmp_path / name, store, agent="diffusion_ql", steps=6, kernels="compiled", **changes)
        )
    assert_same_run(tmp_path / "loop", tmp_path / "beside")
    use_kernel(False)
