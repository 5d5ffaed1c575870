"""DQC against the formulas written out, with a history, a horizon beyond the long chunk, and cut windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from flow_windows import ACT, OBS, corner, generators, random_windows, reward_after

from trajrl.agents import make_agent
from trajrl.agents.base.learner import histories
from trajrl.core.rng import torch_stream
from trajrl.nets.targets import td_target
from trajrl.store.episode import Episode
from trajrl.store.gather import gather
from trajrl.store.store import TrajectoryStore
from trajrl.store.window import Anchors, WindowSpec

LENGTHS = {"chunk": 2, "critic_chunk": 4, "horizon": 6, "history": 3}


def tiny(**changes: Any) -> Any:
    found = {"width": 16, "depth": 2, "gru_width": 8, "samples": 4, "flow_steps": 3, **LENGTHS, **changes}
    return make_agent("dqc", OBS, ACT, seed=1, **found)


def test_windows_hold_the_long_chunk_and_the_policy_gives_the_short_one():
    agent = tiny()
    assert agent.spec == WindowSpec(3, 2, 6, actions=4)
    batch = random_windows(agent.spec, 5)
    assert batch.actions.shape == (5, 4, ACT)
    history = histories(batch)[0]
    assert agent.act(history, generators(5), explore=True).shape == (5, 2, ACT)


def test_gather_takes_more_actions_than_the_chunk():
    store = TrajectoryStore()
    store.append(Episode(np.arange(6.0)[:, None], np.arange(5.0)[:, None], np.ones(5), False))
    anchors = Anchors(np.array([0, 0]), np.array([0, 3]), np.ones(2, np.float32))
    batch = gather(store, anchors, WindowSpec(chunk=1, horizon=2, actions=3))
    assert batch.actions[:, :, 0].tolist() == [[0, 1, 2], [3, 4, 0]]
    assert batch.action_mask.tolist() == [[True, True, True], [True, True, False]]
    with pytest.raises(ValueError, match="a window's actions hold its chunk, 4; got 3"):
        WindowSpec(chunk=4, actions=3)


@pytest.mark.parametrize("changes", [{}, {"partial_chunks": "drop", "q_agg": "min", "backup": "expectile"}])
def test_the_critics_losses_are_the_formulas(changes):
    agent = tiny(gamma=0.9, kappa_d=0.7, kappa_b=0.8, critics=3, **changes)
    batch = random_windows(agent.spec, 9)
    loss, td_error, _ = agent.critic_loss(batch)
    here, there = histories(batch)

    def seen(net: Any, history: Any) -> Any:
        return agent.context(net.encoder, history)

    flat = torch.where(batch.action_mask[..., None], batch.actions, 0.0).flatten(1)
    short = flat[:, : 2 * ACT]
    long = agent.long.head(seen(agent.long, here), flat)
    q = agent.critic.head(seen(agent.critic, here), short)
    goal = agent.target.head(seen(agent.target, here), short)
    goal = goal.amin(0) if agent.config.q_agg == "min" else goal.mean(0)
    v = agent.state_value.head(seen(agent.state_value, here))[:, 0]
    after = agent.state_value.head(seen(agent.state_value, there))[:, 0]
    long, q, goal, v, after = (part.detach() for part in (long, q, goal, v, after))
    terms: dict[str, list[float]] = {"long": [], "short": [], "value": []}
    for i in range(9):
        k = int(batch.steps[i])
        drop = agent.config.partial_chunks == "drop"
        whole = k == 6 if drop else k > 0
        real = bool(batch.action_mask[i, 1]) if drop else k > 0
        y = sum(0.9**j * float(batch.rewards[i, j]) for j in range(k))
        y += 0.0 if batch.terminated[i] else 0.9**k * float(after[i])
        if whole:
            terms["long"] += [float(batch.weight[i]) * (float(long[j, i]) - y) ** 2 for j in range(3)]
        if whole and real:
            for j in range(3):
                u = float(long[j, i] - q[j, i])
                terms["short"].append(float(batch.weight[i]) * (0.3 if u < 0 else 0.7) * u * u)
        if real:
            u = float(goal[i] - v[i])
            size = abs(u) if agent.config.backup == "quantile" else u * u
            terms["value"].append(float(batch.weight[i]) * (0.2 if u < 0 else 0.8) * size)
    assert torch.isfinite(td_error[batch.steps == 6]).all()
    assert float(loss.detach()) == pytest.approx(
        sum(sum(t) / max(1, len(t)) for t in terms.values()), rel=1e-4
    )
    assert (batch.steps < 6).any(), "no window is cut: the two ways of partial_chunks would be one"


def test_no_gradient_of_the_short_critic_or_of_v_reaches_the_long_one():
    agent = tiny()
    batch = random_windows(agent.spec, 9)
    loss = agent.critic_loss(batch._replace(weight=torch.zeros(9)))[0]
    assert float(loss.detach()) == 0.0
    agent.critic_loss(batch)[0].backward()
    alone = [p.grad.clone() for p in agent.long.parameters()]
    for part in agent.parts.values():
        if isinstance(part, torch.nn.Module):
            part.zero_grad()
    here, there = histories(batch)
    long = agent.long.head(agent.context(agent.long.encoder, here), agent.flat_actions(batch))
    with torch.no_grad():
        value = agent.state_value.head(agent.context(agent.state_value.encoder, there))[:, 0]
        y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, value, agent.config.gamma)
    td = (torch.where(batch.steps > 0, long - y, 0.0).square() * batch.weight)[:, batch.steps > 0]
    td.mean().backward()
    for before, parameter in zip(alone, agent.long.parameters(), strict=True):
        torch.testing.assert_close(before, parameter.grad)


def test_it_learns_a_bandit():
    agent = make_agent("dqc", OBS, ACT, seed=1, width=32, depth=2, samples=16, chunk=1, horizon=1,
                       actor_lr=3e-3, critic_lr=3e-3, tau=0.1)  # fmt: skip
    assert reward_after(agent, 100, corner) > 0.4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"critic_chunk": 1}, r"without it\), 1, is at least chunk, 2"),
        ({"critic_chunk": 0, "horizon": 1}, r"without it\), 1, is at least chunk, 2"),
        ({"horizon": 3}, "horizon must not be below critic_chunk, 4"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        tiny(**changes)


def test_an_update_moves_every_part_but_the_target_by_tau_alone():
    agent = tiny(tau=0.0)
    before = {name: [p.clone() for p in net.parameters()] for name, net in agent.parts.items()
              if isinstance(net, torch.nn.Module) and name != "normaliser"}  # fmt: skip
    agent.update(random_windows(agent.spec, 9), torch_stream(0, "agent", 1))
    for name, old in before.items():
        moved = any(not torch.equal(a, b) for a, b in zip(old, agent.parts[name].parameters(), strict=True))
        assert moved == (name != "target"), name
