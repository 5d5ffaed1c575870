"""trajectory_ql: equal to diffusion_ql where it should be, and right by hand where it goes further."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flow_windows import ACT, OBS, at_anchor, generators, random_store, random_windows, weights_of

from trajrl import Anchors, WindowSpec, gather
from trajrl.agents import make_agent
from trajrl.agents.base.protocol import History
from trajrl.agents.trajectory_ql import Config, Noise, preset
from trajrl.core.rng import torch_stream
from trajrl.nets.solvers import PREDICTS
from trajrl.store.window import SequenceBatch

SINGLE = {
    "history": 1, "horizon": 1, "eta": 1.0, "candidates": 6, "temperature": 1.0, "standardise_q": False,
    "act_ema": False, "ema_every": 2, "ema_start": 2, "critic_norm": "none", "actor_lr": 3e-4,
    "decay": "none",
}  # fmt: skip


def tiny(**config: Any) -> Any:
    return make_agent(
        "trajectory_ql", OBS, ACT, seed=1, **{"width": 16, "depth": 2, "gru_width": 8, **config}
    )


def noise_of(agent: Any, batch: SequenceBatch, step: int = 1) -> Noise:
    return agent.draw_noise(batch, torch_stream(0, "agent", step))


def update(agent: Any, batch: SequenceBatch, step: int = 1) -> Any:
    return agent.update(batch, torch_stream(0, "agent", step))


def test_one_observation_one_step_is_diffusion_ql_to_the_bit() -> None:
    ours = tiny(**SINGLE)
    single = make_agent(
        "diffusion_ql", OBS, ACT, seed=9, width=16, depth=2, candidates=6, ema_every=2, ema_start=2
    )
    rename = {"actor": "head", "ema_actor": "head", "critic": "head", "target": "head"}
    state = ours.state_dict()
    for part in rename:
        named = {f"head.{name}": value for name, value in single.parts[part].state_dict().items()}
        assert set(named) == set(state[part])
        state[part] = named
    ours.load_state_dict(state)
    assert ours.spec == single.spec
    for step in range(4):
        batch = random_windows(ours.spec, seed=step)
        assert torch.equal(update(ours, batch, step).td_error, update(single, batch, step).td_error)
    theirs = weights_of(single)
    for name, value in weights_of(ours).items():
        assert torch.equal(value, theirs[name.replace(".head.", ".")]), name
    history = at_anchor(batch, 5)
    assert torch.equal(*(agent.act(history, generators(5), explore=False) for agent in (ours, single)))


@pytest.mark.parametrize("history", [1, 4])
def test_horizon_of_one_is_the_one_step_target(history: int) -> None:
    agent = tiny(history=history, horizon=1, critic_context="context")
    batch = random_windows(agent.spec)
    noise = noise_of(agent, batch)
    td_error = agent.critic_loss(batch, noise)[1]
    next_history = History(batch.next_obs, batch.next_prev_actions, batch.next_history_mask)
    with torch.no_grad():
        value = agent.next_value(batch, next_history, noise.next)
        y = batch.rewards[:, 0] + torch.where(batch.terminated, 0.0, 0.99 * value)
        q = agent.critic.head(agent.context(agent.critic.encoder, at_anchor(batch)), batch.actions[:, 0])
    assert torch.equal(td_error, (q - y).abs().mean(0))


def test_targets_have_the_golden_values_whatever_the_horizon_is_cut_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Gamma .9, rewards 1 2 3, next value 10: 12.52, truncated after two steps 10.9, terminated 2.8."""
    agent = tiny(history=1, horizon=3, gamma=0.9)
    batch = random_windows(agent.spec, 3)._replace(
        rewards=torch.tensor([[1.0, 2, 3], [1, 2, 0], [1, 2, 0]]),
        mask=torch.tensor([[True, True, True], [True, True, False], [True, True, False]]),
        steps=torch.tensor([3, 2, 2]), terminated=torch.tensor([False, False, True]),
    )  # fmt: skip
    monkeypatch.setattr(agent, "next_value", lambda *given: torch.full((3,), 10.0))
    td_error = agent.critic_loss(batch, noise_of(agent, batch))[1]
    q = agent.critic.head(batch.obs[:, -1], batch.actions.flatten(1))
    assert td_error.tolist() == pytest.approx(
        (q - torch.tensor([12.52, 10.9, 2.8])).abs().mean(0).tolist(), rel=1e-5
    )


@pytest.mark.parametrize("share", [False, True])
def test_acting_step_by_step_sees_the_context_that_training_saw(share: bool) -> None:
    agent, store = tiny(history=4, critic_context="context", share_encoder=share), random_store()
    encoder = agent.critic.encoder if share else agent.actor.encoder
    episode = int(np.argmax(store.table.length))
    length = int(store.table.length[episode])
    assert length > 6
    anchors = Anchors(np.full(length, episode), np.arange(length), np.ones(length, np.float32))
    windowed = agent.context(encoder, at_anchor(gather(store, anchors, agent.spec)))

    found = store.episode(episode)
    seen: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=4)
    for t in range(length):
        before = torch.tensor(found.actions[t - 1]) if t else torch.zeros(ACT)
        seen.append((torch.tensor(found.obs[t]), before))
        pad = 4 - len(seen)
        history = History(
            torch.stack([torch.zeros(OBS)] * pad + [obs for obs, _ in seen])[None],
            torch.stack([torch.zeros(ACT)] * pad + [action for _, action in seen])[None],
            torch.tensor([[False] * pad + [True] * len(seen)]),
        )
        torch.testing.assert_close(agent.context(encoder, history)[0], windowed[t], rtol=0, atol=1e-6)


def test_history_is_encoded_once_per_update_and_network(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, calls = tiny(history=4), []
    batch = random_windows(agent.spec)
    inner = agent.context
    monkeypatch.setattr(
        agent, "context", lambda net, history: calls.append(net.history) or inner(net, history)
    )
    update(agent, batch)
    assert calls.count(4) == 2  # the actor's history at the anchor, the target actor's at the bootstrap
    calls.clear()
    agent.act(at_anchor(batch, 3), generators(3), explore=False)
    assert calls.count(4) == 1


def test_history_reaches_policy_and_critic_only_where_asked() -> None:
    for context, moves in (("state", False), ("context", True)):
        agent = tiny(history=4, critic_context=context, candidates=1)
        batch = random_windows(agent.spec)
        earlier = at_anchor(batch._replace(obs=torch.cat((batch.obs[:, :-1] + 1, batch.obs[:, -1:]), 1)))
        values = [agent.value(h, batch.actions) for h in (at_anchor(batch), earlier)]
        assert torch.equal(*values) is not moves
        actions = [agent.act(h, generators(48), explore=False) for h in (at_anchor(batch), earlier)]
        assert not torch.equal(*actions)


def test_a_shared_encoder_learns_from_the_critic_alone() -> None:
    agent = tiny(history=4, critic_context="context", share_encoder=True)
    assert list(agent.actor.encoder.parameters()) == []
    batch = random_windows(agent.spec)
    loss = agent.actor_loss(batch, noise_of(agent, batch))[0]
    parts = torch.autograd.grad(loss, list(agent.critic.encoder.parameters()), allow_unused=True)
    assert all(part is None for part in parts)


def test_the_q_term_fades_in_after_the_cloning_phase() -> None:
    agent, weights = tiny(history=1, q_start=2, q_ramp=4), []
    for step in range(8):
        metrics = update(agent, random_windows(agent.spec, seed=step), step).metrics
        assert (metrics["actor/q_loss"] == 0) == (step < 2)
        weights.append(agent.q_weight.item())
    assert weights == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]


def test_cloning_phase_is_cloning() -> None:
    """Before q_start the actor's loss is that of behaviour cloning on the same noise, to the bit."""
    agent = tiny(history=4, chunk=3, q_start=9)
    clone = make_agent("bc_diffusion", OBS, ACT, width=16, depth=2, gru_width=8, history=4, chunk=3)
    clone.actor.load_state_dict(agent.actor.state_dict())
    batch = random_windows(agent.spec)
    noise = noise_of(agent, batch)
    assert torch.equal(agent.actor_loss(batch, noise)[0], clone.actor_loss(batch, noise)[0])


# The three lengths.


@pytest.mark.parametrize(
    ("chunk", "critic_chunk", "horizon", "message"),
    [
        (2, 3, 5, r"critic_chunk \(3\) is at most chunk \(2\)"),
        (3, 3, 2, r"horizon \(2\) is at least critic_chunk"),
        (0, 1, 1, "chunk must be at least 1"), (1, 1, 0, "horizon must be at least 1"),
    ],
)  # fmt: skip
def test_lengths_that_do_not_fit_are_refused(
    chunk: int, critic_chunk: int, horizon: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(chunk=chunk, critic_chunk=critic_chunk, horizon=horizon)


@pytest.mark.parametrize(
    ("chunk", "critic_chunk", "horizon"), [(1, 1, 1), (1, 1, 7), (4, 1, 1), (4, 2, 5), (3, 3, 3)]
)
def test_lengths_are_free_of_each_other(chunk: int, critic_chunk: int, horizon: int) -> None:
    agent = tiny(history=2, chunk=chunk, critic_chunk=critic_chunk, horizon=horizon)
    assert agent.spec == WindowSpec(2, chunk, horizon)
    batch = random_windows(agent.spec)
    assert torch.isfinite(update(agent, batch).td_error).all()
    assert agent.act(at_anchor(batch, 2), generators(2), explore=True).shape == (2, chunk, ACT)


def test_the_critic_sees_exactly_its_chunk() -> None:
    agent = tiny(history=1, chunk=3, critic_chunk=2, horizon=4)
    batch = random_windows(agent.spec)
    value = agent.value(at_anchor(batch), batch.actions)
    for j, seen in ((0, True), (1, True), (2, False)):
        changed = batch.actions.clone()
        changed[:, j] += 0.1
        assert torch.equal(agent.value(at_anchor(batch), changed), value) is not seen


@pytest.mark.parametrize("predicts", PREDICTS)
def test_cloning_loss_counts_real_actions_alone(predicts: str) -> None:
    """A chunk cut after one of three steps: the loss is the mean over that one, and padding stays zero."""
    agent = tiny(history=1, chunk=3, horizon=1, q_start=9, predicts=predicts)
    batch = random_windows(agent.spec, 1)
    batch = batch._replace(action_mask=torch.tensor([[True, False, False]]), weight=torch.ones(1))
    noise = noise_of(agent, batch)
    actions = torch.cat((batch.actions[:, 0], torch.zeros(1, 2 * ACT)), 1)
    policy = agent.actor.head
    x = policy.diffusion.q_sample(actions, noise.level, noise.eps)
    eps = policy.predict(x, noise.level, batch.obs[:, -1])
    missed = (
        eps - noise.eps if predicts == "noise" else policy.diffusion.x0_hat(x, noise.level, eps) - actions
    )
    wanted = missed[0, :ACT].square().mean().item()
    assert agent.actor_loss(batch, noise)[0].item() == pytest.approx(wanted, rel=1e-4)


# The weighted SARSA target.


def test_sarsa_target_mixes_the_datas_next_actions() -> None:
    agent, plain = (
        tiny(chunk=2, critic_chunk=2, horizon=2, beta=0.25),
        tiny(chunk=2, critic_chunk=2, horizon=2),
    )
    assert agent.spec.next_actions
    assert not plain.spec.next_actions
    batch = random_windows(agent.spec)
    noise, then = (
        noise_of(agent, batch).next,
        History(batch.next_obs, batch.next_prev_actions, batch.next_history_mask),
    )
    assert batch.next_mask is not None
    whole = batch.next_mask.all(1)
    assert whole.any()
    assert (~whole & batch.next_mask.any(1)).any()
    with torch.no_grad():
        of_policy, mixed = plain.next_value(batch, then, noise), agent.next_value(batch, then, noise)
        of_data = agent.target.head(batch.next_obs[:, -1], batch.next_actions.flatten(1)).amin(0)
    assert torch.equal(mixed[~whole], of_policy[~whole])
    torch.testing.assert_close(mixed[whole], (0.75 * of_data + 0.25 * of_policy)[whole])


def test_sarsa_with_all_weight_on_the_policy_is_the_plain_target() -> None:
    agent = tiny(beta=1.0)
    batch = random_windows(replace(agent.spec, next_actions=True))
    noise, bare = noise_of(agent, batch), batch._replace(next_actions=None, next_mask=None)
    assert torch.equal(agent.critic_loss(batch, noise)[1], agent.critic_loss(bare, noise)[1])


def test_best_of_the_next_candidates_is_backed_up() -> None:
    agent = tiny(history=1, target_candidates=5)
    batch = random_windows(agent.spec, 4)
    noise = noise_of(agent, batch).next
    assert noise.shape[1] == 20
    then = History(batch.next_obs, batch.next_prev_actions, batch.next_history_mask)
    with torch.no_grad():
        found = agent.next_value(batch, then, noise)
        for row in range(4):
            obs = batch.next_obs[row].expand(5, -1)
            q = agent.target.head(
                obs, agent.ema_actor.head.sample(obs, noise[:, 5 * row : 5 * row + 5])
            )  # (E, 5)
            assert found[row].item() == pytest.approx(q.amax(1).amin().item(), rel=1e-4)


def test_exploring_draws_where_acting_takes_the_densest() -> None:
    draw, densest = (tiny(candidates=16, temperature=2.0, pick=pick) for pick in ("draw", "densest"))
    history = at_anchor(random_windows(draw.spec), 4)
    drawn = draw.act(history, generators(4), explore=True)
    assert torch.equal(densest.act(history, generators(4), explore=True), drawn)
    assert not torch.equal(densest.act(history, generators(4), explore=False), drawn)


def test_acting_policy_is_the_one_asked_for() -> None:
    slow, fast = tiny(candidates=1), tiny(candidates=1, act_ema=False)
    batch = random_windows(slow.spec)
    for agent in (slow, fast):
        with torch.no_grad():
            for parameter in agent.actor.parameters():
                parameter += 0.5
    history = at_anchor(batch, 4)
    chosen = [agent.act(history, generators(4), explore=False) for agent in (slow, fast)]
    assert not torch.equal(*chosen)
    fresh = tiny(candidates=1)
    assert torch.equal(chosen[0], fresh.act(history, generators(4), explore=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"critic_context": "history"}, "state or context"), ({"beta": 1.5}, "between 0 and 1"),
        ({"share_encoder": True}, "critic_context = context"), ({"temperature": -1.0}, "negative"),
        ({"history": 0}, "at least 1"), ({"decay": "linear"}, "decay"), ({"pick": "best"}, "pick"),
    ],
)  # fmt: skip
def test_bad_configs_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(Config(), **change).validate()


def test_paper_preset_takes_the_published_table() -> None:
    assert preset("paper", "antmaze-umaze-diverse-v0")["target_candidates"] == 10
    assert "target_candidates" not in preset("paper", "hopper-medium-v2")


def test_a_policy_that_the_critic_chooses_for_does_not_climb_but_in_a_bandit() -> None:
    chosen = replace(Config(), **{k: v for k, v in preset("standard", "Hopper-v4").items() if "." not in k})
    assert chosen.eta == 0
    assert chosen.expectile > 0
    assert chosen.candidates > 1
    assert replace(Config(), **preset("standard", "bandit:rings")).eta > 0
    assert preset("paper", "bandit:rings") == preset("paper", "Hopper-v4")
