"""The one-step student: its law, where it begins, that it keeps the modes of its chain, and its time."""

from __future__ import annotations

import time

import pytest
import torch

from trajrl.core.rng import torch_stream
from trajrl.nets.denoiser import Denoiser, DiffusionPolicy
from trajrl.nets.diffusion import Diffusion
from trajrl.nets.one_step import OneStep
from trajrl.nets.optim import Optimiser
from trajrl.nets.solvers import sample

ACT, CTX = 2, 3


def build(solver: str = "ddpm", hidden: tuple[int, ...] = (8, 8), act: int = ACT) -> DiffusionPolicy:
    denoiser = Denoiser(act, CTX, hidden, torch_stream(0, "init"))
    return DiffusionPolicy(denoiser, Diffusion(5), solver)


def inputs(rows: int = 6, act: int = ACT) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch_stream(1, "test")
    return torch.randn(rows, CTX, generator=rng), torch.randn(rows, act, generator=rng)


def test_the_start_alone_fixes_what_a_chain_gives_and_ddpm_is_ddim():
    context, noise = inputs()
    chain, x = build("ddpm"), noise
    abar = [*chain.diffusion.abar, 1.0]
    for level in (4, 3, 2, 1, 0):
        eps = chain.predict(x, torch.full((6,), level), context)
        x0 = ((x - (1 - abar[level]) ** 0.5 * eps) / abar[level] ** 0.5).clamp(-1, 1)
        here, there = (1 - abar[level]) ** 0.5, (1 - abar[level - 1]) ** 0.5
        x = abar[level - 1] ** 0.5 * x0 + there * (x - abar[level] ** 0.5 * x0) / here
    assert torch.allclose(chain.fixed_by(context, noise), x, atol=1e-5)
    other = build("ddim")
    assert torch.equal(other.fixed_by(context, noise), other.sample(context, noise[None]))


def test_the_loss_is_the_weighted_mean_square_of_the_difference():
    student = OneStep(build(), torch_stream(0, "student"))
    with torch.no_grad():
        student.net.weights(-1)[0].zero_()
        student.net.weights(-1)[1].copy_(torch.tensor([0.5, 0.0]))
    goal, weight = torch.tensor([[0.5, 1.0], [1.5, 2.0]]), torch.tensor([1.0, 3.0])
    loss = student.loss(*inputs(2), goal, weight)
    assert loss.item() == pytest.approx((1 * (0 + 1) / 2 + 3 * (1 + 4) / 2) / 2)


def test_a_student_begins_with_the_denoisers_hidden_layers_at_pure_noise():
    chain, (context, noise) = build(), inputs()
    student, teacher = OneStep(chain, torch_stream(0, "student")), chain.denoiser
    temb = teacher.embed(torch.tensor([4.0]))[0]
    with torch.no_grad():
        for net in (teacher.net, student.net):
            net.layers[-1] = torch.nn.Identity()
            net.weights = lambda i, own=net: (
                (own.layers[i].weight, own.layers[i].bias) if i < 2 else (torch.eye(8), torch.zeros(8))
            )
        hidden = teacher(noise, temb, teacher.condition(context))
        assert torch.allclose(student(context, noise), hidden, atol=1e-6)


class TwoModes(DiffusionPolicy):
    """The chain of actions -0.8 and 0.8, equally often, with E[a | x] in closed form for its denoiser."""

    def _solved(self, plan, context, noise):
        def eps(x, j):
            here = plan.moves[j].at[0]
            action = 0.8 * torch.tanh(here.alpha * 0.8 * x / here.sigma**2)
            return (x - here.alpha * action) / here.sigma

        return sample(plan, eps, noise)


def test_the_student_of_a_chain_with_two_modes_keeps_both():
    chain = TwoModes(Denoiser(1, CTX, (32, 32), torch_stream(0, "init")), Diffusion(15))
    student, rng = OneStep(chain, torch_stream(0, "student")), torch_stream(3, "test")
    optimiser = Optimiser(student.parameters(), 1e-2, decay="update", decay_steps=400)
    none, one = torch.zeros(128, CTX), torch.ones(128)
    for step in range(400):
        noise = torch.randn(128, 1, generator=rng)
        with torch.no_grad():
            goal = chain.fixed_by(none, noise)
        optimiser.prepare(step)
        optimiser.step(student.loss(none, noise, goal, one))
    with torch.no_grad():
        found = student.sample(torch.zeros(2000, CTX), torch.randn(1, 2000, 1, generator=rng))[:, 0]
    assert 0.4 < (found > 0).float().mean() < 0.6
    assert ((found.abs() - 0.8).abs() < 0.2).float().mean() > 0.75  # a regression without z gives 0


def test_a_student_samples_in_less_than_half_of_the_time_of_five_steps():
    chain = build(hidden=(256, 256, 256))
    student = OneStep(chain, torch_stream(0, "student"))
    context, noise = torch.randn(500, CTX), torch.randn(5, 500, ACT)

    def seconds(sample, draws) -> float:
        times = []
        with torch.no_grad():
            for _ in range(15):
                began = time.process_time()
                sample(context, noise[:draws])
                times.append(time.process_time() - began)
        return min(times)

    assert seconds(student.sample, 1) < 0.5 * seconds(chain.sample, 5)
