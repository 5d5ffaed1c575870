"""The bandits' sets, energies and closed forms, against the published numbers and against geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trajrl import TrajectoryStore, make_suite
from trajrl.core.rng import stream
from trajrl.envs import bandit
from trajrl.envs.bandit_sets import BANDITS, CORNERS, RADII

S = 0.5**0.5


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandit, "NUM_POINTS", 4_000)
    monkeypatch.setattr(bandit, "NUM_SHAPE", 4_000)
    for cached in (bandit.data, bandit.shape):
        cached.cache_clear()
    yield
    for cached in (bandit.data, bandit.shape):
        cached.cache_clear()


def draw(name: str, n: int = 40_000, noise: float = 1.0):
    return BANDITS[name].draw(stream(0, "test"), n, noise)


@pytest.mark.parametrize("name", sorted(BANDITS))
def test_every_set_is_in_its_box_with_all_its_modes(name: str) -> None:
    points = draw(name)
    assert points.x.shape == (40_000, 2)
    assert points.energy.shape == points.mode.shape == (40_000,)
    assert set(points.mode) == set(range(BANDITS[name].modes))
    assert (np.abs(points.x) > BANDITS[name].box).any(1).mean() < 1e-4
    assert np.isfinite(points.x).all()
    odd = BANDITS[name].draw(stream(0, "test"), 4_001, 1.0)
    assert odd.x.shape == (4_001, 2)


@pytest.mark.parametrize("name", sorted(BANDITS))
def test_the_bare_shape_is_the_same_set_without_noise(name: str) -> None:
    spread, shape = BANDITS[name].spread, draw(name, 4_000, 0.0)
    if BANDITS[name].distinct:
        energy = {mode: shape.energy[shape.mode == mode] for mode in range(BANDITS[name].modes)}
        assert all(len(set(found.tolist())) == 1 for found in energy.values())
    _, distance = bandit.nearest(shape.x, draw(name, 4_000).x)
    assert (distance > spread).mean() < 0.015


def test_eight_gaussians_lie_on_their_circle_in_the_published_order() -> None:
    centres = draw("8gaussians", 4_000, 0.0)
    expected = [(0, 1), (-S, S), (-1, 0), (-S, -S), (0, -1), (S, -S), (1, 0), (S, S)]
    for k, centre in enumerate(expected):
        assert np.abs(centres.x[centres.mode == k] - np.array(centre) * 4 / 1.414).max() < 1e-9
        assert (centres.energy[centres.mode == k] == k / 7).all()
    points = draw("8gaussians")
    noise = points.x - 4 * np.array(expected)[points.mode] / 1.414
    assert noise.std() == pytest.approx(0.5 / 1.414, rel=0.01)


def test_rings_have_their_radii_energies_and_equal_counts() -> None:
    bare = draw("rings", 4_000, 0.0)
    radius = np.linalg.norm(bare.x, axis=1)
    for r, energy in ((3, 0.667), (2.25, 0.333), (1.5, 1), (0.75, 0)):
        on = np.isclose(radius, r)
        assert on.sum() == 1000
        assert (bare.energy[on] == energy).all()
        by_square = 0.667 if r**2 >= 8.5 else 0.333 if r**2 >= 5 else 1 if r**2 >= 2 else 0
        assert energy == by_square
    points = draw("rings")
    spread = np.linalg.norm(points.x, axis=1) - RADII[points.mode]
    assert spread.std() == pytest.approx(0.08, rel=0.05)


def test_moons_circles_and_swissroll_by_geometry() -> None:
    upper, lower = (draw("moons", 2_000, 0.0).x[half] for half in (slice(0, 1000), slice(1000, 2000)))
    assert np.linalg.norm((upper - (-1, -0.2)) / 2, axis=1) == pytest.approx(np.ones(1000))
    assert np.linalg.norm((lower - (-1, -0.2)) / 2 - (1, 0.5), axis=1) == pytest.approx(np.ones(1000))
    assert (draw("moons", 2_000, 0.0).energy == np.repeat([0, 1], 1000)).all()
    rims = draw("circles", 2_000, 0.0)
    assert set(np.linalg.norm(rims.x, axis=1).round(9)) == {3.0, 1.5}
    assert rims.energy == pytest.approx(np.square(rims.x).sum(1) / 9)
    roll = draw("swissroll", 2_000, 0.0)
    t = np.linalg.norm(roll.x, axis=1) * 5
    assert roll.x * 5 == pytest.approx(t[:, None] * np.stack([np.cos(t), np.sin(t)], 1))
    assert t.min() == pytest.approx(1.5 * np.pi, abs=0.1)
    assert t.max() == pytest.approx(4.5 * np.pi, abs=0.1)
    assert roll.energy == pytest.approx(t**2 / 25 / 9)


def test_spirals_are_turned_copies_with_energy_by_angle() -> None:
    points = draw("2spirals", 2_000, 0.0)
    assert points.x[1000:] == pytest.approx(-points.x[:1000])
    assert (points.energy[1000:] == points.energy[:1000]).all()
    assert points.energy.min() >= 1 - 3 * np.pi / 10
    assert points.energy.max() <= 1


def test_checkerboard_fills_eight_squares_and_pays_on_half_of_them() -> None:
    points = draw("checkerboard")
    x, y = points.x.T
    assert ((np.floor(x / 2) + np.floor(y / 2)) % 2 == 0).all()
    paid = ((x > 0) & (x <= 2)) | (x <= -2)
    assert (points.energy == paid).all()
    assert points.energy.mean() == pytest.approx(0.5, abs=0.02)
    squares = {tuple(s) for s in np.floor(points.x / 2)}
    assert len(squares) == 8
    assert all(len({tuple(s) for s in np.floor(points.x[points.mode == m] / 2)}) == 1 for m in range(8))


def test_pinwheel_has_five_arms_and_no_energy() -> None:
    points = draw("pinwheel", 5_000)
    assert np.bincount(points.mode).tolist() == [1000] * 5
    assert not points.energy.any()
    turn = np.array(
        [[np.cos(2 * np.pi / 5), -np.sin(2 * np.pi / 5)], [np.sin(2 * np.pi / 5), np.cos(2 * np.pi / 5)]]
    )
    means = np.array([points.x[points.mode == k].mean(0) for k in range(5)])
    assert means[1:] == pytest.approx(means[:-1] @ turn, abs=0.1)


def test_corners_are_the_toy_of_diffusion_ql() -> None:
    points = draw("corners")
    assert np.abs(points.x).max() <= 1
    assert np.bincount(points.mode).tolist() == [10_000] * 4
    for corner, energy in (((-0.8, 0.8), 3), ((-0.8, -0.8), 0), ((0.8, 0.8), 1.5), ((0.8, -0.8), 5)):
        k = CORNERS.tolist().index(list(corner))
        assert (points.energy[points.mode == k] == energy).all()
        assert points.x[points.mode == k].mean(0) == pytest.approx(np.array(corner), abs=0.01)
    store = TrajectoryStore.of(make_suite("bandit:corners").episodes())
    rewards = store.rewards.slice(0, len(store))
    assert (rewards - bandit.data("corners").energy).std() == pytest.approx(0.5, rel=0.05)


def test_data_is_one_step_episodes_in_the_unit_box_and_always_the_same() -> None:
    suite = make_suite("bandit:8gaussians")
    store = TrajectoryStore.of(suite.episodes())
    assert (store.table.length == 1).all()
    assert store.table.terminated.all()
    assert (store.obs_dim, store.action_dim, len(store)) == (2, 2, 4_000)
    assert not store.obs.slice(0, len(store.obs)).any()
    actions = store.actions.slice(0, len(store))
    assert actions == pytest.approx(bandit.data("8gaussians").x / 4.5, rel=1e-5)
    again = TrajectoryStore.of(make_suite("bandit:8gaussians").episodes())
    assert store.fingerprint == again.fingerprint


def test_points_outside_the_box_move_to_its_edge_and_are_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    points = bandit.data("8gaussians")
    points.x[7] = (9.0, 0.0)
    episodes = list(make_suite("bandit:8gaussians").episodes())
    assert episodes[7].actions.tolist() == [[1.0, 0.0]]
    assert "1 of 4000 points lie outside the box" in capsys.readouterr().out


def test_one_action_ends_the_episode_with_its_energy() -> None:
    suite = make_suite("bandit:8gaussians")
    env = suite.make(0)
    obs, _ = env.reset(seed=1)
    assert obs.tolist() == [0, 0]
    assert obs.dtype == np.float32
    for k, centre in enumerate([(0, 1), (-S, S), (-1, 0)]):
        env.reset(seed=1)
        action = np.array(centre) * 4 / 1.414 / 4.5
        obs, reward, terminated, truncated, _ = env.step(action.astype(np.float32))
        assert reward == pytest.approx(k / 7)
        assert (terminated, truncated) == (True, False)
        assert obs.tolist() == [0, 0]


def test_energy_is_that_of_the_nearest_mode_ring_or_data_point() -> None:
    energy, mode = bandit.judge("8gaussians", np.array([[2.5, 0.3], [0.1, 9.0]]))
    assert energy.tolist() == [pytest.approx(6 / 7), 0]
    assert mode.tolist() == [6, 0]
    energy, mode = bandit.judge("rings", np.array([[1.6, 0.0], [0.0, -2.9], [0.1, 0.0]]))
    assert energy.tolist() == [1, 0.667, 0]
    assert mode.tolist() == [2, 0, 3]
    points = bandit.data("moons")
    energy, mode = bandit.judge("moons", points.x[[5, 3_990]] + 1e-6)
    assert mode.tolist() == points.mode[[5, 3_990]].tolist()


def test_nearest_point_of_one_and_of_many_are_the_same() -> None:
    points, x = stream(0, "a").standard_normal((500, 2)), stream(0, "b").standard_normal((20, 2))
    slow = np.linalg.norm(points - x[:, None], axis=2)
    found, distance = bandit.nearest(points, x)
    assert found.tolist() == slow.argmin(1).tolist()
    assert distance == pytest.approx(slow.min(1), abs=1e-3)
    alone = [bandit.nearest(points, each[None])[0][0] for each in x]
    assert alone == found.tolist()


def test_off_mode_is_beyond_three_standard_deviations() -> None:
    centre, sigma = np.array([0, 4 / 1.414]), 0.5 / 1.414
    near, far = (centre + np.array([0, factor * sigma]) for factor in (2.99, 3.01))
    assert bandit.off_mode("8gaussians", np.stack([near, far, [0, 0]])).tolist() == [False, True, True]
    assert bandit.off_mode("rings", np.array([[1.73, 0], [1.75, 0], [4, 0]])).tolist() == [False, True, True]
    share = bandit.off_mode("8gaussians", draw("8gaussians").x).mean()
    assert share == pytest.approx(np.exp(-4.5), abs=0.002)


def test_scores_run_to_the_highest_energy() -> None:
    assert make_suite("bandit:8gaussians").score(0.5).value == pytest.approx(50)
    assert make_suite("bandit:corners").score(5.0).value == pytest.approx(100)
    assert make_suite("bandit:pinwheel").score(0.0).value is None


def test_unknown_bandits_name_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'rings'"):
        make_suite("bandit:ring")


def test_a_run_finds_the_data_by_the_environments_name(tmp_path: Path) -> None:
    from trajrl.training.config import RunConfig
    from trajrl.training.data import open_data

    store = open_data(RunConfig(data="bandit:rings"))
    assert store.attributes["environment"] == "bandit:rings"
    assert len(store) == 4_000
