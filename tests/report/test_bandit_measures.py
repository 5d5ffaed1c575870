"""Measures of the bandit laboratory, against closed forms and hand numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trajrl.core.rng import stream
from trajrl.envs import bandit
from trajrl.report.bandit import measures
from trajrl.report.bandit.figure import draw_run, draw_sweep, grid
from trajrl.report.bandit.measures import goal, measure, mmd, sliced_w2

GOLDEN = {
    ("8gaussians", 3.0): ([0.0179, 0.0275, 0.0423, 0.0649, 0.0996, 0.1529, 0.2347, 0.3602], 0.7713),
    ("rings", 3.0): ([0.2371, 0.0870, 0.6438, 0.0321], 0.8309),
    ("moons", 3.0): ([0.0474, 0.9526], 0.9526),
    ("8gaussians", 0.0): ([0.125] * 8, 0.5),
}


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandit, "NUM_POINTS", 4_000)
    monkeypatch.setattr(bandit, "NUM_SHAPE", 4_000)
    monkeypatch.setattr(measures, "NUM_POOL", 40_000)
    monkeypatch.setattr(measures, "NUM_PAIRED", 500)
    for cached in (bandit.data, bandit.shape):
        cached.cache_clear()
    yield
    for cached in (bandit.data, bandit.shape):
        cached.cache_clear()


@pytest.mark.parametrize(("name", "beta"), sorted(GOLDEN))
def test_goals_have_the_golden_masses_and_energy(name: str, beta: float) -> None:
    masses, energy = GOLDEN[name, beta]
    found = goal(name, beta, 10)
    assert found.masses == pytest.approx(np.array(masses), abs=1e-4)
    assert found.energy == pytest.approx(energy, abs=1e-4)


@pytest.mark.parametrize(("beta", "mode"), [(5000.0, 7), (-5000.0, 0)])
def test_the_coldest_goals_hold_one_mode_alone(beta: float, mode: int) -> None:
    found = goal("8gaussians", beta, 100)
    assert found.masses[mode] == 1
    assert found.energy == pytest.approx(mode / 7)


@pytest.mark.parametrize(("beta", "energy"), [(1.0, 0.6048), (5.0, 0.8668)])
def test_energy_of_eight_gaussians_at_other_temperatures(beta: float, energy: float) -> None:
    assert goal("8gaussians", beta, 10).energy == pytest.approx(energy, abs=1e-4)


@pytest.mark.parametrize("name", ["8gaussians", "rings", "checkerboard", "circles"])
def test_the_resampled_goal_measures_as_itself(name: str) -> None:
    wanted, other = goal(name, 3.0, 4_000, seed=0), goal(name, 3.0, 4_000, seed=1)
    found = measure(name, other.x, wanted)
    assert found["mean_energy"] == pytest.approx(found["expected_energy"], abs=0.02)
    assert found["total_variation"] < 0.03
    assert found["sliced_w2"] < 0.15
    assert found["mmd"] < 0.05
    assert found["off_mode"] == pytest.approx(found["goal_off_mode"], abs=0.01)
    away = measure(name, goal(name, -3.0, 4_000).x, wanted)
    assert away["total_variation"] > 0.3
    assert away["sliced_w2"] > 3 * found["sliced_w2"]
    assert away["mmd"] > 0.1
    assert away["mean_energy"] < found["mean_energy"] - 0.2


def test_total_variation_by_hand() -> None:
    from trajrl.envs.bandit_sets import EIGHT

    wanted = goal("8gaussians", 0.0, 8)
    x = 4 * EIGHT[[0, 0, 0, 0, 1, 1, 2, 3]] / 1.414
    found = measure("8gaussians", x, wanted)
    assert found["mode_masses"] == [0.5, 0.25, 0.125, 0.125, 0, 0, 0, 0]
    assert found["total_variation"] == pytest.approx(0.5)
    assert found["mean_energy"] == pytest.approx((1 + 1 + 2 + 3) / 8 / 7)
    assert found["off_mode"] == 0


def test_sliced_w2_of_a_shift_is_its_length_over_root_two() -> None:
    x = stream(0, "x").standard_normal((300, 2))
    assert sliced_w2(x, x[::-1]) == 0
    assert sliced_w2(x, x + np.array([3, 4])) == pytest.approx(5 / 2**0.5, rel=1e-6)
    with pytest.raises(ValueError, match="equal size"):
        sliced_w2(x, x[:10])


def test_mmd_by_a_slow_loop() -> None:
    x, y = stream(0, "x").standard_normal((9, 2)), stream(0, "y").standard_normal((7, 2)) + 1
    both = np.concatenate([x, y])
    pairs = [np.square(a - b).sum() for i, a in enumerate(both) for b in both[i + 1 :]]

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-np.square(a - b).sum() / (2 * np.median(pairs))))

    within = [np.mean([k(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (x, y)]
    between = np.mean([k(a, b) for a in x for b in y])
    assert mmd(x, y) == pytest.approx(float(np.sqrt(max(0, sum(within) - 2 * between))), rel=1e-6)
    assert mmd(x, x) == 0


def test_grid_rows_run_up_and_columns_run_right() -> None:
    points = grid("8gaussians", 3)
    assert points[0].tolist() == [-4.5, -4.5]
    assert points[2].tolist() == [4.5, -4.5]
    assert points[6].tolist() == [-4.5, 4.5]


def test_the_figure_has_both_axes_the_right_way_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q = x1 + 10 x2 on the grid: seen at the pixel of (4.5, -4.5) it is -40.5."""
    shown = []
    from matplotlib.axes import Axes

    draw = Axes.imshow
    monkeypatch.setattr(Axes, "imshow", lambda self, *a, **k: shown.append(draw(self, *a, **k)) or shown[-1])
    points = grid("8gaussians")
    path = draw_run("8gaussians", points, points @ (1, 10), "title", tmp_path / "run.png")
    image = shown[0]
    assert image.origin == "lower"
    left, right, low, high = image.get_extent()
    assert (left, low) == (-right, -high)
    assert image.get_array()[0, -1] == pytest.approx(4.5 - 45)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_an_agent_without_a_critic_and_a_sweep_are_drawn(tmp_path: Path) -> None:
    draw_run("rings", grid("rings"), None, "title", tmp_path / "run.png")
    rows = [
        {"T": t, "mean_energy": 0.5 + s, "expected_energy": 0.7, "total_variation": 0.1, "off_mode": 0.2,
         "update_ms": 3.0, "sample_ms": 1.0 * t}
        for t in (5, 100) for s in (0.0, 0.1)
    ]  # fmt: skip
    draw_sweep("T", rows, "title", tmp_path / "sweep.png")
    for name in ("run", "sweep"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5_000
