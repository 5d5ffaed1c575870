"""What is measured on held-out episodes: the agent's own losses and values, without a trace in training."""

import json
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from same_run import assert_same_run, same_tree
from small_runs import reopened, small_run, trained, write_store

from trajrl.agents import AGENTS
from trajrl.core.rng import torch_stream
from trajrl.store.episode import Episode
from trajrl.store.gather import gather
from trajrl.store.store import TrajectoryStore
from trajrl.training import loop
from trajrl.training.held_out_windows import MOST, THIRDS, TRAINING, fixed_windows
from trajrl.training.run_dir.csv_log import read_csv
from trajrl.training.validation import Rows, figures, metrics, spearman

FIGURES = ("bc_loss", "log_likelihood", "td_abs", "q_bias", "q_rmse", "q_spearman")
LIKELY = {  # agents with a diffusion policy or a Gaussian one
    *("bc_diffusion", "diffusion_ql", "edp", "eg_ood", "qg", "stratified_ql", "trajectory_ql"),
    *("awac", "cal_ql", "cql", "iql", "rlpd", "sac"),
}
HELD = {"holdout": 0.25, "sampler": "uniform"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("data") / "x.h5")


def counted(lengths, terminated=True):
    """Return a store in which every reward is 1."""
    return TrajectoryStore.of(
        Episode(np.zeros((t + 1, 1)), np.zeros((t, 1)), np.ones(t), terminated) for t in lengths
    )


def test_every_held_out_step_is_in_its_third_and_training_windows_are_of_the_others():
    store, held = counted([1, 2, 3, 7, 30, 100]), np.array([0, 1, 3, 4])
    store.evict(held)
    parts = fixed_windows(store, held, seed=0, gamma=0.9)
    seen = []
    for name, (anchors, _) in parts.items():
        length = store.table.length[anchors.episode]
        assert ((anchors.step >= 0) & (anchors.step < length)).all()
        if name == TRAINING:
            assert set(anchors.episode) == {2, 5}
            continue
        assert (3 * anchors.step // length == THIRDS.index(name)).all()
        seen += zip(anchors.episode.tolist(), anchors.step.tolist())
    assert sorted(seen) == [(e, t) for e, size in zip(held, [1, 2, 7, 30]) for t in range(size)]


def test_the_windows_are_bounded_and_always_the_same():
    store, held = counted([500] * 20), np.arange(10)
    store.evict(held)
    one, other = (fixed_windows(store, held, seed=3, gamma=0.9) for _ in range(2))
    for name, (anchors, _) in one.items():
        assert len(anchors.step) == MOST
        assert len(set(zip(anchors.episode, anchors.step))) == MOST
        assert np.array_equal(anchors.step, other[name].anchors.step)
    assert sum(len(part.returns) for part in one.values()) == 4096


def test_episodes_that_arrive_online_change_no_window():
    store, held = counted([9] * 6), np.array([1, 4])
    store.evict(held)
    before = fixed_windows(store, held, seed=0, gamma=0.9)
    store.append(Episode(np.zeros((8, 1)), np.zeros((7, 1)), np.ones(7), True), "online")
    after = fixed_windows(store, held, seed=0, gamma=0.9)
    assert all(same_tree(list(before[name].anchors), list(after[name].anchors)) for name in before)


def test_returns_are_those_that_followed_and_unknown_where_a_recording_was_cut():
    for terminated in (True, False):
        store = counted([10, 10], terminated)
        anchors, returns = fixed_windows(store, np.array([0]), seed=0, gamma=0.5)["early"]
        left = 10 - anchors.step
        assert np.allclose(returns, 2 * (1 - 0.5**left))  # 0.5^6 is below 5 %: known even where it was cut
        late = fixed_windows(store, np.array([0]), seed=0, gamma=0.5)["late"].returns
        assert np.isnan(late).all() != terminated


def test_figures_of_known_numbers():
    g = np.array([1.0, 2.0, 3.0, np.nan])
    losses, nats, td_error = np.array([0.5, 0.5, 1.0, 2.0]), np.array([-1.0, np.nan, 0.0, 0.0]), g + 0.5
    found = figures(Rows(losses, nats, td_error, g + 2, g))
    assert found.pop("log_likelihood") == pytest.approx(-1 / 3)
    assert found == {"bc_loss": 1.0, "td_abs": 2.5, "q_bias": 2.0, "q_rmse": 2.0, "q_spearman": 1.0}
    none = np.full(2, np.nan)
    assert metrics({"early": Rows(np.ones(2), none, none, none, none)}) == {
        "bc_loss": 1.0,
        "early/bc_loss": 1.0,
    }


def test_rank_correlation_is_that_of_pandas():
    import pandas as pd

    rng = np.random.default_rng(0)
    left, right = rng.integers(5, size=50).astype(float), rng.normal(size=50)
    assert spearman(left, right) == pytest.approx(pd.Series(left).corr(pd.Series(right), method="spearman"))
    assert np.isnan(spearman(np.ones(5), right[:5]))


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_is_measured_and_stays_what_it_was(name, store, tmp_path):
    own = {"agent.diffusion_steps": 30, "agent.solver_steps": 4} if name == "edp" else {}
    run = small_run(tmp_path / "a", store, agent=name, **HELD, **own)
    loop.train_step(run)
    before = deepcopy(run.agent.state_dict())
    first = run.validation(run.agent, 1)
    assert same_tree(run.agent.state_dict(), before)
    assert run.validation(run.agent, 2) == first
    logged = run.logger.means()
    assert ("bc_loss" in first) == ("actor/bc_loss" in logged)
    assert ("td_abs" in first) == ("q_rmse" in first) == ("critic/td_abs" in logged)
    for key in first:
        assert key.split("/")[-1] in FIGURES
    assert ("log_likelihood" in first) == (name in LIKELY)
    for key in FIGURES[: 5 if "td_abs" in first else 2]:
        kinds = [f"{part}/{key}" in first for part in (*THIRDS, TRAINING)]
        assert all(kinds) == any(kinds) == (key in first)


@pytest.mark.parametrize(
    ("name", "changes"),
    [("bc_diffusion", {"agent.chunk": 3, "agent.history": 2}), ("trajectory_ql", {"agent.chunk": 2})],
)
def test_the_cloning_loss_is_the_term_that_the_agent_trains(name, changes, store, tmp_path):
    run = small_run(tmp_path / "a", store, agent=name, **HELD, **changes)
    loop.train_step(run)
    found = run.validation(run.agent, 1)
    for place, part in enumerate(THIRDS):
        batch = gather(run.store, run.validation.parts[part].anchors, run.agent.spec)
        assert len(batch.steps) <= 256  # one block
        noise = run.agent.draw(batch, torch_stream(run.config.seed, "validation", place, 0))
        _, named = run.agent.actor_loss(batch, noise)
        assert found[f"{part}/bc_loss"] == pytest.approx(float(named["actor/bc_loss"].detach()), rel=1e-6)


def test_the_td_error_is_the_distance_to_the_agents_target(store, tmp_path):
    changes = {"agent.history": 1, "agent.horizon": 3, "agent.target_noise": 0.0}
    run = small_run(tmp_path / "a", store, agent="td3_bc", **HELD, **changes)
    loop.train_step(run)
    found, agent = run.validation(run.agent, 1), run.agent
    batch = gather(run.store, run.validation.parts["late"].anchors, agent.spec)
    with torch.no_grad():
        q = agent.critic.head(agent.normaliser(batch.obs[:, -1]), batch.actions[:, 0])
        ahead = agent.normaliser(batch.next_obs[:, -1])
        value = agent.target.head(ahead, agent.target_actor.head(ahead).tanh()).min(0).values
        y = (batch.rewards * agent.config.gamma ** torch.arange(3)).sum(1)
        y = y + agent.config.gamma**batch.steps * ~batch.terminated * value
    assert batch.steps.min() < 3  # horizons that the end cuts are among them
    assert found["late/td_abs"] == pytest.approx(float((q - y).abs().mean()), rel=1e-5)


def test_a_policy_that_moves_every_few_updates_is_measured_at_any(store, tmp_path):
    run = small_run(tmp_path / "a", store, agent="td3_bc", **HELD, **{"agent.policy_delay": 5})
    for _ in range(3):
        loop.train_step(run)
        assert "bc_loss" in run.validation(run.agent, run.step)


def test_fewer_windows_than_an_update_takes_at_once_are_left_out(store, tmp_path):
    run = small_run(tmp_path / "a", store, agent="rlpd", batch_size=2, **HELD, **{"agent.utd": 64})
    found = run.validation(run.agent, 0)
    assert all(len(run.validation.parts[third].returns) < 64 for third in THIRDS)
    assert "td_abs" not in found
    assert "q_rmse" in found
    assert "training/td_abs" in found


def test_evaluating_more_often_changes_no_weight(store, tmp_path):
    often = trained(tmp_path / "often", store, agent="td3_bc", eval_every=5, **HELD)
    seldom = trained(tmp_path / "seldom", store, agent="td3_bc", eval_every=0, **HELD)
    assert same_tree(often.agent.state_dict(), seldom.agent.state_dict())


def test_a_resumed_run_measures_the_same(store, tmp_path):
    whole = trained(tmp_path / "a", store, agent="td3_bc", **HELD)
    part = small_run(tmp_path / "b", store, agent="td3_bc", **HELD)
    for _ in range(16):  # past the first evaluation and a checkpoint
        loop.train_step(part)
        loop.after_step(part)
    loop.offline(reopened(tmp_path / "b"))
    assert whole.validation.latest[1]
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_without_an_environment_the_rows_hold_what_was_measured(tmp_path):
    bare = write_store(tmp_path / "bare.h5", recorded_in="")
    run = trained(tmp_path / "a", bare, agent="td3_bc", **HELD)
    rows = {int(row["step"]): row for row in read_csv(tmp_path / "a" / "metrics.csv")}
    for step in (10, 20, 25):
        for name in ("bc_loss", "td_abs", "q_rmse", "late/q_bias", "training/bc_loss"):
            assert np.isfinite(float(rows[step][f"offline/validation/{name}"]))
    assert rows[5]["offline/validation/bc_loss"] == ""
    held = json.loads((tmp_path / "a" / "summary.json").read_text())["holdout"]
    assert (held["share"], held["episodes"], held["of"]) == (0.25, 3, 12)
    assert held["steps"] == int(run.store.table.length[run.held_out].sum())


def test_an_agent_of_ones_own_that_counts_no_updates_is_measured(store, tmp_path):
    from trajrl.training.validation import numbered

    assert numbered({"net": 1}, 7) == {"net": 1}
    run = small_run(tmp_path / "a", store, agent="td3_bc", **HELD)
    run.validation(run.agent, 0)
    run.validation.copy = SimpleNamespace(updates_per_batch=1)
    assert run.validation.cloning_update({"net": 1}) == 0
