"""Inside a run: clouds, the Q-function and its calibration, against answers known beforehand."""

import numpy as np
import pytest
import torch

from trajrl.report.charts import calibration, qfunction, space
from trajrl.report.runs import rundata
from trajrl.samplers import make_sampler
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore
from trajrl.store.window import WindowSpec
from trajrl.training.run_dir import checkpoint


class Valley:
    """An agent whose Q is - sum (a - s)^2 over the first action, s the first number of the observation."""

    spec = WindowSpec(history=2, chunk=2, horizon=3)
    device = torch.device("cpu")

    def value(self, history, actions):
        return -(actions[:, 0] - history.obs[:, -1, :1]).square().sum(-1)

    def act(self, history, rng, explore):
        noise = torch.stack([torch.rand(2, 2, generator=row) for row in rng])
        return (history.obs[:, -1, :1, None] + 0.01 * noise).clamp(-1, 1)


def make_store(lengths=(20, 30, 40), terminated=True, reward=1.0) -> TrajectoryStore:
    """Episodes whose observations hold 0.1 times the number of the episode, and the step."""
    episodes = []
    for number, length in enumerate(lengths):
        obs = np.stack([np.full(length + 1, 0.1 * number), np.arange(length + 1.0)], 1).astype(np.float32)
        actions = np.full((length, 2), 0.1 * number, np.float32)
        rewards = np.full(length, reward, np.float32)
        episodes.append(Episode(obs, actions, rewards, terminated, source=f"source {number % 2}"))
    return TrajectoryStore.of(episodes)


def test_planes_hold_q_with_the_first_dimension_across():
    explorer = qfunction.explore(Valley(), make_store())
    assert explorer.pairs == [(0, 1)]
    across, up = 3, 15
    for state, action in enumerate(explorer.data_action):
        expected = -((explorer.grid[across] - action[0]) ** 2) - (explorer.grid[up] - action[0]) ** 2
        assert explorer.q[state, 0, up, across] == pytest.approx(expected, abs=1e-5)


def test_dimensions_off_the_plane_stay_at_the_data():
    class Third(Valley):
        def value(self, history, actions):
            return actions[:, 0, 2] + 10 * actions[:, 1, 0]

        def act(self, history, rng, explore):
            return torch.zeros(len(rng), 2, 3)

    store = TrajectoryStore.of(
        [
            Episode(
                np.zeros((9, 1), np.float32), np.full((8, 3), 0.5, np.float32), np.ones(8, np.float32), True
            )
        ]
    )
    explorer = qfunction.explore(Third(), store)
    q = explorer.q[0, explorer.pairs.index((0, 1))]
    assert np.ptp(q) == pytest.approx(0, abs=1e-6)
    assert q[0, 0] == pytest.approx(0.5 + 10 * 0.5)
    assert np.ptp(explorer.q[0, explorer.pairs.index((0, 2))]) == pytest.approx(2)


def test_of_many_dimensions_those_that_move_q_are_shown():
    class Wide(Valley):
        def value(self, history, actions):
            return actions[:, 0] @ torch.tensor([0, 5, 0, 4, 3, 0, 2, 1, 6.0])

        def act(self, history, rng, explore):
            return torch.zeros(len(rng), 1, 9)

    store = TrajectoryStore.of(
        [Episode(np.zeros((9, 1), np.float32), np.zeros((8, 9), np.float32), np.ones(8, np.float32), True)]
    )
    assert sorted({i for pair in qfunction.explore(Wide(), store).pairs for i in pair}) == [1, 3, 4, 6, 7, 8]


def test_states_go_from_poor_to_good_and_from_early_to_late():
    store = make_store()
    anchors = qfunction.choose_states(store, 12)
    assert anchors.episode.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert anchors.step.tolist()[:3] == [1, 9, 17]
    assert (anchors.step < store.table.length[anchors.episode]).all()


def test_the_spread_puts_the_policy_above_chance():
    explorer = qfunction.explore(Valley(), make_store())
    data, policy, random = explorer.spread().series
    np.testing.assert_allclose(data.y, 0, atol=1e-6)
    assert (policy.y > random.y).all()
    assert (random.low <= random.y).all()
    heat = explorer.heat(2, 0)
    assert heat.points["data's action"] == pytest.approx((0.0, 0.0))


def test_an_agent_without_a_critic_is_told_apart():
    class Plain(Valley):
        def value(self, history, actions):
            raise ValueError("this agent has no critic")

    with pytest.raises(ValueError, match="no critic"):
        qfunction.explore(Plain(), make_store())


class Clock(Valley):
    """Q is the true discounted return of reward 1 in episodes of 50 steps, plus an error."""

    def __init__(self, gamma, error=0.0):
        self.gamma, self.error = gamma, error

    def value(self, history, actions):
        left = 50 - history.obs[:, -1, 1]
        return (1 - self.gamma**left) / (1 - self.gamma) + self.error


def test_a_true_critic_lies_on_the_diagonal():
    store = make_store((50, 50))
    rows = calibration.calibration(Clock(0.9), store, 0.9, count=60)
    assert len(rows) == 60
    np.testing.assert_allclose(rows["q"], rows["mc"], rtol=1e-4)
    assert (rows["steps_left"] == 50 - rows["step"]).all()


def test_the_bias_of_a_target_fades_with_its_length():
    bias = calibration.n_step_bias(Clock(0.9, error=2.0), make_store((50, 50)), 0.9, [1, 5, 20])
    np.testing.assert_allclose(bias["bias"], [2.0 * 0.9**n for n in (0, 1, 5, 20)], rtol=1e-3)


def test_steps_before_a_cut_count_only_where_little_is_hidden():
    cut, ended = make_store((50,), terminated=False), make_store((50,))
    episode, step = calibration.usable_steps(cut, 0.9)
    assert len(episode) == 50 - 29  # 0.9 ** 29 is the first below 5 %
    assert step.max() == 20
    assert len(calibration.usable_steps(ended, 0.9)[0]) == 50
    with pytest.raises(ValueError, match="far enough from its end"):
        calibration.calibration(Clock(0.99), cut, 0.99)


def test_returns_are_of_rewards_as_training_saw_them():
    store = make_store((3,), reward=2.0)
    store.set_shaping(lambda rewards: rewards - 1)
    found, left = calibration.returns_at(store, np.zeros(3, int), np.arange(3), 0.5)
    np.testing.assert_allclose(found, [1.75, 1.5, 1.0])
    assert left.tolist() == [3, 2, 1]


def test_returns_stop_at_solved_steps_as_targets_do():
    marks = np.isin(np.arange(60), [4, 9, 10])
    rewards = np.arange(60.0)
    store = TrajectoryStore.of(
        Episode(np.zeros((61, 4)), np.zeros((60, 2)), rewards, False, extras={"terminal": marks})
        for _ in range(2)
    )
    found = calibration.returns_at(store, np.ones(60, int), np.arange(60), 0.8)
    for t in range(60):
        total, n = 0.0, 0
        for n in range(60 - t):
            total += 0.8**n * rewards[t + n]
            if marks[t + n]:
                break
        assert (found[0][t], found[1][t]) == (pytest.approx(total, rel=1e-5), n + 1)
    episode, step = calibration.usable_steps(store, 0.8)
    assert step[episode == 0].tolist() == list(range(60 - 14))  # 0.8 ** 14 is the first below 5 %
    bias = calibration.n_step_bias(Clock(0.8), store, 0.8, [1, 5])
    assert bias["steps"].tolist() == [92, 86, 70]  # of steps whose target of n steps takes a value at all


def test_principal_components_are_those_of_the_covariance():
    rng = np.random.Generator(np.random.Philox(0))
    x = (rng.normal(size=(200, 5)) @ np.diag([5, 3, 1, 0.1, 0.1])).astype(np.float32)
    x[:, 1] += x[:, 0]
    points, explained = space.principal(x, [1] * 5)
    z = (x - x.mean(0)) / x.std(0)
    expected = np.sort(np.linalg.eigvalsh(np.cov(z.T, bias=True)))[::-1][:3]
    np.testing.assert_allclose(points.var(0), expected, rtol=1e-3)
    np.testing.assert_allclose(explained, expected / 5, rtol=1e-3)
    assert abs(np.corrcoef(points.T)[0, 1]) < 1e-3


@pytest.mark.parametrize("width", [1, 2])
def test_states_of_few_numbers_are_padded_to_three(width):
    points, explained = space.principal(np.arange(8.0).reshape(-1, width).astype(np.float32), [1] * width)
    assert points.shape == (8 // width, 3)
    assert (points[:, width:] == 0).all()
    assert explained[width:].tolist() == [0.0] * (3 - width)


def test_a_cloud_knows_draws_clusters_and_sources():
    import pandas as pd

    store = make_store()
    own = pd.DataFrame(
        {"episode": [0, 1, 2], "draws": [5, 0, 7], "cluster": [1, 0, 1], "td_mean": [0.5, np.nan, 1]}
    )
    cloud = space.trajectory_cloud(store, own)
    assert cloud.columns["cluster"].tolist() == ["cluster 1", "cluster 0", "cluster 1"]
    assert cloud.columns["draws"].tolist() == [5, 0, 7]
    assert cloud.columns["source"].tolist() == ["source 0", "source 1", "source 0"]
    assert "phase" not in cloud.columns  # all offline
    states = space.state_cloud(store, own)
    assert len(states.labels) == store.num_steps == 90
    assert states.columns["draws"].tolist() == [5] * 20 + [0] * 30 + [7] * 40
    assert states.columns["step"].tolist()[20:23] == [0, 1, 2]


def test_states_are_coloured_by_the_clusters_that_quality_judges_within(tmp_path):
    store = make_store(range(5, 25))
    sampler = make_sampler("mixture", store, offline="quality", judge="critic", states=3, score_rows=50)
    quality = sampler.sides["offline"]
    cloud = space.state_cloud(store, clusters=quality.states)
    named = [f"state cluster {c}" for c in quality.states.labels]  # of every step, in order
    assert cloud.columns["state cluster"].tolist() == named
    assert len(set(space.state_cloud(store).columns["state cluster"])) == 10  # the default of quality

    checkpoint.save(tmp_path / "checkpoints", 1, {"sampler": sampler.state_dict()})
    found = rundata.open_state_clusters(tmp_path)
    np.testing.assert_array_equal(found.centres, quality.states.centres)
    checkpoint.save(
        tmp_path / "other" / "checkpoints", 1, {"sampler": make_sampler("uniform", store).state_dict()}
    )
    assert rundata.open_state_clusters(tmp_path / "other") is None
    assert rundata.open_state_clusters(tmp_path / "none") is None


def test_a_run_without_clusters_is_coloured_by_clusters_of_its_own():
    cloud = space.trajectory_cloud(make_store(range(5, 25)))
    assert all(name.startswith("cluster ") for name in cloud.columns["cluster"])
    assert "draws" not in cloud.columns


def test_more_points_than_can_be_shown_are_thinned_and_reported(monkeypatch):
    monkeypatch.setattr(space, "MOST_POINTS", 8)
    store = make_store(range(5, 25))
    assert space.trajectory_cloud(store).title.endswith("(8 of 20)")
    assert len(space.state_cloud(store).points) == 8


def test_store_and_agent_of_a_real_run_open_again(real_runs):
    store = rundata.open_store(real_runs / "cluster-s0")
    agent, gamma = rundata.open_agent(real_runs / "cluster-s0")
    explorer = qfunction.explore(agent, store, states=3)
    assert 0.9 < gamma < 1
    assert np.isfinite(explorer.q).all()
    assert explorer.table()["Q there"].notna().all()
    again = qfunction.explore(agent, store, states=3)
    np.testing.assert_array_equal(explorer.policy_q, again.policy_q)
