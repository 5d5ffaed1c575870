"""Noise schedules against golden values, and the identities of the forward process."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajrl.core.rng import torch_stream
from trajrl.nets.diffusion import SCHEDULES, Diffusion

GOLDEN = {  # schedule, K: beta, abar
    ("vp", 5): (
        [0.195875, 0.458818, 0.635781, 0.754878, 0.835031],
        [0.804125, 0.435178, 0.158500, 0.038852, 0.006409],
    ),
    ("vp", 10): (
        [0.057764, 0.146577, 0.227018, 0.299878, 0.365869, 0.425641, 0.479778, 0.528813, 0.573226, 0.613452],
        [0.942236, 0.804125, 0.621574, 0.435178, 0.275960, 0.158500, 0.082455, 0.038852, 0.016581, 0.006409],
    ),
    ("cosine", 5): (
        [0.101294, 0.279544, 0.473635, 0.724052, 0.999],
        [0.898706, 0.647478, 0.340810, 0.094046, 0.000094],
    ),
    ("linear", 5): (
        [0.0001, 0.005075, 0.01005, 0.015025, 0.02],
        [0.9999, 0.994826, 0.984828, 0.97003, 0.95063],
    ),
}


@pytest.mark.parametrize(("name", "steps"), sorted(GOLDEN))
def test_schedule_has_its_golden_values(name: str, steps: int) -> None:
    betas, abar = GOLDEN[name, steps]
    assert SCHEDULES[name](steps) == pytest.approx(betas, abs=1e-6)
    assert Diffusion(steps, name).abar == pytest.approx(abar, abs=1e-6)


def test_ten_linear_steps_barely_add_noise() -> None:
    betas = [0.0001, 0.002311, 0.004522, 0.006733, 0.008944, 0.011156, 0.013367, 0.015578, 0.017789, 0.02]
    assert SCHEDULES["linear"](10) == pytest.approx(betas, abs=1e-6)
    assert Diffusion(10, "linear").abar[-1] == pytest.approx(0.903739, abs=1e-6)


@pytest.mark.parametrize(("steps", "last"), [(100, 2.04e-5), (1000, 4.04e-5)])
def test_scaled_linear_ends_in_noise_for_any_number_of_steps(steps: int, last: float) -> None:
    assert Diffusion(steps, "linear_scaled").abar[-1] == pytest.approx(last, rel=5e-3)


@pytest.mark.parametrize("steps", [1, 5, 20, 100])
def test_vp_ends_at_the_same_noise_for_every_number_of_steps(steps: int) -> None:
    assert Diffusion(steps, "vp").abar[-1] == pytest.approx(np.exp(-5.05))


@pytest.mark.parametrize(
    "grid", [lambda k: np.linspace(0, k + 1, k + 1) / (k + 1), lambda k: np.linspace(0, k, k + 1) / k]
)
def test_both_public_readings_of_cosine_are_this_one(grid) -> None:
    f = np.cos((grid(7) + 0.008) / 1.008 * np.pi / 2) ** 2
    assert np.abs(np.clip(1 - f[1:] / f[:-1], 0, 0.999) - SCHEDULES["cosine"](7)).max() < 1e-14


def test_bad_schedules_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        Diffusion(5, "cosin")
    with pytest.raises(ValueError, match="at least 1 step"):
        Diffusion(0)
    with pytest.raises(ValueError, match="more than 20 steps"):
        Diffusion(20, "linear_scaled")


def test_clean_action_is_recovered_from_the_true_noise() -> None:
    rng, process = torch_stream(0, "test"), Diffusion(5)
    actions, eps = torch.rand(8, 2, generator=rng) * 2 - 1, torch.randn(8, 2, generator=rng)
    level = torch.arange(8) % 5
    x = process.q_sample(actions, level, eps)
    assert (process.x0_hat(x, level, eps) - actions).abs().max() < 1e-5


def test_noise_error_is_a_multiple_of_the_action_error() -> None:
    rng, process = torch_stream(1, "test"), Diffusion(5)
    actions, eps, guess = (torch.randn(8, 2, generator=rng) for _ in range(3))
    level = torch.arange(8) % 5
    x = process.q_sample(actions, level, eps)
    abar = torch.tensor(process.abar).float()[level]
    by_action = abar / (1 - abar) * (actions - process.x0_hat(x, level, guess)).square().sum(1)
    torch.testing.assert_close((guess - eps).square().sum(1), by_action, rtol=1e-4, atol=1e-5)
