"""Solvers against a predictor that is exact for one Gaussian action, for which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from trajrl.core.rng import torch_stream
from trajrl.nets.diffusion import Diffusion
from trajrl.nets.solvers import PREDICTS, Move, Plan, Point, dpm_orders, plan, sample

MEAN, STD = 0.3, 0.2


def exact(path: Plan, mean: float = MEAN, std: float = STD):
    """Return the ideal predictor for a ~ N(m, s^2): eps = sigma (x - alpha m) / (alpha^2 s^2 + sigma^2)."""
    points = [point for move in path.moves for point in move.at]

    def predict(x: Tensor, j: int) -> Tensor:
        alpha, sigma = points[j].alpha, points[j].sigma
        return (x - alpha * mean) * (sigma / (alpha**2 * std**2 + sigma**2))

    return predict


def flow_end(path: Plan, x: Tensor) -> Tensor:
    """Return where the exact flow takes x: (x - alpha m) / sqrt(alpha^2 s^2 + sigma^2) stays what it is."""
    start, end = path.moves[0].at[0], path.moves[-1].to
    spread = [float(np.sqrt(p.alpha**2 * STD**2 + p.sigma**2)) for p in (start, end)]
    return (x - start.alpha * MEAN) / spread[0] * spread[1] + end.alpha * MEAN


def test_ddpm_uses_the_golden_posterior() -> None:
    """c1, c2 and the variance of vp with K = 5, read off the solver by feeding it unit inputs."""
    path = plan(Diffusion(5).abar)
    c1 = [0.165654, 0.312681, 0.498410, 0.728435, 1.0]
    c2 = [0.392901, 0.433466, 0.405078, 0.255116, 0.0]
    variance = [0.807766, 0.660907, 0.426742, 0.159114, 0.0]
    for j in range(5):
        one = Plan("ddpm", path.moves[j:])
        x, here = torch.full((1, 1), 0.5, dtype=torch.float64), path.moves[j].at[0]

        def aim(y: Tensor, k: int, wanted: float = 0.25, here=here) -> Tensor:
            """Answer the first question so that x0hat is 0.25, and the rest so that x stays as it is."""
            return (y - here.alpha * wanted) / here.sigma

        first = Plan("ddpm", one.moves[:1])
        noise = torch.stack((x, torch.zeros_like(x)))
        assert sample(first, aim, noise).item() == pytest.approx(c1[j] * 0.25 + c2[j] * 0.5, abs=2e-6)
        if j < 4:
            two = Plan("ddpm", (one.moves[0], one.moves[1]))
            seen: list[float] = []

            def spy(y: Tensor, k: int, seen=seen, aim=aim) -> Tensor:
                seen.append(y.item())
                return aim(y, k)

            sample(two, spy, torch.stack((x, torch.ones_like(x))))
            noisy = seen[1] - (c1[j] * 0.25 + c2[j] * 0.5)
            assert noisy**2 == pytest.approx(variance[j], abs=5e-6)


def test_ddpm_reproduces_an_exact_gaussian() -> None:
    path, rng = plan(Diffusion(1000, "cosine").abar), torch_stream(0, "test")
    noise = torch.randn(path.draws, 5_000, 1, generator=rng, dtype=torch.float64)
    found = sample(path, exact(path), noise, clip=False)
    assert found.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert found.std().item() == pytest.approx(STD, abs=0.007)


@pytest.mark.parametrize("steps", [0, 40])
def test_ddim_follows_the_exact_flow(steps: int) -> None:
    path, rng = plan(Diffusion(400, "cosine").abar, "ddim", steps), torch_stream(0, "test")
    x = torch.randn(64, 1, generator=rng, dtype=torch.float64)
    found = sample(path, exact(path), x[None], clip=False)
    assert (found - flow_end(path, x)).abs().max() < (0.05 if steps else 0.005)


def even_moves(order: int, count: int) -> Plan:
    """Plan `count` steps of one order, even in lam from -4 to 3."""

    def at(lam: float) -> Point:
        abar = 1 / (1 + np.exp(-2 * lam))
        return Point(0.0, float(np.sqrt(abar)), float(np.sqrt(1 - abar)), lam)

    grid = np.linspace(-4, 3, count * order + 1)
    starts = range(0, count * order, order)
    return Plan("dpm", tuple(Move(tuple(map(at, grid[i : i + order])), at(grid[i + order])) for i in starts))


@pytest.mark.parametrize(("order", "factor"), [(1, 2), (2, 4), (3, 8)])
def test_dpm_solver_converges_at_its_order(order: int, factor: int) -> None:
    x, errors = torch.linspace(-2, 2, 21, dtype=torch.float64)[:, None], []
    for count in (40, 80):
        path = even_moves(order, count)
        errors.append((sample(path, exact(path), x[None], clip=False) - flow_end(path, x)).abs().max().item())
    assert errors[0] / errors[1] == pytest.approx(factor, rel=0.25)


def test_more_evaluations_of_dpm_solver_are_closer() -> None:
    x, errors = torch.linspace(-2, 2, 21, dtype=torch.float64)[:, None], []
    for count in (6, 15, 60):
        path = plan(Diffusion(1000, "linear_scaled").abar, "dpm", count)
        errors.append((sample(path, exact(path), x[None], clip=False) - flow_end(path, x)).abs().max().item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.1  # the published grid is coarse where the noise ends


def test_fifteen_evaluations_are_the_published_orders() -> None:
    assert dpm_orders(15) == [3, 3, 3, 3, 2, 1]


def test_orders_use_every_evaluation() -> None:
    for evaluations in range(1, 40):
        assert sum(dpm_orders(evaluations)) == evaluations
        path = plan(Diffusion(200, "cosine").abar, "dpm", evaluations)
        assert len(path.levels) == evaluations
        assert path.levels[0] == pytest.approx(199)
        assert sorted(path.levels, reverse=True) == path.levels


@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpm"])
def test_every_solver_reaches_a_point_mass(solver: str) -> None:
    path, rng = plan(Diffusion(1000, "linear_scaled").abar, solver, 30), torch_stream(0, "test")
    noise = torch.randn(path.draws, 32, 2, generator=rng, dtype=torch.float64)
    found = sample(path, exact(path, 0.7, 0.0), noise)
    assert (found - 0.7).abs().max() < 0.05


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpm"])
def test_a_network_of_actions_leads_where_the_same_one_of_noise_does(solver: str, clip: bool) -> None:
    abar, rng = Diffusion(1000, "linear_scaled").abar, torch_stream(0, "test")
    of_noise, of_action = (plan(abar, solver, 7, predicts) for predicts in PREDICTS)
    points = [point for move in of_noise.moves for point in move.at]
    noise = torch.randn(of_noise.draws, 32, 2, generator=rng, dtype=torch.float64)

    def action(x: Tensor, j: int) -> Tensor:
        return 0.4 * x + 0.1 * j

    def eps(x: Tensor, j: int) -> Tensor:
        return (x - points[j].alpha * action(x, j)) / points[j].sigma

    torch.testing.assert_close(
        sample(of_action, action, noise, clip), sample(of_noise, eps, noise, clip), rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpm"])
def test_samples_stay_in_the_box_and_carry_gradients(solver: str) -> None:
    path, rng = plan(Diffusion(100, "cosine").abar, solver, 7), torch_stream(0, "test")
    weight = torch.tensor(0.5, requires_grad=True)
    noise = torch.randn(path.draws, 16, 2, generator=rng)
    found = sample(path, lambda x, j: weight * x, noise)
    assert found.abs().max() <= 1
    assert torch.autograd.grad(found.sum(), weight)[0].abs() > 0
    assert torch.equal(noise, torch.randn(path.draws, 16, 2, generator=torch_stream(0, "test")))


def test_impossible_plans_are_refused() -> None:
    abar = Diffusion(5).abar
    with pytest.raises(ValueError, match="did you mean 'ddpm'"):
        plan(abar, "ddpn")
    with pytest.raises(ValueError, match="choice of predicts 'actions'"):
        plan(abar, "ddpm", 0, "actions")
    with pytest.raises(ValueError, match="at most one step per level"):
        plan(abar, "ddim", 6)
    with pytest.raises(ValueError, match="still noise"):
        plan(abar, "dpm")
    with pytest.raises(ValueError, match="at least 1 evaluation"):
        plan(Diffusion(200, "cosine").abar, "dpm", -1)
