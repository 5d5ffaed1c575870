"""The flow's path, its Euler steps and its velocity field."""

from __future__ import annotations

import pytest
import torch

from trajrl.core.rng import torch_stream
from trajrl.nets.flow import VelocityField, euler, straight_path


def field(context_dim: int = 3, action_dim: int = 2) -> VelocityField:
    return VelocityField(context_dim, action_dim, (16, 16), torch_stream(0, "init"))


def test_path_starts_at_the_noise_and_ends_at_the_action():
    action, noise = torch.tensor([[0.5, -1.0]]), torch.tensor([[2.0, 3.0]])
    for time, expected in ((0.0, noise), (1.0, action), (0.25, torch.tensor([[1.625, 2.0]]))):
        point, velocity = straight_path(action, noise, torch.tensor([[time]]))
        torch.testing.assert_close(point, expected)
        torch.testing.assert_close(velocity, torch.tensor([[-1.5, -4.0]]))


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_euler_on_a_linear_field_is_its_closed_form(steps):
    # dx/du = c x has the Euler solution x (1 + c/J)^J.
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    torch.testing.assert_close(euler(lambda x, u: -0.7 * x, x, steps), x * (1 - 0.7 / steps) ** steps)


def test_euler_reads_the_time_at_the_left_end_of_each_step():
    # dx/du = u summed at 0, 1/4, 2/4, 3/4 gives 3/8, not 1/2.
    assert euler(lambda x, u: torch.full_like(x, u), torch.zeros(1), 4).item() == pytest.approx(0.375)


def test_euler_converges_at_first_order():
    x = torch.ones(1, dtype=torch.float64)
    exact = torch.tensor(-1.3).double().exp()
    error = [float((euler(lambda x, u: -1.3 * x, x, steps) - exact).abs()) for steps in (50, 100)]
    assert error[0] / error[1] == pytest.approx(2.0, rel=0.05)


def test_euler_follows_the_straight_path_exactly():
    # With the true velocity of one pair the flow lands on the action in any number of steps.
    action, noise = torch.tensor([[0.3, -0.9]]), torch.tensor([[1.4, 0.2]])
    torch.testing.assert_close(euler(lambda x, u: action - noise, noise, 7), action)


def test_sampling_equals_euler_over_the_whole_network():
    net, rng = field(), torch_stream(0, "test")
    context, noise = torch.randn(5, 3, generator=rng), torch.randn(5, 2, generator=rng)
    plain = euler(lambda x, u: net(context, x, torch.full((5, 1), u)), noise, 10)
    torch.testing.assert_close(net.sample(context, noise, 10), plain.clamp(-1, 1))


def test_samples_stay_in_the_box():
    net = field()
    with torch.no_grad():
        net.net.layers[-1].bias.fill_(5.0)
    action = net.sample(torch.zeros(2, 3), torch.zeros(2, 2), 10)
    assert torch.equal(action, torch.ones(2, 2))


def test_the_flow_learns_a_two_point_distribution():
    # Actions are -0.5 or 0.5 with equal odds: samples must gather at both, and only there.
    net, rng = VelocityField(1, 1, (64, 64), torch_stream(0, "init")), torch_stream(0, "train")
    adam = torch.optim.Adam(net.parameters(), 3e-3)
    context = torch.zeros(256, 1)
    for _ in range(400):
        action = (torch.randint(0, 2, (256, 1), generator=rng) - 0.5).float()
        noise, time = torch.randn(256, 1, generator=rng), torch.rand(256, 1, generator=rng)
        point, velocity = straight_path(action, noise, time)
        adam.zero_grad()
        (net(context, point, time) - velocity).square().mean().backward()
        adam.step()
    with torch.no_grad():
        sample = net.sample(torch.zeros(1000, 1), torch.randn(1000, 1, generator=rng), 10)
    assert (sample > 0).float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert ((sample.abs() - 0.5).abs() < 0.2).float().mean() > 0.8  # noise alone: 0.39
