"""The variational bound of a diffusion policy, against a Gaussian whose best denoiser is known."""

from math import e, log, pi
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trajrl.nets.diffusion import Diffusion
from trajrl.nets.likelihood_bound import MOST, error_weights, levels_of, likelihood_bound

MEAN, STD = 0.3, 0.5


def best_of_gaussian(diffusion, mean=MEAN, std=STD):
    """Return the chain whose x0hat is E[a | x_i] where a ~ N(mean, std^2)."""

    def predict(x, level, context):
        signal, noise = diffusion.signal[level, None], diffusion.noise[level, None]
        gain = std**2 * signal / (signal**2 * std**2 + noise**2)
        return (x - signal * (mean + gain * (x - signal * mean))) / noise

    return SimpleNamespace(diffusion=diffusion, predict=predict)


def expected_bound(abar, mean=MEAN, std=STD):
    """Return E[bound] of the best denoiser from KL divergences of Gaussians, one level after the other."""
    left = 0.5 * (abar[-1] * (mean**2 + std**2) - abar[-1] - log(1 - abar[-1]))
    spread = [std**2 * (1 - a) / (a * std**2 + 1 - a) for a in abar]  # Var(a | x_i)
    first = 1 - abar[0]
    total = left + 0.5 * spread[0] / first + 0.5 * log(2 * pi * first)
    for i in range(1, len(abar)):
        beta = 1 - abar[i] / abar[i - 1]
        pull = beta * abar[i - 1] ** 0.5 / (1 - abar[i])  # of x0 in the posterior's mean
        variance = beta * (1 - abar[i - 1]) / (1 - abar[i])
        total += pull**2 * spread[i] / (2 * variance)
    return -total


def bound_of(chain, actions, seed=0, **options):
    real = torch.ones_like(actions, dtype=torch.bool)
    rng = torch.Generator().manual_seed(seed)
    return likelihood_bound(chain, torch.zeros(len(actions), 1), actions, real, rng, **options)


@pytest.mark.parametrize(
    ("schedule", "steps"), [("vp", 1), ("vp", 3), ("vp", 5), ("vp", 100), ("cosine", 20)]
)
def test_the_bound_is_that_of_the_formula_and_below_the_density(schedule, steps):
    diffusion = Diffusion(steps, schedule)
    actions = MEAN + STD * torch.randn(40_000, 1, generator=torch.Generator().manual_seed(1))
    bound = float(bound_of(best_of_gaussian(diffusion), actions, clip=False).mean())
    true = -0.5 * log(2 * pi * e * STD**2)  # mean log density
    near = 0.02 if steps <= MOST else 0.05  # more levels than are evaluated
    assert bound == pytest.approx(expected_bound(diffusion.abar), abs=near)
    assert expected_bound(diffusion.abar) < true


def test_a_worse_denoiser_has_a_lower_bound_and_none_is_above_the_ceiling():
    diffusion = Diffusion(5)
    actions = MEAN + 0.02 * torch.randn(5_000, 1, generator=torch.Generator().manual_seed(1))
    exact = float(bound_of(best_of_gaussian(diffusion, MEAN, 0.02), actions).mean())
    wrong = float(bound_of(best_of_gaussian(diffusion, MEAN - 0.3, 0.02), actions).mean())
    assert wrong < exact - 0.1
    assert exact < -0.5 * log(2 * pi * (1 - diffusion.abar[0])) == pytest.approx(-0.104, abs=1e-3)


def test_padded_numbers_change_nothing_and_a_row_without_real_ones_is_unknown():
    diffusion, rng = Diffusion(5), torch.Generator
    actions = torch.tensor([[0.1, 0.9], [0.1, 0.9], [0.4, 0.9]])
    real = torch.tensor([[True, True], [True, False], [False, False]])
    chain, context = best_of_gaussian(diffusion), torch.zeros(3, 1)
    found = likelihood_bound(chain, context, actions, real, rng().manual_seed(0))
    other = torch.where(real, actions, -0.7)
    again = likelihood_bound(chain, context, other, real, rng().manual_seed(0))
    assert torch.equal(found.isnan(), torch.tensor([False, False, True]))
    torch.testing.assert_close(found, again, equal_nan=True)


@pytest.mark.parametrize("steps", [1, 2, MOST, 5, 100])
@pytest.mark.parametrize("schedule", ["linear", "vp"])
def test_level_zero_is_always_there_and_the_others_stand_for_all(steps, schedule):
    abar, rows = Diffusion(steps, schedule).abar, 20_000
    level, weight = levels_of(rows, abar, torch.Generator().manual_seed(0))
    assert level.shape == (rows, min(steps, MOST))
    assert (level[:, 0] == 0).all()
    hits = np.bincount(level.flatten(), minlength=steps)
    counted = np.bincount(level.flatten(), weight.flatten(), minlength=steps) / rows
    off = counted / error_weights(abar) - 1  # each level counts once, in the mean
    assert (np.abs(off) < 5 / np.sqrt(hits)).all()
    if steps <= MOST:
        assert torch.equal(level, torch.arange(steps).expand(rows, -1))
