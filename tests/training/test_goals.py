"""Goal-conditioned runs: two laws, one draw; exact resume; the five tasks; what is refused in a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from same_run import assert_same_run
from small_runs import reopened, settings, small_run, trained

from trajrl import Episode
from trajrl.agents.base.protocol import Batches
from trajrl.core.rng import stream
from trajrl.rollout.evaluate import evaluate
from trajrl.store.file.writer import StoreWriter
from trajrl.store.hindsight import draw_goals
from trajrl.training import build, loop
from trajrl.training.ope.select import kept_policies, rank
from trajrl.training.resolve_config import resolve_config
from trajrl.training.role_batches import batches_of
from trajrl.training.run_dir.csv_log import read_csv
from trajrl.training.run_dir.folder import new_folder
from trajrl.training.run_dir.load_run import load_run

MAZE = "ogbench:pointmaze-medium-v0"
HINDSIGHT = {"goals": "hindsight", "env.time_limit": 6, "eval_episodes": 7, "last_eval_episodes": 7}


def write_walks(path: Path, environment: str = MAZE, **changes) -> Path:
    """Record twelve random walks in the plane, which no maze bounds."""
    with StoreWriter(path, {"actions_scaled": True, "environment": environment}) as writer:
        for index in range(12):
            actions = stream(0, "walk", index).uniform(-1, 1, (30, 2)).astype(np.float32)
            places = np.concatenate([np.full((1, 2), float(index)), index + np.cumsum(actions, 0)])
            found = {"terminated": False, "source": f"s{index % 2}", **changes}
            writer.append(Episode(places, actions, np.zeros(30, np.float32), **found))
    return path


@pytest.fixture(scope="module")
def walks(tmp_path_factory) -> Path:
    return write_walks(tmp_path_factory.mktemp("walks") / "maze.h5")


@pytest.fixture(scope="module")
def ran(walks, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ran") / "run"
    trained(folder, walks, agent="iql", sampler="uniform", **HINDSIGHT)
    return folder


def test_one_draw_has_goals_of_both_laws(walks, tmp_path):
    run = small_run(tmp_path / "run", walks, agent="iql", sampler="uniform", **HINDSIGHT)
    drawn = loop.draw_next(run)
    batch = batches_of(run.store, drawn, slice(None), run.agent, run.sampler)
    assert isinstance(batch, Batches)
    assert torch.equal(batch.policy.obs[..., :2], batch.values.obs[..., :2])
    for role, name in (("values", "goal"), ("policy", "policy_goal")):
        goals = draw_goals(run.store, drawn.values, role, stream(0, name, 1))
        own = [run.store.episode(int(e)).obs[g] for e, g in zip(*goals)]
        assert np.array_equal(getattr(batch, role).obs[:, -1, 2:], own)
    assert set(drawn.policy_goals.episode - drawn.values.episode) == {0}
    assert batch.values.obs.shape[-1] == run.agent.obs_dim == 4


@pytest.mark.parametrize(("agent", "role"), [("bc_diffusion", "policy"), ("iql", "values")])
def test_an_agent_of_one_batch_has_the_goals_of_its_terms(walks, tmp_path, agent, role, monkeypatch):
    run = small_run(tmp_path / "run", walks, agent=agent, sampler="uniform", **HINDSIGHT)
    if role == "values":
        monkeypatch.setattr(type(run.agent), "roles", ())
    drawn = loop.draw_next(run)
    goals = draw_goals(run.store, drawn.values, role, stream(0, "goal", 1))
    assert np.array_equal(drawn.goals, goals)
    assert drawn.policy_goals is None


@pytest.mark.parametrize("agent", ["iql", "acfql", "trajectory_ql"])
def test_a_run_with_goals_resumes_exactly(walks, tmp_path, agent):
    quick = {**HINDSIGHT, "eval_every": 20, "goals.policy_ahead": 0.5}
    trained(tmp_path / "whole", walks, agent=agent, **quick)
    run = small_run(tmp_path / "parts", walks, agent=agent, **quick)
    for _ in range(9):
        loop.train_step(run)
        loop.after_step(run)
    run.logger.close()
    loop.offline(reopened(tmp_path / "parts"))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_every_fifth_episode_has_the_same_task(ran):
    run = load_run(ran)
    suite, agent = run.suite(), run.agent()
    goals: dict[int, np.ndarray] = {}

    def watch(episode: int, env) -> None:
        goals[episode] = np.asarray(env.unwrapped.cur_task_id)

    rows = evaluate(agent, suite, 0, 25, 7, 2, watch=watch)
    assert [row["task"] for row in rows] == [1, 2, 3, 4, 5, 1, 2]
    assert {n: int(task) for n, task in goals.items()} == {n: n % 5 + 1 for n in range(7)}
    last = read_csv(ran / "metrics.csv")[-1]
    assert {f"offline/eval/success_task{i}" for i in range(1, 6)} <= last.keys()


def test_an_episodes_goal_is_its_own_and_does_not_move():
    from trajrl.envs import make_suite

    env = make_suite(MAZE).make(0)
    first, info = env.reset(seed=3, options={"task_id": 2})
    assert np.array_equal(first[2:], np.float32(info["goal"]))
    assert not np.array_equal(first[2:], first[:2])
    seen = [env.step(np.ones(2))[0] for _ in range(5)]
    assert all(np.array_equal(one[2:], first[2:]) for one in seen)
    assert not np.array_equal(seen[-1][:2], first[:2])
    again, _ = env.reset(seed=3, options={"task_id": 2})
    assert np.array_equal(first, again)


def test_the_loaded_policy_takes_state_and_goal(ran):
    policy = load_run(ran).policy()
    assert policy.act(np.zeros((3, 4), np.float32)).shape == (3, 2)
    assert load_run(ran).sizes() == (4, 2)


def test_a_run_without_scores_of_the_data_has_none(ran):
    from trajrl.core.json_file import read_object

    found = read_object(ran / "summary.json")
    assert found["data"] == {"average_return": None, "average_score": None, "average_success": None}
    assert set(found["success_by_task"]) == set("12345")
    assert "offline/sampler/segment_return_mean" not in read_csv(ran / "metrics.csv")[-1]


def test_losses_and_values_rank_policies_and_fitted_values_say_that_they_do_not(ran):
    policies = kept_policies([ran])
    for by in ("td", "bc_loss", "q_start"):
        assert np.isfinite(rank(policies, by).estimates.value).all()
    with pytest.raises(
        ValueError, match=r"^this estimate follows one task to its end, and the run learned to"
    ):
        rank(policies, "fqe")


def test_held_out_episodes_are_measured_to_their_own_ends(walks, tmp_path):
    run = trained(tmp_path / "run", walks, agent="iql", sampler="uniform", holdout=0.25, **HINDSIGHT)
    late = run.validation.parts["late"]
    left = 30 - late.anchors.step
    gamma = run.config.agent_options["gamma"]
    np.testing.assert_allclose(late.returns, -(1 - gamma**left) / (1 - gamma), rtol=1e-5)


def test_data_that_ended_by_itself_is_refused_unless_the_task_was_solved(tmp_path):
    ended = write_walks(tmp_path / "ended.h5", terminated=True)
    with pytest.raises(
        ValueError, match=r"12 of 12 episodes of .*ended\.h5 ended by themselves without success"
    ):
        small_run(tmp_path / "a", ended, agent="iql", sampler="uniform", **HINDSIGHT)
    solved = write_walks(tmp_path / "solved.h5", terminated=True, success=True)
    assert small_run(tmp_path / "b", solved, agent="iql", sampler="uniform", **HINDSIGHT).store.goals


@pytest.mark.parametrize(("environment", "changes", "words"), [
    (MAZE, {}, "pointmaze-medium-v0 is goal-conditioned; take one of its tasks, such as ogbench:point"),
    ("ogbench:pointmaze-medium-navigate-singletask-v0", HINDSIGHT, "4 numbers; ogbench:pointmaze-medium-n"),
])  # fmt: skip
def test_an_environment_shows_goals_where_the_run_has_them(tmp_path, environment, changes, words):
    data = write_walks(tmp_path / "walks.h5", environment)
    with pytest.raises(ValueError, match=words):
        small_run(tmp_path / "run", data, agent="iql", sampler="uniform", **changes)


def test_any_environment_of_twice_the_numbers_may_show_goals(tmp_path):
    data = write_walks(tmp_path / "walks.h5", "toy:rooms")  # position, then the goal
    run = small_run(tmp_path / "run", data, agent="iql", sampler="uniform", goals="hindsight")
    assert run.suite.obs_dim == run.agent.obs_dim == 4


@pytest.mark.parametrize(("words", "said"), [
    (["goals=hindsigt"], "did you mean 'hindsight'"),
    (["goals=hindsight", "goals.values_her=1"], "did you mean 'values_here'"),
    (["goals=hindsight", "goals.values_here=0.9"], "are shares of one; got 0.9 and 0.5"),
    (["goals=hindsight", "reward=iql_antmaze"], "^goals=hindsight has rewards of its own, -1 until the goal"),
    (["goals=hindsight", "env.reward_shift=-1"], "leave --reward and reward_shift out$"),
    (["goals.values_here=0.5"], "^goals.values_here is of goals=hindsight, which was not asked for$"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_refused(words, said):
    with pytest.raises(ValueError, match=said):
        resolve_config({"agent": "iql"}, words)


def test_several_seeds_and_the_online_phase_are_refused(walks, ran, tmp_path):
    from trajrl.training.build_seeds import build_seeds
    from trajrl.training.resolve_online import online_config

    config = resolve_config({"agent": "iql", "data": str(walks)}, settings("iql", **HINDSIGHT))
    with pytest.raises(
        ValueError, match=r"^--seeds stacks windows, and goals=hindsight draws a goal for each"
    ):
        build_seeds([config], [tmp_path / "s0"])
    with pytest.raises(ValueError, match=r"^goals=hindsight is of the offline phase; online a single task"):
        online_config(ran, {}, ())


@pytest.mark.slow
def test_a_policy_learned_from_strolls_reaches_the_goal_that_it_is_shown(tmp_path):
    """The walker of toy:rooms meets the goal of its episode in one of six; its data here has no goals."""
    from trajrl.envs import make_suite

    walks = list(make_suite("toy:rooms").episodes())
    assert np.mean([walk.success for walk in walks]) < 0.2
    with StoreWriter(tmp_path / "rooms.h5", {"actions_scaled": True, "environment": "toy:rooms"}) as writer:
        for walk in walks:
            writer.append(
                Episode(walk.obs[:, :2], walk.actions, 0 * walk.rewards, walk.terminated, walk.success)
            )
    own = {"gamma": 0.95, "width": 64, "beta": 1, "actor_lr": 1e-3, "critic_lr": 1e-3, "decay": "none"}
    words = ["goals=hindsight", "goals.values_mean=20", "holdout=0", "eval_episodes=50"]
    words += [f"agent.{name}={value}" for name, value in own.items()]
    chosen = {"data": str(tmp_path / "rooms.h5"), "agent": "iql", "steps": 1500, "batch_size": 128}
    config = resolve_config({**chosen, "eval_every": 0}, words)
    run = build.build(config, new_folder(config, str(tmp_path / "run")))
    loop.offline(run)
    assert run.evaluations.entries[-1].success_mean > 0.6
