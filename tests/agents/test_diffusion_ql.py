"""diffusion_ql is the published algorithm: losses, values and weights are those of the plain version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from flow_windows import generators, random_windows
from public_weights import ACT, OBS, ours, parts_of, plain_dql, transitions

from trajrl.agents import make_agent
from trajrl.agents.base.protocol import History
from trajrl.agents.diffusion_ql import Noise, preset
from trajrl.core.rng import torch_stream
from trajrl.store.window import WindowSpec


def noise_of(draws: plain_dql.Draws) -> Noise:
    pair = torch.tensor([0, 1] if draws.coin else [1, 0])
    return Noise(draws.next, draws.level, draws.eps, draws.policy, pair)


@pytest.mark.parametrize("max_q_backup", [False, True])
def test_updates_equal_those_of_the_plain_version(tmp_path: Path, max_q_backup: bool) -> None:
    torch.manual_seed(0)
    settings = plain_dql.Settings(ema_every=2, ema_start=3, max_q_backup=max_q_backup, grad_norm=0.5, eta=0.7)
    plain = plain_dql.PlainDQL(OBS, ACT, settings, width=16)
    with torch.no_grad():
        for parameter in [*plain.ema_actor.parameters(), *plain.target.parameters()]:
            parameter.mul_(0.9)  # targets that differ from the networks they follow
    agent = ours(
        plain, tmp_path, eta=0.7, ema_every=2, ema_start=3, ema_before="initial", max_q_backup=max_q_backup,
        actor_clip=0.5, critic_clip=0.5,
    )  # fmt: skip
    for step in range(6):
        batch, windows = transitions(step)
        draws = plain.draw(12)
        agent.substitute("draw_noise", lambda batch, rng, draws=draws: noise_of(draws))
        expected, found = (
            plain.update(batch, draws),
            agent.update(windows, torch_stream(0, "agent", step)).metrics,
        )
        assert found["critic/loss"].item() == pytest.approx(expected["critic_loss"], rel=1e-5)
        assert found["actor/bc_loss"].item() == pytest.approx(expected["bc_loss"], rel=1e-5)
        assert found["actor/q_loss"].item() == pytest.approx(expected["ql_loss"], abs=1e-5)
        for part, weights in parts_of(plain, tmp_path).items():
            for name, weight in weights.items():
                torch.testing.assert_close(
                    agent.parts[part].state_dict()[name], weight, rtol=0, atol=1e-5, msg=f"{part}.{name}"
                )
    obs, actions, *_ = batch
    values = torch.cat(plain.critic(obs, actions), 1)
    torch.testing.assert_close(agent.critic(obs, actions).T, values, rtol=1e-5, atol=1e-5)


def tiny(**config: Any) -> Any:
    return make_agent("diffusion_ql", 3, ACT, width=16, depth=2, **config)


def test_windows_are_single_transitions() -> None:
    assert tiny().spec == WindowSpec(1, 1, 1)


def test_target_policy_is_a_copy_until_it_averages() -> None:
    agent = tiny(ema_every=2, ema_start=4)
    for step in range(5):
        before = [p.clone() for p in agent.ema_actor.parameters()]
        agent.update(random_windows(agent.spec), torch_stream(0, "agent", step))
        pairs = list(zip(agent.ema_actor.parameters(), agent.actor.parameters()))
        if step in (0, 2):
            assert all(torch.equal(slow, new) for slow, new in pairs)
        elif step in (1, 3):
            assert all(torch.equal(slow, old) for (slow, _), old in zip(pairs, before))
        else:
            for (slow, new), old in zip(pairs, before):
                torch.testing.assert_close(slow, 0.995 * old + 0.005 * new, rtol=0, atol=1e-7)


def test_published_target_policy_stays_untrained_until_it_averages() -> None:
    agent = tiny(ema_before="initial", ema_start=3, ema_every=1)
    initial = [p.clone() for p in agent.ema_actor.parameters()]
    for step in range(4):
        assert all(torch.equal(p, q) for p, q in zip(agent.ema_actor.parameters(), initial))
        agent.update(random_windows(agent.spec), torch_stream(0, "agent", step))
    assert not any(torch.equal(p, q) for p, q in zip(agent.ema_actor.parameters(), initial))


def test_the_coin_is_fair_and_never_climbs_its_own_scale() -> None:
    agent, batch = tiny(critics=3), random_windows(WindowSpec(), 2)
    pairs = torch.stack([agent.draw_noise(batch, torch_stream(0, "agent", i)).pair for i in range(300)])
    assert (pairs[:, 0] != pairs[:, 1]).all()
    counts = torch.bincount(pairs[:, 0] * 3 + pairs[:, 1], minlength=9)
    assert (counts[[1, 2, 3, 5, 6, 7]] > 25).all()


def test_a_single_critic_is_its_own_scale() -> None:
    agent = tiny(critics=1)
    update = agent.update(random_windows(agent.spec), torch_stream(0, "agent", 1))
    assert update.metrics["actor/q_loss"].abs().item() == pytest.approx(1, abs=0.5)


def test_scale_of_the_q_term_takes_no_gradient() -> None:
    """With one critic and all Q positive, -mean Q / mean |Q| would be constant if the scale had one."""
    agent, batch = tiny(critics=1), random_windows(WindowSpec())
    with torch.no_grad():
        agent.critic.net.layers[-1].bias.fill_(5.0)
    noise, parameters = agent.draw_noise(batch, torch_stream(0, "agent", 1)), list(agent.actor.parameters())
    metrics = agent.actor_loss(batch, noise)[1]
    found = torch.autograd.grad(metrics["actor/q_loss"], parameters)
    q = agent.critic(batch.obs[:, -1], agent.actor.sample(batch.obs[:, -1], noise.policy))[0]
    expected = torch.autograd.grad(-(batch.weight * q).mean() / metrics["actor/q_scale"], parameters)
    assert (q > 0).all()
    assert max(part.abs().max() for part in expected) > 1e-5
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-8)


def act_many(agent: Any, draws: int = 400) -> torch.Tensor:
    history = History(
        torch.zeros(draws, 1, 3), torch.zeros(draws, 1, ACT), torch.ones(draws, 1, dtype=torch.bool)
    )
    return agent.act(history, generators(draws), explore=False)[:, 0]


def test_candidates_are_chosen_by_the_target_critic() -> None:
    """A target critic that likes the first coordinate moves the choice; one candidate leaves none."""
    plain, choosy, greedy = tiny(candidates=1), tiny(candidates=20), tiny(candidates=20, temperature=0.0)
    for agent in (choosy, greedy):
        agent.load_state_dict({**agent.state_dict(), "actor": plain.actor.state_dict()})

        def like(obs: torch.Tensor, actions: torch.Tensor, members: None = None) -> torch.Tensor:
            return 4 * actions[:, 0].expand(2, -1)

        agent.target.forward = like
    means = [act_many(agent)[:, 0].mean().item() for agent in (plain, choosy, greedy)]
    assert means[0] + 0.2 < means[1] < means[2]


def test_paper_preset_holds_the_table() -> None:
    found = preset("paper", "d4rl:antmaze-large-diverse-v0")
    assert found["eta"] == 3.5
    assert found["max_q_backup"] is True
    assert found["actor_clip"] == found["critic_clip"] == 7
    assert found["run.reward"] == "cql_antmaze"
    assert found["run.steps"] == 1_000_000
    assert preset("paper", "d4rl:pen-human-v1")["actor_lr"] == 3e-5
    assert "eta" not in preset("paper", "MyRobot-v0")
    assert preset("paper", "halfcheetah-medium-v2")["decay"] == "as_run"
    assert preset("paper", "hopper-medium-expert-v2")["run.select_rank"] == 2


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ema_before", "random", "copy or initial"), ("critics", 0, "at least 1"),
        ("temperature", -1.0, "negative"), ("schedule", "cosin", "did you mean 'cosine'"),
        ("solver", "dpm", "still noise"), ("decay", "line", "decay"), ("activation", "mihs", "there are"),
        ("critic_norm", "befor", "did you mean 'before'"), ("diffusion_steps", 0, "at least 1 step"),
    ],
)  # fmt: skip
def test_bad_configs_are_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(tiny().config, **{field: value}).validate()
