"""`select` ranks kept policies without an environment, and `--checkpoint selected` follows it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from small_runs import settings, trained, write_store

from trajrl.cli.main import dispatch
from trajrl.store.episode import Episode
from trajrl.store.file.writer import StoreWriter
from trajrl.store.normalize import statistics
from trajrl.training.ope.criteria import CRITERIA
from trajrl.training.ope.losses import bc_loss, td_error
from trajrl.training.ope.question import Kept, Question, judged_data
from trajrl.training.ope.select import kept_policies, rank, write
from trajrl.training.run_dir import folder
from trajrl.training.run_dir.load_run import load_run
from trajrl.training.run_dir.selection import NAME, read_selection

FAST = ("--updates", "5", "--members", "2", "--steps", "100")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("data") / "x.h5")


@pytest.fixture(scope="module")
def made(store, tmp_path_factory):
    """Return three runs: iql, trajectory_ql with chunks, history and a horizon, and a clone; all hold out."""
    out = tmp_path_factory.mktemp("runs")
    trained(out / "iql", store, agent="iql", holdout=0.25, **{"agent.history": 2, "agent.horizon": 3})
    trained(out / "chunks", store, agent="trajectory_ql", **{"agent.chunk": 2, "agent.horizon": 4})
    trained(out / "clone", store, agent="bc_diffusion", **{"agent.chunk": 2})
    while folder._locks:
        folder._locks.pop().close()
    return out


@pytest.fixture
def runs(made, tmp_path, monkeypatch):
    """Return a copy of them in the working folder."""
    shutil.copytree(made, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def selected(*words, capsys):
    assert dispatch(["select", *map(str, words), *FAST, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("by", sorted(CRITERIA))
def test_every_criterion_ranks_the_policies_of_a_run(by, runs, capsys):
    found = selected(runs / "iql", "--by", by, capsys=capsys)
    assert [row["step"] for row in found["policies"]] == [10, 20, 25]
    assert all(row["low"] <= row["value"] <= row["high"] for row in found["policies"])
    values = {row["step"]: row["value"] for row in found["policies"]}
    best = min if by in ("td", "bc_loss") else max
    assert values[found["step"]] == best(values.values())
    written = json.loads((runs / "iql" / NAME).read_text())
    assert (written["by"], written["step"]) == (by, found["step"])
    assert load_run(runs / "iql").step("selected") == found["step"]


@pytest.mark.parametrize("horizon", [0, 6])
def test_chunked_policies_and_runs_of_other_windows_are_ranked_together(horizon, runs, capsys):
    found = selected("runs", "--by", "fqe", "--horizon", horizon, capsys=capsys)
    assert len(found["policies"]) == 9
    assert len(found["selections"]) == 3
    assert sum(read_selection(runs / name)["first_of_its_runs"] for name in ("iql", "chunks", "clone")) == 1


def test_evaluate_export_and_summary_follow_the_selection(runs, capsys):
    run = runs / "iql"
    step = selected(run, "--by", "q_start", capsys=capsys)["step"]
    other = next(kept for kept in (10, 20, 25) if kept != step)
    changed = json.loads((run / NAME).read_text()) | {"step": other}
    (run / NAME).write_text(json.dumps(changed))
    assert dispatch(["evaluate", str(run), "--episodes", "1", "--checkpoint", "selected", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["step"] == other
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["selected_step"], summary["selected_by"]) == (step, "q_start")
    assert summary["scores"]["selected"]["step"] == step
    words = ["--format", "torch", "--windows", "2", "--checkpoint", "selected", "--out", "p.pt2", "--json"]
    assert dispatch(["export", str(run), *words]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["step"] == other


def test_without_a_selection_selected_is_what_it_was(runs):
    summary = json.loads((runs / "iql" / "summary.json").read_text())
    assert load_run(runs / "iql").step("selected") == summary["scores"]["selected"]["step"]


def test_runs_are_named_as_they_were_typed(runs, capsys):
    assert dispatch(["select", "runs/iql", "--by", "q_start", *FAST]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if str(runs) in line] == []
    assert any(line.startswith("selected: runs/iql at step ") for line in lines)


def test_losses_are_the_agent_s_own_and_leave_it_as_it_is(runs):
    policy = Kept(load_run(runs / "iql"), 25)
    judged, agent = judged_data(policy.run, Question(), shaped=True), policy.agent()
    before = {name: value.clone() for name, value in agent.actor.state_dict().items()}
    assert len(judged.held) == 3
    first = td_error(agent, judged.store, int(judged.held[0]), 0)
    assert first > 0
    assert np.isfinite(bc_loss(agent, judged.store, int(judged.held[0]), 0))
    assert all((value == before[name]).all() for name, value in agent.actor.state_dict().items())
    assert td_error(agent, judged.store, int(judged.held[0]), 0) == pytest.approx(first)


def test_rewards_are_the_environment_s_own_whatever_training_made_of_them(store, tmp_path):
    run = trained(tmp_path / "r", store, agent="td3_bc", reward="normalize")
    plain = judged_data(load_run(tmp_path / "r"), Question())
    shaped = judged_data(load_run(tmp_path / "r"), Question(), shaped=True)
    rewards = [
        judged.store.shape_reward(judged.store.rewards.take(np.arange(9))) for judged in (plain, shaped)
    ]
    moments = statistics(run.store)
    expected = (rewards[0] - moments["reward_mean"][0]) / moments["reward_std"][0]
    np.testing.assert_allclose(rewards[1], expected, atol=1e-4)


def test_a_selection_among_fewer_policies_is_noted(runs, capsys):
    run = runs / "iql"
    write(rank([p for p in kept_policies([run]) if p.step < 25], "score"))
    assert load_run(run).step("selected") in (10, 20)
    assert "was made without the policies of steps 25" in capsys.readouterr().out


def test_training_further_removes_a_selection(runs, capsys):
    selected(runs / "iql", "--by", "td", capsys=capsys)
    assert dispatch(["offline", "--resume", "--out", "runs/iql", "--steps", "30"]) == 0
    assert "was made among other policies and is removed" in capsys.readouterr().out
    assert not (runs / "iql" / NAME).exists()
    summary = json.loads((runs / "iql" / "summary.json").read_text())
    assert "selected_by" not in summary
    assert load_run(runs / "iql").step("selected") == summary["scores"]["selected"]["step"]


def test_a_finished_run_that_is_resumed_keeps_its_selection(runs):
    run = runs / "iql"
    first = rank(kept_policies([run]), "bc_loss").of(run)
    other = first._replace(estimates=replace(first.estimates, value=-first.estimates.value))
    write(other)  # another one than the training chooses
    before = json.loads((run / "summary.json").read_text())
    assert dispatch(["offline", "--resume", "--out", "runs/iql"]) == 0
    after = json.loads((run / "summary.json").read_text())
    for name in ("selected_step", "selected_by", "scores"):
        assert after[name] == before[name]
    assert after["scores"]["selected"]["step"] == read_selection(run)["step"]


def test_a_damaged_selection_does_not_stop_a_run(runs, capsys):
    (runs / "iql" / NAME).write_text("{")
    assert dispatch(["offline", "--resume", "--out", "runs/iql"]) == 0
    assert "and is removed; `select` makes a new one" in capsys.readouterr().out
    assert not (runs / "iql" / NAME).exists()


def test_losses_of_noise_and_of_actions_are_not_compared(runs, capsys):
    shutil.copytree(runs / "clone", runs / "sharper")
    config = json.loads((runs / "sharper/config.json").read_text())
    assert config["agent_options"].pop("predicts") == "noise"  # what a config without it means as well
    (runs / "sharper/config.json").write_text(json.dumps(config))
    words = ["select", *FAST[:4], "runs/clone", "runs/sharper", "--by", "bc_loss"]
    assert dispatch(words) == 0
    config["agent_options"]["predicts"] = "action"
    (runs / "sharper/config.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert dispatch(words) == 1
    assert "networks of noise and of actions are not on one scale" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "reason"), [
    (["runs/clone", "--by", "td"], "bc_diffusion has no TD error; select --by another criterion"),
    (["runs/clone", "--by", "q_start"], "bc_diffusion has no critic, so no Q at the start"),
    (["runs/clone", "--by", "wis"], "a policy of bc_diffusion has no likelihood"),
    (["runs/clone", "--by", "td", "--on", "held"], "has no held-out episodes: it learned from all"),
    (["runs/iql", "runs/clone", "--by", "bc_loss"], "bc_diffusion and iql are not on one scale"),
    (["runs/none"], "runs/none is not there"),
    (["runs/iql", "--gamma", "2"], "--gamma is between 0 and 1"),
    (["runs/iql", "--members", "0"], "--members must be at least 1"),
    (["runs/iql", "--by", "fqe", "--on", "held"], "--on held is of --by td and bc_loss"),
    (["runs/iql", "--by", "cautious_fqe", "--caution", "nan"], "--caution is a number of at least 0;"),
])  # fmt: skip
def test_mistakes_are_one_line(words, reason, runs, capsys):
    assert dispatch(["select", *FAST[:4], *words]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert reason in line
    assert not list(runs.glob(f"*/{NAME}"))


def test_runs_of_other_data_are_compared_on_data_that_is_named(runs, store, tmp_path, capsys):
    other = write_store(tmp_path / "y.h5", episodes=9)
    trained(tmp_path / "runs" / "other", other, agent="iql", **{"agent.history": 2})
    words = ["select", "runs/iql", "runs/other", *FAST]
    assert dispatch(words) == 1
    assert "learned from different data" in capsys.readouterr().err
    assert dispatch([*words, "--data", str(other)]) == 0


def test_data_of_other_sizes_is_one_line(runs, tmp_path, capsys):
    wide = [Episode(np.zeros((4, 5)), np.zeros((3, 2)), np.ones(3), True) for _ in range(2)]
    with StoreWriter(tmp_path / "wide.h5", {}) as writer:
        for episode in wide:
            writer.append(episode)
    for by in ("fqe", "td", "q_start"):
        assert dispatch(["select", "runs/iql", "--by", by, *FAST, "--data", "wide.h5"]) == 1
        line = capsys.readouterr().err.splitlines()[-1]
        assert "runs/iql acts on (obs, act) of (4, 2) numbers; wide.h5 has (5, 2)" in line


def test_data_that_moved_is_asked_for(made, store, tmp_path, capsys):
    run = shutil.copytree(made / "iql", tmp_path / "iql")
    config = json.loads((run / "config.json").read_text()) | {"data": "gone.h5"}
    (run / "config.json").write_text(json.dumps(config))
    assert dispatch(["select", str(run), "--by", "td"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "iql learned from gone.h5, which is not there" in said
    assert "--data" in said
    assert dispatch(["select", str(run), "--by", "td", "--data", str(store)]) == 0


def test_a_run_without_an_environment_has_no_scores_and_is_selected_by_value(store, tmp_path, capsys):
    words = [
        "--data",
        str(store),
        "--env",
        "none",
        "--agent",
        "td3_bc",
        "--out",
        str(tmp_path / "r"),
        "--steps",
        "20",
        "--select-by",
        "td",
    ]
    assert dispatch(["offline", *words, "--set", *settings("td3_bc", batch_size=8)]) == 0
    step = read_selection(tmp_path / "r")["step"]
    assert f"selected by td: step {step}" in capsys.readouterr().out
    assert dispatch(["select", str(tmp_path / "r"), "--by", "score"]) == 1
    assert "trained without an environment; select --by fqe needs none" in capsys.readouterr().err
    found = selected(tmp_path / "r", capsys=capsys)
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["selected_step"] == found["step"] == load_run(tmp_path / "r").step("selected")


@pytest.mark.parametrize(
    "content", ["{", '{"by": "fqe"}', '{"by": "fqe", "step": 10, "policies": []}', "[1]"]
)
def test_a_damaged_selection_is_one_line(content, runs, capsys):
    (runs / "iql" / NAME).write_text(content)
    assert dispatch(["export", str(runs / "iql"), "--checkpoint", "selected"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert NAME in line
    assert line.endswith("; `select` writes it anew")


def test_a_kept_policy_without_its_files_says_what_to_do(runs, capsys):
    for path in (runs / "iql/checkpoints/policy-000000010").iterdir():
        path.unlink()
    assert dispatch(["select", "runs/iql", "--by", "q_start"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith("; take another kept policy, or remove its folder to do without it")


def test_one_network_separates_no_policies(runs, capsys):
    words = ["runs/iql", "--by", "fqe", *FAST, "--members", "1"]
    assert dispatch(["select", *words]) == 0
    said = capsys.readouterr().out
    assert "one network for each policy (--members 1) shows no doubt of its own" in said
    assert "every other one is worse" not in said
    assert all(row["tied"] for row in read_selection(runs / "iql")["policies"])


@pytest.mark.parametrize("by", ["fqe", "cautious_fqe", "wis", "doubly_robust"])
@pytest.mark.parametrize(("reward", "terminated"), [(0.0, True), (1.0, False)])
def test_rewards_that_tell_nothing_apart_are_refused(reward, terminated, by, runs, tmp_path, capsys):
    with StoreWriter(tmp_path / "flat.h5", {}) as writer:
        for steps in (3, 4):
            writer.append(
                Episode(np.zeros((steps + 1, 4)), np.zeros((steps, 2)), np.full(steps, reward), terminated)
            )
    assert dispatch(["select", "runs/iql", "--by", by, *FAST, "--data", "flat.h5"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"all rewards of flat.h5 are {reward:g}" in line
    assert "select --by bc_loss needs no rewards" in line
    assert not (runs / "iql" / NAME).exists()


def test_rewards_of_one_size_tell_policies_apart_where_episodes_end(runs, tmp_path, capsys):
    with StoreWriter(tmp_path / "alive.h5", {}) as writer:
        for steps in (5, 9):
            writer.append(Episode(np.zeros((steps + 1, 4)), np.zeros((steps, 2)), np.ones(steps), steps < 9))
    found = selected("runs/iql", "--by", "fqe", "--data", "alive.h5", capsys=capsys)
    assert read_selection(runs / "iql")["by"] == "fqe"
    assert len({row["value"] for row in found["policies"]}) == len(found["policies"])


@pytest.mark.parametrize(("by", "stops"), [("td", True), ("q_start", False)])
def test_a_run_stops_early_and_selects_by_any_criterion(by, stops, store, tmp_path, monkeypatch):
    import trajrl.training.ope.losses as losses

    measured = iter(range(99))  # a TD error that rises, whatever the agent does
    monkeypatch.setattr(losses, "td_error", lambda *_: 1 + next(measured) // 3)
    changes = {"agent.history": 2, "eval_every": 5, "holdout": 0.25}
    tolerance = 0.5 if by == "td" else 1e6
    run = trained(
        tmp_path / "r", store, agent="iql", early_stop=tolerance, early_stop_by=by, select_by=by, **changes
    )
    assert (run.step == 10) == stops
    assert (f"{by} went from 1 to 2, worse by more than 0.5, at step 10" in run.stop_reason) == stops
    assert read_selection(tmp_path / "r")["by"] == by


def test_a_criterion_that_there_is_not_is_refused_before_anything_is_made(store, tmp_path, capsys):
    words = ["offline", "--data", str(store), "--out", str(tmp_path / "r"), "--select-by", "fqr"]
    assert dispatch(words) == 1
    assert "no value of select_by 'fqr'; did you mean 'fqe'?" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("agent", "words", "what"),
    [("td3_bc", ["--select-by", "wis"], "the likelihood of a Gaussian policy"),
     ("td3_bc", ["--early-stop", "1", "--early-stop-by", "doubly_robust"], "likelihood of a Gaussian"),
     ("iql", ["--early-stop", "1", "--early-stop-by", "score"], "--early-stop-by score needs an environment"),
     ("bc_diffusion", ["--select-by", "td"], "a critic"), ("iql", ["--select-by", "score"], "an environment"),
     ("sac", ["--select-by", "bc_loss"], "a behaviour-cloning loss")],
)  # fmt: skip
def test_what_a_run_will_not_have_is_refused_before_it_trains(agent, words, what, store, tmp_path, capsys):
    out = ["--out", str(tmp_path / "r"), "--env", "none"]
    assert dispatch(["offline", "--data", str(store), "--agent", agent, *out, *words]) == 1
    assert what in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_an_agent_that_clones_nothing_stops_early_by_another_criterion():
    from trajrl.training.resolve_config import resolve_config

    asked = {"agent": "sac", "early_stop": 0.1, "early_stop_by": "td", "data": "x.h5"}
    assert resolve_config(asked).early_stop_by == "td"


def test_a_value_is_compared_with_returns_that_are_known_alone():
    from episodes import counting

    from trajrl.store.store import TrajectoryStore
    from trajrl.training.ope.start_values import Problem
    from trajrl.training.ope.values import against_returns

    data, seen = np.array([[2.0, 9.0, 4.0], [99.0, 9.0, 4.0]]), np.array([[0, 0, 0], [1, 0, 0]], bool)
    store = TrajectoryStore.of([counting(1, True), counting(3, False), counting(2, True)])
    said = against_returns(Problem(store, np.arange(3), 1.0), data, seen)
    assert "2 episodes by networks that did not learn from them" in said  # not the one that was cut
    assert "value 3, discounted return 1.5" in said  # 2 and 4; 99 is of a network that saw its episode
    assert "(100% off)" in said
    seen[:, 0] = True
    assert "1 episodes" in against_returns(Problem(store, np.arange(3), 1.0), data, seen)
    all_seen = against_returns(Problem(store, np.arange(3), 1.0), data, np.ones_like(seen))
    assert all_seen.endswith("every network learned from all")
    cut = TrajectoryStore.of([counting(3, False)] * 3)
    assert "cut too early" in against_returns(Problem(cut, np.arange(3), 1.0), data, ~np.ones_like(seen))
