"""The tanh-Gaussian against torch.distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from trajrl.core.rng import torch_stream
from trajrl.nets.gaussian import INSIDE, TanhGaussian, log_density, log_slope, squash


def law() -> tuple[torch.Tensor, torch.Tensor, TransformedDistribution]:
    rng = torch_stream(0, "test")
    mean = torch.randn(32, 3, generator=rng, dtype=torch.float64)
    log_std = torch.randn(32, 3, generator=rng, dtype=torch.float64) - 1
    return mean, log_std, TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform(cache_size=1))


def test_density_of_recorded_actions_is_that_of_torch():
    mean, log_std, oracle = law()
    action = torch.rand(32, 3, generator=torch_stream(1, "test"), dtype=torch.float64) * 1.9 - 0.95
    torch.testing.assert_close(log_density(mean, log_std, action), oracle.log_prob(action))


def test_density_of_a_sample_is_that_of_torch():
    mean, log_std, oracle = law()
    noise = torch.randn(32, 3, generator=torch_stream(2, "test"), dtype=torch.float64)
    action, density = squash(mean, log_std, noise)
    torch.testing.assert_close(action, (mean + log_std.exp() * noise).tanh())
    torch.testing.assert_close(density, oracle.log_prob(action), rtol=1e-6, atol=1e-6)


def test_the_standard_case_has_the_known_value():
    # u = 0: log N(0; 0, 1) = -log(2 pi)/2 and tanh has slope 1 there.
    zero = torch.zeros(1, 1)
    action, density = squash(zero, zero, zero)
    assert action.item() == 0
    assert density.item() == pytest.approx(-0.918939, abs=1e-6)


@pytest.mark.parametrize("u", [-40.0, -3.0, 0.0, 3.0, 40.0])
def test_slope_is_exact_far_out(u):
    value = torch.tensor(u, dtype=torch.float64)
    if abs(u) < 10:
        torch.testing.assert_close(log_slope(value), torch.log1p(-value.tanh().square()))
    else:
        assert log_slope(value).item() == pytest.approx(2 * (0.693147 - abs(u)), abs=1e-4)


def test_actions_on_the_box_have_a_finite_density_and_gradient():
    mean = torch.zeros(1, 2, requires_grad=True)
    density = log_density(mean, torch.zeros(1, 2), torch.tensor([[1.0, -1.0]]))
    density.sum().backward()
    assert torch.isfinite(density).all()
    assert torch.isfinite(mean.grad).all()
    inside = log_density(mean, torch.zeros(1, 2), torch.tensor([[INSIDE, -INSIDE]]))
    assert torch.equal(density, inside)


def test_log_std_stays_in_its_bounds():
    net = TanhGaussian(2, (8,), 1, torch_stream(0, "init"))
    with torch.no_grad():
        net.net.layers[-1].bias.copy_(torch.tensor([0.0, 100.0]))
        assert net(torch.zeros(1, 2))[1].item() == 2.0
        net.net.layers[-1].bias.copy_(torch.tensor([0.0, -100.0]))
        assert net(torch.zeros(1, 2))[1].item() == -20.0
