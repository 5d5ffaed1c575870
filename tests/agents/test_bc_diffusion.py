"""Behaviour cloning learns the data's actions, whatever solver samples them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from flow_windows import ACT, OBS, at_anchor, bandit_windows, generators, random_windows

from trajrl.agents import make_agent
from trajrl.core.rng import torch_stream
from trajrl.nets.solvers import PREDICTS
from trajrl.store.window import SequenceBatch


def skilled(agent: Any, seed: int, rows: int) -> SequenceBatch:
    """Return windows whose action is (0.6, -0.4) times the first observation, squashed."""
    batch = bandit_windows(agent.spec, rows, seed, lambda actions: actions[:, 0])
    obs = torch.randn(batch.obs.shape, generator=torch_stream(seed, "obs"))
    actions = obs[:, -1, :1].tanh() * torch.tensor([0.6, -0.4])
    return batch._replace(obs=obs, actions=actions[:, None].expand_as(batch.actions))


@pytest.mark.parametrize("predicts", PREDICTS)
@pytest.mark.parametrize(("solver", "steps"), [("ddpm", 0), ("ddim", 0), ("ddim", 3)])
def test_behaviour_is_cloned(solver: str, steps: int, predicts: str) -> None:
    agent = make_agent(
        "bc_diffusion",
        OBS,
        ACT,
        width=64,
        depth=2,
        lr=1e-2,
        solver=solver,
        solver_steps=steps,
        ema_decay=0.95,
        predicts=predicts,
    )
    for step in range(150):
        agent.update(skilled(agent, step, 64), torch_stream(0, "agent", step))
    batch = skilled(agent, 1000, 256)
    found = agent.act(at_anchor(batch), generators(256), explore=False)
    assert (found - batch.actions).abs().mean() < 0.5 * batch.actions.abs().mean()


def clone(predicts: str, change: Callable[[SequenceBatch, int], SequenceBatch], updates: int = 300) -> Any:
    """Return a clone of what `skilled` does, changed at every step."""
    agent = make_agent(
        "bc_diffusion", OBS, ACT, width=64, depth=2, lr=5e-3, ema_decay=0.95, predicts=predicts
    )
    for step in range(updates):
        agent.update(change(skilled(agent, step, 128), step), torch_stream(0, "agent", step))
    return agent


def test_a_net_of_actions_errs_less_where_a_state_has_one() -> None:
    errors = {}
    for predicts in PREDICTS:
        agent = clone(predicts, lambda batch, step: batch)
        batch = skilled(agent, 1000, 512)
        found = agent.act(at_anchor(batch), generators(512), explore=False)
        errors[predicts] = (found - batch.actions).abs().mean().item()
    assert errors["action"] < 0.6 * errors["noise"]


def test_either_net_gives_both_of_two_actions() -> None:
    """Two actions, 0.7 and -0.7 in every place: no more lies between with the one than with the other."""

    def two(batch: SequenceBatch, step: int) -> SequenceBatch:
        sides = torch.randint(2, (128, 1, 1), generator=torch_stream(step, "side")) * 1.4 - 0.7
        return batch._replace(actions=sides.expand_as(batch.actions))

    between = {}
    for predicts in PREDICTS:
        agent = clone(predicts, two)
        found = agent.act(at_anchor(skilled(agent, 1000, 512)), generators(512), explore=False)
        between[predicts] = (found.abs() < 0.4).float().mean().item()
        assert 0.35 < (found > 0).float().mean() < 0.65
    assert between["action"] < 1.1 * between["noise"]


def test_dpm_solver_acts_with_many_levels() -> None:
    agent = make_agent(
        "bc_diffusion", OBS, ACT, width=16, depth=2, diffusion_steps=200, schedule="cosine", solver="dpm",
        solver_steps=6,
    )  # fmt: skip
    batch = random_windows(agent.spec)
    agent.update(batch, torch_stream(0, "agent", 0))
    assert agent.act(at_anchor(batch, 3), generators(3), explore=False).abs().max() <= 1


def test_acting_follows_the_average_where_asked() -> None:
    slow, fast = (
        make_agent("bc_diffusion", OBS, ACT, width=16, depth=2, act_ema=ema) for ema in (True, False)
    )
    batch = random_windows(slow.spec)
    for agent in (slow, fast):
        agent.update(batch, torch_stream(0, "agent", 0))
    history = at_anchor(batch, 3)
    assert not torch.equal(*(agent.act(history, generators(3), explore=False) for agent in (slow, fast)))


def test_one_update_moves_the_average_by_its_share() -> None:
    agent = make_agent("bc_diffusion", OBS, ACT, width=16, depth=2, ema_decay=0.9)
    before = [p.clone() for p in agent.ema_actor.parameters()]
    agent.update(random_windows(agent.spec), torch_stream(0, "agent", 0))
    for slow, new, old in zip(agent.ema_actor.parameters(), agent.actor.parameters(), before):
        torch.testing.assert_close(slow, 0.9 * old + 0.1 * new, rtol=0, atol=1e-7)


def test_bad_configs_are_refused() -> None:
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        make_agent("bc_diffusion", OBS, ACT, chunk=0)
