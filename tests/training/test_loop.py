"""The loop: what a run writes, and that a killed and resumed run is the run that was not killed."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from faults import run_and_kill
from same_run import assert_same_run, final, same_tree
from small_runs import reopened, settings, small_run, trained, write_store

from trajrl.agents import AGENTS
from trajrl.cli.main import dispatch
from trajrl.core.trust import allow
from trajrl.samplers import SAMPLERS
from trajrl.store.episode import Episode
from trajrl.store.file.writer import StoreWriter
from trajrl.store.store import TrajectoryStore
from trajrl.training import build, loop
from trajrl.training.resolve_config import resolve_config
from trajrl.training.run_dir.csv_log import read_csv
from trajrl.training.run_dir.folder import describe_run, lock, new_folder
from trajrl.training.run_dir.load_run import load_run

AGENTS_OFFLINE = sorted(set(AGENTS) & {"bc_diffusion", "diffusion_ql", "trajectory_ql", "acfql", "td3_bc"})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


def test_start_last_trains_the_critic_of_dropped_chunks(store, tmp_path):
    options = {"sampler.start": "last", "agent.chunk": 3, "agent.horizon": 3, "agent.partial_chunks": "drop"}
    run = small_run(tmp_path / "a", store, agent="acfql", sampler="priority", **options)
    update = loop.train_step(run)
    assert update.metrics["critic/used_share"].item() == 1
    assert update.metrics["critic/loss"].item() > 0


def test_a_run_directory_holds_what_was_promised(store, tmp_path):
    trained(tmp_path / "a", store)
    names = {p.name for p in (tmp_path / "a").iterdir()}
    assert names == {
        "config.json", "command.txt", "versions.json", "metrics.csv", "evals.csv", "episodes.parquet", "tb",
        "checkpoints", "summary.json",
    }  # fmt: skip
    rows = read_csv(tmp_path / "a" / "metrics.csv")
    assert [row["step"] for row in rows] == ["5", "10", "15", "20", "25"]
    assert {"offline/critic/loss", "offline/actor/bc_loss"} <= set(rows[0])
    evals = read_csv(tmp_path / "a" / "evals.csv")
    assert [(e["step"], e["episode"]) for e in evals] == [(s, e) for s in ("10", "20", "25") for e in "01"]
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    for name in ("last", "best", "mean_last_10", "selected"):
        assert set(summary["scores"][name]) == {"value", "low", "high", "step", "success"}
    assert summary["data"]["average_return"] != 0
    assert summary["seconds"] > 0
    assert summary["processor_seconds"] > 0
    assert summary["updates_per_second"] > 0
    assert any((tmp_path / "a" / "tb").iterdir())


def test_evaluations_stand_in_the_metrics_and_in_tensorboard_alike(store, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained(tmp_path / "a", store, eval_every=8)
    rows = {int(row["step"]): row for row in read_csv(tmp_path / "a" / "metrics.csv")}
    assert sorted(rows) == [5, 8, 10, 15, 16, 20, 24, 25]
    scored = {
        step: float(row["offline/eval/score"]) for step, row in rows.items() if row["offline/eval/score"]
    }
    evals = pd.read_csv(tmp_path / "a" / "evals.csv").groupby("step")["score"].mean()
    assert scored == pytest.approx(evals.to_dict())
    events = EventAccumulator(str(tmp_path / "a" / "tb")).Reload()
    assert {e.step: e.value for e in events.Scalars("offline/eval/score")} == pytest.approx(scored)
    assert rows[8]["offline/critic/loss"] == ""  # it was no time for means


@pytest.mark.parametrize("agent", AGENTS_OFFLINE)
def test_a_stopped_and_resumed_run_is_the_same_run(store, tmp_path, agent):
    trained(tmp_path / "whole", store, agent=agent)
    run = small_run(tmp_path / "parts", store, agent=agent)
    for _ in range(18):  # past the checkpoint of step 14
        loop.train_step(run)
        loop.after_step(run)
    run.logger.close()
    resumed = reopened(tmp_path / "parts")
    assert resumed.step == 14
    loop.offline(resumed)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"mixture"}))
def test_every_sampler_resumes_exactly(store, tmp_path, sampler):
    trained(tmp_path / "whole", store, sampler=sampler, agent="diffusion_ql")
    run = small_run(tmp_path / "parts", store, sampler=sampler, agent="diffusion_ql")
    for _ in range(9):
        loop.train_step(run)
        loop.after_step(run)
    run.logger.close()
    loop.offline(reopened(tmp_path / "parts"))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_killed_at_any_moment_resumes_to_the_same_bits(store, tmp_path):
    trained(tmp_path / "whole", store)
    words = [
        "offline",
        "--data",
        str(store),
        "--agent",
        "trajectory_ql",
        "--sampler",
        "cluster",
        "--steps",
        "25",
    ]
    words += [
        "--batch-size",
        "16",
        "--preset",
        "demo",
        "--resume-or-start",
        "--out",
        str(tmp_path / "killed"),
        "--set",
    ]
    program = ["run.py", *words, *settings("trajectory_ql")]
    for writes in (14, 9):  # dies, continues, dies again, continues
        run_and_kill(program, under=tmp_path / "killed", after_writes=writes)
    loop.offline(reopened(tmp_path / "killed"))
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def trained_on(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return rows of metrics.csv without what evaluations found, and none that say nothing else."""
    kept = [{name: value for name, value in row.items() if "/eval/" not in name} for row in rows]
    return [row for row in kept if any(value for name, value in row.items() if name != "step")]


def test_evaluating_more_often_changes_no_training_number(store, tmp_path):
    trained(tmp_path / "few", store)
    trained(tmp_path / "many", store, eval_every=4, eval_episodes=3)
    few, many = final(tmp_path / "few"), final(tmp_path / "many")
    assert same_tree(few["state"]["agent"], many["state"]["agent"])
    assert trained_on(few["metrics"]) == trained_on(many["metrics"])
    first = {e["episode"]: e for e in many["evals"] if e["step"] == "20"}
    assert [e for e in few["evals"] if e["step"] == "20"] == [first["0"], first["1"]]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(store, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trained(tmp_path / name, store, seed=seed)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert not same_tree(final(tmp_path / "a")["state"]["agent"], final(tmp_path / "c")["state"]["agent"])


def test_the_number_of_evaluation_environments_changes_nothing(store, tmp_path):
    trained(tmp_path / "one", store, eval_envs=1, eval_episodes=4)
    trained(tmp_path / "four", store, eval_envs=4, eval_episodes=4)
    assert final(tmp_path / "one")["evals"] == final(tmp_path / "four")["evals"]


def test_a_resolved_config_runs_again_to_the_same_bits(store, tmp_path):
    trained(tmp_path / "first", store, seed=3)
    config = resolve_config({}, (), tmp_path / "first" / "config.json")
    run = build.build(config, new_folder(config, str(tmp_path / "again")))
    describe_run(run.folder, config, run.store)
    loop.offline(run)
    assert_same_run(tmp_path / "first", tmp_path / "again")


def test_a_run_is_never_written_over(store, tmp_path):
    run = small_run(tmp_path / "a", store)
    with pytest.raises(ValueError, match="--resume"):
        new_folder(run.config, str(tmp_path / "a"))


def test_a_second_process_on_the_same_run_is_refused(store, tmp_path):
    small_run(tmp_path / "a", store)
    lock(tmp_path / "a")
    with pytest.raises(ValueError, match="another process"):
        lock(tmp_path / "a")


def test_a_policy_is_loaded_without_its_data(store, tmp_path):
    copy = shutil.copy(store, tmp_path / "gone.h5")
    run = trained(tmp_path / "a", copy)
    (tmp_path / "gone.h5").unlink()
    loaded = load_run(tmp_path / "a")
    assert loaded.environment() == "toy:point"
    policy = loaded.policy()
    with pytest.raises(ValueError, match="takes the number of environments, 1 or more, and no seed; got 0"):
        policy.reset(0)
    policy.reset(n=3)
    obs = np.zeros((3, run.store.obs_dim), np.float32)
    actions = [policy.act(obs) for _ in range(4)]
    assert all(a.shape == (3, run.store.action_dim) and (abs(a) <= 1).all() for a in actions)
    for wrong in (obs[:2], np.zeros((4, run.store.obs_dim), np.float32), obs[0]):
        with pytest.raises(ValueError, match=r"act\(obs\) takes one observation for each of 3 environments"):
            policy.act(wrong)
    for which in ("best", "selected", "10", "25"):
        assert loaded.policy(which).act(obs[0]).shape == (run.store.action_dim,)
    with pytest.raises(ValueError, match="keeps 10, 20, 25"):
        loaded.step("11")


def test_the_last_policy_acts_as_the_agent_that_was_trained(store, tmp_path):
    run = trained(tmp_path / "a", store)
    assert same_tree(
        load_run(tmp_path / "a").agent().state_dict()["ema_actor"], run.agent.state_dict()["ema_actor"]
    )


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_term(store, tmp_path):
    run = small_run(tmp_path / "a", store)
    for parameter in run.agent.critic.parameters():
        parameter.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="critic/loss"):
        loop.offline(run)


@pytest.mark.parametrize("early_stop", [0.0, 1e-9])
def test_without_an_environment_the_loss_still_stops_and_selects(tmp_path, early_stop):
    bare = write_store(tmp_path / "bare.h5", recorded_in="")
    steady = {
        "agent.lr": 0.0,
        "eval_every": 1,
        "early_stop": early_stop,
    }  # the loss is noisy
    run = trained(tmp_path / "a", bare, agent="bc_diffusion", **steady)
    assert (run.step < 25) == bool(early_stop)
    assert ("loss rose" in run.stop_reason) == bool(early_stop)
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    least = min(run.evaluations.losses, key=lambda each: each[1])[0]
    assert summary["scores"] is None
    assert summary["selected_step"] == least == load_run(tmp_path / "a").step("selected")
    with pytest.raises(ValueError, match="has no 'best' yet"):
        load_run(tmp_path / "a").step("best")


def test_early_stop_ends_the_run_when_the_loss_rises(store, tmp_path):
    run = trained(
        tmp_path / "a", store, agent="bc_diffusion", early_stop=1e-9, eval_every=1, **{"agent.lr": 0.0}
    )
    assert run.step < 25
    reason = json.loads((tmp_path / "a" / "summary.json").read_text())["stop_reason"]
    assert re.match(
        r"the behaviour-cloning loss rose from \S+ to \S+, by more than 1e-09, at step \d+ ", reason
    )


def test_the_reason_of_a_stop_is_printed(store, tmp_path, capsys):
    words = [
        "offline",
        "--data",
        str(store),
        "--agent",
        "bc_diffusion",
        "--steps",
        "25",
        "--batch-size",
        "16",
    ]
    words += [
        "--preset",
        "demo",
        "--sampler",
        "uniform",
        "--early-stop",
        "1e-9",
        "--out",
        str(tmp_path / "a"),
    ]
    few = settings("bc_diffusion", eval_every=1, **{"agent.lr": 0.0})
    assert dispatch([*words, "--set", *few]) == 0
    assert "stopped: the behaviour-cloning loss rose from " in capsys.readouterr().out


def test_actions_outside_the_box_ask_for_the_users_word(store, tmp_path):
    from trajrl.store.episode import Episode
    from trajrl.store.file.writer import StoreWriter

    wide = tmp_path / "wide.h5"
    with StoreWriter(wide, {"environment": ""}) as writer:
        writer.append(Episode(np.zeros((4, 2)), np.array([[3.0], [-1.0], [0.5]]), np.ones(3), True))
    with pytest.raises(ValueError, match="--actions clip"):
        small_run(tmp_path / "no", wide, sampler="uniform")
    clipped = small_run(tmp_path / "clip", wide, sampler="uniform", actions="clip").store
    assert clipped.shape_action(torch.tensor([3.0, -1.0, 0.5])).tolist() == [1.0, -1.0, 0.5]
    with pytest.raises(ValueError, match=r"nothing names one: .* --action-box LOW HIGH"):
        small_run(tmp_path / "unknown", wide, sampler="uniform", actions="scale")
    assert (
        dispatch(["store", "import", str(wide), "--action-box", "-1", "3", "--out", str(tmp_path / "b.h5")])
        == 0
    )
    scaled = small_run(tmp_path / "scale", tmp_path / "b.h5", sampler="uniform", actions="scale").store
    assert scaled.shape_action(torch.tensor([[3.0], [-1.0], [1.0]])).flatten().tolist() == [1.0, -1.0, 0.0]


def line_run(folder, environment, episodes):
    """Build a tiny run that is evaluated in a sample environment."""
    allow([environment])
    with StoreWriter(folder / "line.h5", {"environment": environment, "actions_scaled": True}) as writer:
        for _ in range(4):
            writer.append(Episode(np.zeros((5, 2)), np.zeros((4, 1)), np.ones(4), True))
    return small_run(
        folder / "a",
        folder / "line.h5",
        agent="td3_bc",
        sampler="uniform",
        steps=3,
        last_eval_episodes=episodes,
    )


def test_episodes_that_break_off_in_an_evaluation_do_not_end_the_run(tmp_path, capsys):
    run = line_run(tmp_path, "sample_envs:breaking", 20)
    loop.offline(run)
    assert 0 < len(read_csv(tmp_path / "a" / "evals.csv")) < 20
    assert "episodes of the evaluation broke off and are left out" in capsys.readouterr().out
    assert json.loads((tmp_path / "a" / "summary.json").read_text())["scores"]["last"]["step"] == 3
    run.logger.close()
    assert dispatch(["evaluate", str(tmp_path / "a"), "--episodes", "20", "--json"]) == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert 0 < answer["broken"] == 20 - answer["episodes"] == 20 - len(answer["returns"])
    assert f"{answer['broken']} episodes broke off and are left out; last: environment" in said.err


def test_an_evaluation_of_which_nothing_is_left_is_one_line(tmp_path, capsys):
    run = line_run(tmp_path, "sample_envs:line", 1)
    loop.offline(run)
    run.logger.close()
    capsys.readouterr()
    words = ["evaluate", str(tmp_path / "a"), "--env", "sample_envs:stuck", "--episodes", "3"]
    assert dispatch(words) == 1
    assert (
        "failed at step 0 of episode 2: RuntimeError: the arm is stuck"
        in capsys.readouterr().err.splitlines()[-1]
    )


def test_how_often_to_log_evaluate_and_save_are_options(store, tmp_path):
    out = tmp_path / "a"
    words = ["offline", "--data", str(store), "--agent", "td3_bc", "--preset", "standard", "--steps", "24"]
    often = ["--log-every", "6", "--eval-every", "8", "--eval-episodes", "3", "--checkpoint-every", "12"]
    assert dispatch([*words, *often, "--batch-size", "8", "--out", str(out)]) == 0
    assert [row["step"] for row in read_csv(out / "metrics.csv")] == ["6", "8", "12", "16", "18", "24"]
    evals = [(row["step"], row["episode"]) for row in read_csv(out / "evals.csv")]
    assert evals == [(step, episode) for step in ("8", "16", "24") for episode in "012"]
    found = sorted(path.name for path in (out / "checkpoints").glob("step-*"))
    assert found == ["step-000000012", "step-000000024"]


def test_a_short_standard_run_draws_a_curve(store, tmp_path):
    words = ["offline", "--data", str(store), "--agent", "td3_bc", "--steps", "40", "--eval-episodes", "1"]
    assert dispatch([*words, "--batch-size", "8", "--out", str(tmp_path / "a")]) == 0
    assert len(read_csv(tmp_path / "a" / "metrics.csv")) == 20


def test_a_run_in_which_no_window_is_whole_is_refused_before_it_starts(store, tmp_path):
    longest = int(TrajectoryStore.open(store).table.length.max())
    options = {"agent.partial_chunks": "drop", "agent.chunk": 2}
    said = rf"none of 12 episodes holds the {longest + 1} steps .*longest has {longest}\).*partial_chunks=pad"
    with pytest.raises(ValueError, match=said):
        small_run(tmp_path / "a", store, "acfql", **options, **{"agent.horizon": longest + 1})
    some = small_run(tmp_path / "b", store, "acfql", **options, **{"agent.horizon": longest})
    assert some.agent.spec.n == longest
