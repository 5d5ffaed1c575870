"""Recipes, ladders and mixtures of `collect`; what was broken off continues; references; a real replay."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trajrl import TrajectoryStore, make_suite
from trajrl.cli.collect import command
from trajrl.cli.collect.recipes import RECIPES, of_recipe
from trajrl.cli.main import dispatch

ROOT = Path(__file__).parents[2]
TINY = (
    "agent.width=8", "batch_size=8", "eval_episodes=1", "eval_every=40", "log_every=20",
    "checkpoint_every=15",
)  # fmt: skip


def run(capsys, out, *words, **options):
    """Collect at toy:point, and return the exit code, the answer and the last line of what was said."""
    chosen = {"out": out, "env": "toy:point", "steps": 90, **options}
    argv = [text for name, value in chosen.items() for text in (f"--{name}", str(value))]
    code = dispatch(["collect", *argv, *words, "--json"])
    printed = capsys.readouterr()
    answer = json.loads(printed.out.splitlines()[-1]) if code == 0 else None
    return code, answer, (printed.err.splitlines() or [""])[-1]


@pytest.fixture
def policies(tmp_path):
    """Write two policy files for toy:point: one that always pushes right, one that always pushes left."""
    folder = tmp_path / "policies"
    folder.mkdir()
    for level, push in (("medium", -1.0), ("expert", 1.0)):
        zero = {"w0": np.zeros((4, 4)), "b0": np.zeros(4), "w1": np.zeros((4, 4)), "b1": np.zeros(4)}
        np.savez(folder / f"point-{level}.npz", **zero, w_mean=np.zeros((2, 4)), b_mean=np.full(2, push))
    return folder


@pytest.mark.parametrize("recipe", [name for name, parts in RECIPES.items() if parts])
def test_recipes_have_their_shares(capsys, tmp_path, policies, recipe):
    code, _, said = run(capsys, tmp_path / "x.h5", recipe=recipe, policies=policies, steps=240)
    assert code == 0, said
    table = TrajectoryStore.open(tmp_path / "x.h5").table
    for source, share in RECIPES[recipe].items():
        steps = int(table.length[table.source == source].sum())
        assert 240 * share <= steps < 240 * share + 30
    assert set(table.source) == set(RECIPES[recipe])
    assert not (tmp_path / "x.h5.collecting").exists()


def test_a_recipe_alone_is_made_in_the_demos_environment(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dispatch(["collect", "--recipe", "skewed", "--steps", "60"]) == 0
    store = TrajectoryStore.open("hopper-skewed.h5")
    assert store.attributes["environment"] == "Hopper-v4"
    assert dispatch(["collect", "--recipe", "skewed", "--steps", "60"]) == 1
    assert "hopper-skewed.h5" in capsys.readouterr().err  # a second one does not replace it


@pytest.mark.parametrize("words", [["--env", "toy:point"], ["--out", "x.h5"], []])
def test_a_policy_needs_an_environment_and_a_file(capsys, words):
    assert dispatch(["collect", "--policy", "random", *words]) == 2
    assert "--policy needs --env and --out" in capsys.readouterr().err


def test_the_shipped_policies_are_what_recipes_find():
    assert [Path(part.policy).name for part in of_recipe("skewed", "Hopper-v4")] == [
        "hopper-expert.npz", "hopper-medium.npz",
    ]  # fmt: skip
    assert Path(of_recipe("medium", "d4rl:hopper-medium-v2")[0].policy).exists()
    with pytest.raises(FileNotFoundError, match="ant-medium"):
        of_recipe("medium", "Ant-v5")


def test_a_ladder_has_equal_rungs(capsys, tmp_path, policies):
    expert = policies / "point-expert.npz"
    run(capsys, tmp_path / "x.h5", "--noise", "0", "0.2", "0.8", policy=expert, steps=180)
    store = TrajectoryStore.open(tmp_path / "x.h5")
    table, spread = store.table, []
    for rung in ("0", "0.2", "0.8"):
        mine = [store.episode(e).actions for e in np.flatnonzero(table.source == f"point-expert+{rung}")]
        assert sum(map(len, mine)) >= 60
        spread.append(np.concatenate(mine).std())
    assert spread[0] < 1e-6 < spread[1] < spread[2]


def test_a_recipe_under_a_ladder_has_every_policy_on_every_rung(capsys, tmp_path, policies):
    words = ("--noise", "0", "0.4")
    run(capsys, tmp_path / "x.h5", *words, recipe="skewed", policies=policies, steps=240)
    table = TrajectoryStore.open(tmp_path / "x.h5").table
    for source, share in {
        "expert+0": 0.125,
        "expert+0.4": 0.125,
        "medium+0": 0.375,
        "medium+0.4": 0.375,
    }.items():
        assert 240 * share <= int(table.length[table.source == source].sum()) < 240 * share + 30


def test_epsilon_mixes_uniform_actions_into_an_oracle(capsys, tmp_path):
    at_the_edge = []  # where the script's own noise is cut off; uniform actions never come to lie there
    for epsilon in (0, 0.5, 1):
        path = tmp_path / f"{epsilon}.h5"
        run(capsys, path, env="toy:rooms", policy="oracle", steps=500, epsilon=epsilon)
        actions = TrajectoryStore.open(path).actions.slice(0, 500)
        at_the_edge.append((np.abs(actions) == 1).mean())
    assert at_the_edge[0] > 0.1
    assert 0 == at_the_edge[2] < at_the_edge[1] < at_the_edge[0]


@pytest.mark.parametrize(("epsilon", "least", "most"), [(0, 0, 0), (0.5, 0.3, 0.7), (1, 1, 1)])
def test_epsilon_is_the_share_of_uniform_actions(capsys, tmp_path, policies, epsilon, least, most):
    expert = policies / "point-expert.npz"
    run(capsys, tmp_path / "x.h5", policy=expert, epsilon=epsilon, steps=200)
    actions = TrajectoryStore.open(tmp_path / "x.h5").actions.slice(0, 200)
    assert least <= (np.abs(actions - np.tanh(1)) > 1e-6).any(1).mean() <= most


@pytest.mark.parametrize("how", [{"policy": "random"}, {"policy": "oracle", "env": "toy:rooms"}])
def test_what_was_broken_off_continues_to_the_same_data(capsys, tmp_path, monkeypatch, how):
    run(capsys, tmp_path / "whole.h5", "--noise", "0", "0.3", steps=300, **how)
    whole = command.up_to

    def broken(episodes, steps):
        for count, episode in enumerate(whole(episodes, steps)):
            if count == 2:
                raise KeyboardInterrupt
            yield episode

    monkeypatch.setattr(command, "up_to", broken)
    words = ("--noise", "0", "0.3")
    assert run(capsys, tmp_path / "x.h5", *words, steps=300, **how)[0] == 130
    monkeypatch.setattr(command, "up_to", whole)
    assert not (tmp_path / "x.h5").exists()
    assert "--resume continues" in run(capsys, tmp_path / "x.h5", *words, steps=300, **how)[2]
    wrong = run(capsys, tmp_path / "x.h5", *words, "--resume", steps=300, seed=1, **how)[2]
    assert "was begun with another seed (0)" in wrong
    assert run(capsys, tmp_path / "x.h5", *words, "--resume", steps=300, **how)[0] == 0
    prints = {TrajectoryStore.open(tmp_path / f"{name}.h5").fingerprint for name in ("x", "whole")}
    assert len(prints) == 1
    assert not (tmp_path / "x.h5.collecting").exists()


@pytest.mark.parametrize("how", [{"policy": "random"}, {"recipe": "medium-replay"}])
def test_resume_begins_no_collection_where_there_is_none(capsys, tmp_path, how):
    (tmp_path / "hopper.h5.collecting").mkdir()
    (tmp_path / "hopper.h5.collecting" / "collect.json").write_text("{}")
    code, _, said = run(capsys, tmp_path / "hoper.h5", "--resume", **how)
    assert code == 1
    assert f"hoper.h5 has no collection to resume: did you mean {tmp_path / 'hopper.h5'}?" in said
    code, _, said = run(capsys, tmp_path / "x" / "y.h5", "--resume", **how)
    assert (code, "there is nothing in" in said) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["hopper.h5.collecting"]


def test_resume_or_start_begins_and_resume_of_a_written_store_says_so(capsys, tmp_path):
    (tmp_path / "x.h5.collecting").mkdir()  # as after a kill in the first moments
    assert run(capsys, tmp_path / "x.h5", "--resume-or-start", policy="random")[0] == 0
    code, _, said = run(capsys, tmp_path / "x.h5", "--resume", policy="random")
    assert (code, "no collection to resume: the store is written" in said) == (1, True)


def test_resume_with_overwrite_keeps_what_was_collected_and_replaces_the_store(capsys, tmp_path, monkeypatch):
    run(capsys, tmp_path / "x.h5", policy="random", steps=100)
    whole = command.up_to
    with_it = {"policy": "random", "steps": 200, "seed": 1}
    monkeypatch.setattr(command, "up_to", first_only)
    assert run(capsys, tmp_path / "x.h5", "--overwrite", **with_it)[0] == 130
    monkeypatch.setattr(command, "up_to", whole)
    monkeypatch.setattr(command, "remove", None)  # nothing may be removed
    code, found, said = run(capsys, tmp_path / "x.h5", "--overwrite", "--resume", **with_it)
    assert code == 0, said
    assert found["transitions"] >= 200


def first_only(episodes, steps):
    yield next(episodes)
    raise KeyboardInterrupt


def test_the_maze_recipe_needs_no_env_and_its_store_names_the_task(capsys, tmp_path, monkeypatch):
    pytest.importorskip("ogbench", reason="the extra 'ogbench' is not installed")
    words = ["collect", "--recipe", "pointmaze-play", "--steps", "1500", "--out", str(tmp_path / "m.h5")]
    assert dispatch([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    store = TrajectoryStore.open(tmp_path / "m.h5")
    assert answer["environment"] == store.attributes["environment"]
    assert answer["environment"] == "ogbench:pointmaze-medium-navigate-singletask-v0"
    assert (answer["transitions"], answer["truncated"], answer["terminated"]) == (2000, 2, 0)
    assert set(np.unique(store.rewards.slice(0, 2000))) <= {-1.0, 0.0}
    assert store.attributes["provenance"]["parts"][0]["noise"] == 0.5
    other = [*words[:3], "--env", "Hopper-v4", "--out", str(tmp_path / "h.h5")]
    for wrong, said in (
        (other, "the recipe pointmaze-play is for ogbench:pointmaze-"),
        ([*words, "--overwrite", "--set", "env.time_limit=9"], "acts in its environment as it is"),
    ):
        assert dispatch(wrong) != 0
        assert said in capsys.readouterr().err


def test_a_replay_is_all_that_the_agent_met_and_resumes(capsys, tmp_path, monkeypatch):
    code, found, said = run(capsys, tmp_path / "x.h5", "--set", *TINY, recipe="medium-replay", steps=120)
    assert code == 0, said
    store = TrajectoryStore.open(tmp_path / "x.h5")
    assert store.table.source[0] == "start"
    assert store.table.source[-1] == "sac"
    assert 80 < store.num_steps <= 150
    assert found["updates"] > 60
    rows = (Path(found["run"]) / "evals.csv").read_text().splitlines()[1:]
    returns = {int(row.split(",")[0]): float(row.split(",")[3]) for row in rows}
    assert len(returns) == 4
    assert found["best"] == returns[found["best_step"]] == max(returns.values())
    assert found["reached"] == returns[max(returns)]
    (tmp_path / "x.h5").rename(tmp_path / "moved.h5")
    assert "x.h5.run holds the run" in run(capsys, tmp_path / "x.h5", recipe="medium-replay", steps=120)[2]

    from trajrl.training import loop

    whole, calls = loop.online_step, []

    def broken(run):
        calls.append(1)
        if len(calls) == 50:
            raise RuntimeError("the power is gone")
        whole(run)

    monkeypatch.setattr(loop, "online_step", broken)
    words = ("--set", *TINY)
    assert run(capsys, tmp_path / "y.h5", *words, recipe="medium-replay", steps=120)[0] == 1
    monkeypatch.setattr(loop, "online_step", whole)
    from trajrl.training.run_dir.folder import _locks

    _locks.pop().close()  # what the end of that process would have done
    assert "--resume continues" in run(capsys, tmp_path / "y.h5", recipe="medium-replay", steps=120)[2]
    other = {"recipe": "medium-replay", "steps": 90, "seed": 1}
    said = run(capsys, tmp_path / "y.h5", *words, "--resume", **other)[2]
    assert "was begun with another seed, steps (0)" in said
    code, _, said = run(capsys, tmp_path / "y.h5", *words, "--resume", recipe="medium-replay", steps=120)
    assert code == 0, said
    assert TrajectoryStore.open(tmp_path / "y.h5").fingerprint == store.fingerprint


def test_references_are_measured_and_used(capsys, tmp_path, policies, monkeypatch):
    words = {"policy": policies / "point-expert.npz", "env": "sample_envs:uneven"}
    refused = run(capsys, tmp_path / "r.json", "--reference", episodes=3, **words)
    assert "acts on (obs, act)" in refused[2]
    name = "sample_envs:pushed"
    zero = {"w0": np.zeros((4, 2)), "b0": np.zeros(4), "w1": np.zeros((4, 4)), "b1": np.zeros(4)}
    np.savez(tmp_path / "right.npz", **zero, w_mean=np.zeros((1, 4)), b_mean=np.ones(1))
    np.savez(tmp_path / "left.npz", **zero, w_mean=np.zeros((1, 4)), b_mean=-np.ones(1))
    assert make_suite(name).score(1.0) == (None, "none")
    bad = run(capsys, tmp_path / "r.json", "--reference", env=name, policy=tmp_path / "left.npz")
    assert "it is no expert" in bad[2]
    code, found, _ = run(
        capsys, tmp_path / "r.json", "--reference", env=name, policy=tmp_path / "right.npz", episodes=5
    )
    assert code == 0
    assert found["expert"]["return_mean"] == pytest.approx(5 * np.tanh(1), abs=1e-5)
    monkeypatch.setenv("TRAJRL_REFERENCES", str(tmp_path / "r.json"))
    assert make_suite(name).score(found["expert"]["return_mean"]).value == pytest.approx(100)
    assert make_suite(name).score(found["random"]["return_mean"]).value == pytest.approx(0)
    assert make_suite(name).score(1.0).name == f"{name} (random and expert of r.json)"


@pytest.mark.parametrize("text", ["[]", "none", '{"a": 1}', '{"environments": {"Hopper-v4": 3}}', "\x89"])
def test_what_is_no_file_of_references_is_told_before_anything_is_measured(
    capsys, tmp_path, policies, monkeypatch, text
):
    (tmp_path / "r.json").write_text(text, "latin-1")
    monkeypatch.setattr("trajrl.cli.collect.references.returns", None)
    words = {"policy": policies / "point-expert.npz", "env": "toy:point"}
    assert "is no file of collect --reference" in run(capsys, tmp_path / "r.json", "--reference", **words)[2]
    monkeypatch.setenv("TRAJRL_REFERENCES", str(tmp_path / "r.json"))
    with pytest.raises(ValueError, match="is no file of collect --reference"):
        make_suite("Hopper-v4").score(1.0)
