"""Flow Q-learning over chunks: each term against a slow formula, windows cut short, presets, a bandit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from flow_windows import (
    ACT,
    OBS,
    at_anchor,
    bandit_windows,
    corner,
    generators,
    poisoned,
    random_windows,
    reward_after,
    small,
    weights_of,
)  # fmt: skip
from torch import Tensor

from trajrl import Anchors, Episode, SequenceBatch, TrajectoryStore, WindowSpec, gather
from trajrl.agents import make_agent, make_config
from trajrl.agents.acfql import ACFQL, PRESETS, Config, preset
from trajrl.agents.presets.acfql import FQL, FQL_ONLINE
from trajrl.core.rng import stream, torch_stream


def one_window(rewards: list[float], steps: int, terminated: bool) -> SequenceBatch:
    """Make one window of horizon 3 by hand; the golden case of the N-step target."""
    batch, mask = bandit_windows(WindowSpec(1, 3, 3), 1, 0, corner), torch.arange(3)[None] < steps
    return batch._replace(
        rewards=torch.tensor([rewards]) * mask, mask=mask, action_mask=mask, steps=torch.tensor([steps]),
        terminated=torch.tensor([terminated]),
    )  # fmt: skip


def value_of(agent: ACFQL, net: torch.nn.Module, obs: Tensor, chunk: Tensor) -> Tensor:
    """Return the pooled Q of one row, critic by critic."""
    q = torch.stack([net.head(obs[None], chunk[None])[j, 0] for j in range(agent.config.critics)])
    return q.min() if agent.config.q_agg == "min" else q.mean()


def flow_by_hand(agent: ACFQL, obs: Tensor, noise: Tensor) -> Tensor:
    """Return the flow's sample of one row, with the whole network called at each step."""
    x, steps = noise[None], agent.config.flow_steps
    for j in range(steps):
        x = x + agent.actor.head(obs[None], x, torch.tensor([[j / steps]])) / steps
    return x[0].clamp(-1, 1)


def policy_by_hand(agent: ACFQL, obs: Tensor, noise: Tensor) -> Tensor:
    """Return the chosen chunk of one row from noise (M, D)."""
    if agent.config.actor == "distill":
        return agent.one_step(torch.cat((obs, noise[0])))[: agent.size].clamp(-1, 1)
    chunks = [flow_by_hand(agent, obs, one) for one in noise]
    return max(chunks, key=lambda chunk: float(value_of(agent, agent.critic, obs, chunk[: agent.seen])))


def rows_of(batch: SequenceBatch) -> Iterator[tuple[int, SequenceBatch]]:
    for i in range(len(batch.steps)):
        yield i, SequenceBatch(*(None if part is None else part[i] for part in batch))


@pytest.mark.parametrize(
    ("steps", "terminated", "target"), [(3, False, 12.52), (2, False, 10.9), (2, True, 2.8)]
)
def test_target_of_whole_cut_and_terminated_chunks(steps, terminated, target):
    agent = small("acfql", chunk=3, gamma=0.9)
    agent.next_value = lambda *_: torch.tensor([10.0])
    batch = one_window([1.0, 2.0, 3.0], steps, terminated)
    metrics = agent.critic_loss(batch, agent.draw_noise(batch, torch_stream(0, "a")))[2]
    assert metrics["critic/target_mean"].item() == pytest.approx(target, abs=1e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {"chunk": 3}, {"chunk": 3, "partial_chunks": "drop"}, {"chunk": 1}, {"chunk": 1, "horizon": 4},
        {"chunk": 3, "critic_chunk": 2, "horizon": 4, "q_agg": "min"}, {"chunk": 2, "beta": 0.5},
        {"chunk": 2, "actor": "best_of_n", "samples": 5},
        {"chunk": 3, "critic_chunk": 1, "beta": 0.0, "actor": "best_of_n", "samples": 3},
    ],
)  # fmt: skip
def test_critic_loss_is_its_formula(fields):
    agent = small("acfql", gamma=0.9, **fields)
    tilt(agent)
    config, batch = agent.config, random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(1, "agent"))
    squares, errors, counted = [], [], 0
    with torch.no_grad():
        for i, row in rows_of(batch):
            k = int(row.steps)
            y = sum(0.9**j * row.rewards[j] for j in range(k))
            if not row.terminated:
                chunk = policy_by_hand(agent, row.next_obs[-1], noise.next[i])[: agent.seen]
                value = value_of(agent, agent.target, row.next_obs[-1], chunk)
                if config.beta < 1 and row.next_mask[: config.seen].all():
                    own = value_of(
                        agent, agent.target, row.next_obs[-1], row.next_actions[: config.seen].flatten()
                    )
                    value = (1 - config.beta) * own + config.beta * value
                y = y + 0.9**k * value
            used = config.partial_chunks == "pad" or k == agent.spec.n
            q = agent.critic.head(row.obs[-1][None], row.actions.flatten()[None, : agent.seen])[:, 0]
            squares.append(row.weight * (q - y).square().mean() * used)
            errors.append((q - y).abs().mean() if used else torch.tensor(torch.nan))
            counted += 1
    loss, td_error, _ = agent.critic_loss(batch, noise)
    torch.testing.assert_close(loss, sum(squares) / counted)
    torch.testing.assert_close(td_error, torch.stack(errors), equal_nan=True)


@pytest.mark.parametrize("chunk", [4, 1])
def test_targets_past_marks_are_those_of_the_published_code(chunk):
    """Rewards are summed over the whole horizon, and one solved step in it takes the bootstrap."""
    agent = small("acfql", chunk=chunk, horizon=4, gamma=0.9, partial_chunks="drop")
    rng, marks = stream(0, "marks"), np.array([0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0], bool)
    rewards = rng.standard_normal(12).astype(np.float32)
    episode = Episode(np.zeros((13, OBS)), np.zeros((12, ACT)), rewards, False, extras={"terminal": marks})
    anchors = Anchors(np.zeros(12, np.int64), np.arange(12), np.ones(12, np.float32))
    batch = gather(TrajectoryStore.of([episode]), anchors, agent.spec)
    agent.next_value = lambda *_: torch.full((12,), 10.0)
    agent.critic.head.forward = lambda context, actions: torch.zeros(2, len(actions))
    td_error = agent.critic_loss(batch, agent.draw_noise(batch, torch_stream(0, "a")))[1]
    for t in range(9):
        summed, mask = 0.0, 1.0
        for i in range(4):
            summed += 0.9**i * rewards[t + i]
            mask = min(mask, 1.0 - marks[t + i])
        assert td_error[t].item() == pytest.approx(abs(summed + 0.9**4 * mask * 10), rel=1e-5)
    assert td_error[9:].isnan().all()


def tilt(agent: ACFQL) -> None:
    """Move the targets and the policy away from where they start, so that no two networks agree."""
    rng = torch_stream(9, "tilt")
    for part in agent.parts.values():
        if isinstance(part, torch.nn.Module):
            for parameter in part.parameters():
                parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=rng))


def test_drop_leaves_cut_windows_to_the_actor_alone():
    agent = small("acfql", chunk=3, partial_chunks="drop")
    batch = one_window([1.0, 2.0, 3.0], 2, False)
    loss, td_error, metrics = agent.critic_loss(batch, agent.draw_noise(batch, torch_stream(0, "a")))
    assert (loss.item(), metrics["critic/used_share"].item()) == (0, 0)
    assert td_error.isnan().all()  # a row that was not used says nothing of its episode
    assert agent.actor_loss(batch, agent.draw_noise(batch, torch_stream(0, "a")))[0].item() != 0


def test_a_chunk_that_terminates_at_its_last_step_is_not_dropped():
    agent = small("acfql", chunk=3, partial_chunks="drop", gamma=0.5)
    batch = one_window([1.0, 2.0, 4.0], 3, True)
    metrics = agent.critic_loss(batch, agent.draw_noise(batch, torch_stream(0, "a")))[2]
    assert metrics["critic/used_share"].item() == 1
    assert metrics["critic/target_mean"].item() == pytest.approx(3.0)


@pytest.mark.parametrize("count_padding", [False, True])
@pytest.mark.parametrize("normalize_q", [False, True])
def test_actor_loss_is_its_formula(count_padding, normalize_q):
    agent = small("acfql", chunk=3, alpha=2.0, count_padding=count_padding, normalize_q=normalize_q)
    tilt(agent)
    batch = random_windows(agent.spec)
    noise = agent.draw_noise(batch, torch_stream(1, "agent"))
    flow, distill, q_sum, size, valid = 0.0, 0.0, 0.0, 0.0, 0
    with torch.no_grad():
        for i, row in rows_of(batch):
            obs, start, u, k = row.obs[-1], noise.flow[i], noise.time[i], int(row.action_mask.sum())
            x = (1 - u) * start + u * row.actions.flatten()
            error = agent.actor.head(obs[None], x[None], u[None])[0] - (row.actions.flatten() - start)
            flow += row.weight * error[: k * ACT].square().sum()
            valid += agent.size if count_padding else k * ACT
            mu = agent.one_step(torch.cat((obs, noise.policy[i])))
            goal = flow_by_hand(agent, obs, noise.policy[i])
            distill += row.weight * (mu - goal).square().mean() / len(batch.steps)
            q = agent.critic.head(obs[None], mu.clamp(-1, 1)[None]).mean()
            q_sum += row.weight * q / len(batch.steps)
            size += row.weight * q.abs() / len(batch.steps)
    loss, metrics = agent.actor_loss(batch, noise)
    torch.testing.assert_close(metrics["actor/bc_loss"], flow / valid)
    torch.testing.assert_close(metrics["actor/distill_loss"], distill)
    torch.testing.assert_close(metrics["actor/q_loss"], -q_sum / size if normalize_q else -q_sum)
    torch.testing.assert_close(loss, flow / valid + 2 * distill + metrics["actor/q_loss"])


def test_one_update_is_one_adam_over_the_sum_of_losses():
    fields = {"chunk": 2, "normalize_q": False}
    agent, plain = small("acfql", **fields), small("acfql", **fields)
    nets = [plain.actor, plain.one_step, plain.critic]
    adam = torch.optim.Adam([p for net in nets for p in net.parameters()], 3e-4)
    for step in range(3):
        batch = random_windows(agent.spec, seed=step)
        agent.update(batch, torch_stream(0, "agent", step))
        noise = plain.draw_noise(batch, torch_stream(0, "agent", step))
        actor = plain.actor_loss(batch, noise)[0]
        critic_part = torch.autograd.grad(actor, list(plain.critic.parameters()), retain_graph=True)
        adam.zero_grad()
        (plain.critic_loss(batch, noise)[0] + actor).backward()
        for parameter, through_q in zip(plain.critic.parameters(), critic_part):
            parameter.grad -= through_q  # the Q term gives the critic no gradient
        adam.step()
        for target, online in zip(plain.target.parameters(), plain.critic.parameters()):
            target.data.lerp_(online.data, 0.005)
    for name, value in weights_of(plain).items():
        torch.testing.assert_close(weights_of(agent)[name], value, rtol=1e-4, atol=1e-6)


def test_late_targets_follow_the_critic_before_its_step():
    agent = small("acfql", late_targets=True, critic_lr=0.1, tau=0.5)
    before = weights_of(agent)
    batch = random_windows(agent.spec)
    agent.update(batch, torch_stream(0, "a"))
    after = weights_of(agent)
    target = {name: value for name, value in after.items() if name.startswith("target.head")}
    assert target
    for name, value in target.items():
        torch.testing.assert_close(value, before[name])  # target and critic were equal, so nothing moved yet
        assert not torch.equal(after[name.replace("target", "critic", 1)], before[name])


def test_best_of_n_gives_the_actor_no_q_gradient():
    agent = small("acfql", actor="best_of_n", samples=3)
    batch = random_windows(agent.spec)
    loss, _ = agent.actor_loss(batch, agent.draw_noise(batch, torch_stream(0, "a")))
    found = torch.autograd.grad(loss, list(agent.critic.parameters()), allow_unused=True)
    assert found == (None,) * len(found)
    assert "one_step" not in agent.parts


@pytest.mark.parametrize("actor", ["distill", "best_of_n"])
def test_beta_one_is_the_plain_target_bit_for_bit(actor):
    agent = small("acfql", chunk=2, actor=actor, samples=3)
    batch = random_windows(replace(agent.spec, next_actions=True))
    noise = agent.draw_noise(batch, torch_stream(0, "a"))
    plain = agent.critic_loss(random_windows(agent.spec), noise)[0]
    assert torch.equal(agent.critic_loss(batch, noise)[0], plain)
    assert not small("acfql", beta=1.0).spec.next_actions


def test_sarsa_pairs_the_bootstrap_with_the_chunk_that_starts_there():
    agent = small("acfql", chunk=2, beta=0.0)
    batch = random_windows(agent.spec)
    seen = []
    agent.target.head.forward = lambda context, chunk: seen.append(chunk) or torch.zeros(2, len(chunk))
    agent.critic_loss(batch, agent.draw_noise(batch, torch_stream(0, "a")))
    whole = batch.next_mask.all(1)
    assert whole.any()
    assert not whole.all()
    assert torch.equal(seen[1][whole], batch.next_actions[whole].flatten(1))


def test_padding_is_never_read():
    agent = small("acfql", chunk=4, history=3, gru_width=8, beta=0.5)
    batch = random_windows(agent.spec)
    for clean, dirty in zip(
        agent.update(batch, torch_stream(0, "a")),
        small("acfql", chunk=4, history=3, gru_width=8, beta=0.5).update(
            poisoned(batch), torch_stream(0, "a")
        ),
    ):
        torch.testing.assert_close(clean, dirty, rtol=0, atol=0)


@pytest.mark.parametrize("fields", [{}, {"actor": "best_of_n", "samples": 3}, {"history": 4, "gru_width": 8}])
def test_what_a_row_does_depends_on_it_alone(fields):
    agent = small("acfql", **fields)
    history = at_anchor(random_windows(agent.spec), 21)
    together = agent.act(history, generators(21), explore=False)
    for row in (0, 7, 20):
        alone = agent.act(
            type(history)(*(part[row : row + 1] for part in history)), [generators(21)[row]], False
        )
        assert torch.equal(alone[0], together[row])
    assert together.shape == (21, agent.config.chunk, ACT)
    assert together.abs().max() <= 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"actor": "flow"}, "no value of actor 'flow'"),
        ({"chunk": 2, "critic_chunk": 3}, "critic_chunk must not exceed chunk, 2"),
        ({"chunk": 3, "horizon": 2}, "horizon must not be below the critic's chunk, 3"),
        ({"beta": 1.5}, "beta is a share"),
        ({"samples": 0}, "samples must be at least 1"),
    ],
)
def test_fields_that_do_not_fit_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        make_config("acfql", **fields)


def test_the_three_lengths_are_separate():
    spec = Config(chunk=4, critic_chunk=2, horizon=7, history=3).spec
    assert (spec.chunk, spec.n, spec.history) == (4, 7, 3)
    assert Config(chunk=1).spec == WindowSpec(1, 1, 1)
    assert Config(chunk=1, horizon=5).spec == WindowSpec(1, 1, 5)
    agent = small("acfql", chunk=4, critic_chunk=2, horizon=7)
    assert agent.critic.head.net.layers[0].weight.shape[1] == OBS + 2 * ACT


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_configs(name):
    found = preset(name, "any")
    published = {key: found.pop(key) for key in list(found) if key.startswith("run.")}
    config = make_config("acfql", **found)
    assert published.get("run.steps") == (None if config.normalize_q else 1_000_000)
    assert config.normalize_q == (name in ("demo", "small", "standard"))


@pytest.mark.parametrize(
    ("name", "env", "alpha", "q_agg", "gamma"),
    [
        ("fql", "d4rl:antmaze-large-play-v2", 3, "mean", 0.99),
        ("fql", "ogbench:antmaze-giant-navigate-singletask-v0", 10, "min", 0.995),
        ("fql", "ogbench:antmaze-large-navigate-singletask-v0", 10, "min", 0.99),
        ("fql", "ogbench:humanoidmaze-medium-navigate-singletask-v0", 30, "mean", 0.995),
        ("fql_online", "ogbench:humanoidmaze-medium-navigate-singletask-v0", 100, "mean", 0.995),
        ("fql", "ogbench:cube-single-play-singletask-v0", 300, "mean", 0.99),
        ("fql", "ogbench:cube-triple-play-singletask-task2-v0", 100, "mean", 0.99),
        ("fql_n", "ogbench:cube-triple-play-singletask-task2-v0", 100, "mean", 0.99),
        ("fql", "ogbench:puzzle-4x4-play-singletask-v0", 1000, "mean", 0.99),
        ("fql", "d4rl:relocate-human-v1", 10_000, "min", 0.99),
        ("fql_online", "d4rl:relocate-cloned-v1", 10_000, "min", 0.99),
        ("fql", "a robot of my own", 10, "mean", 0.99),
        ("paper", "ogbench:cube-single-play-singletask-v0", 100, "mean", 0.99),
    ],
)
def test_published_alpha(name, env, alpha, q_agg, gamma):
    found = {key: value for key, value in preset(name, env).items() if not key.startswith("run.")}
    config = make_config("acfql", **found)
    assert (config.alpha, config.q_agg, config.gamma) == (alpha, q_agg, gamma)


PUBLISHED = sorted(set(PRESETS) - {"demo", "small", "standard"})


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_are_those_of_the_reference(name):
    found = preset(name, "any")
    assert (found["late_targets"], found["action_margin"], found["run.sampler"]) == (True, 1e-5, "uniform")
    assert "run.env_options" not in found
    for env in ("ogbench:scene-play-singletask-v0", "ogbench:puzzle-3x3-play-singletask-task2-v0"):
        assert preset(name, env)["run.env_options"] == {"sparse": True}
    assert "run.env_options" not in preset(name, "ogbench:puzzle-4x4-play-singletask-v0")


@pytest.mark.parametrize(("name", "actor"), [("fql_n", "distill"), ("bfn_n", "best_of_n")])
def test_the_n_step_forms_see_one_action_and_five_rewards(name, actor):
    found = {key: value for key, value in preset(name, "any").items() if not key.startswith("run.")}
    config = make_config("acfql", **found)
    assert (config.actor, config.spec) == (actor, WindowSpec(1, 1, 5))


def test_actions_of_the_data_are_cut_a_margin_inside_their_box():
    agent = small("acfql", chunk=2, action_margin=0.25, beta=0.0)
    batch = random_windows(agent.spec)
    batch = batch._replace(actions=batch.actions.sign(), next_actions=batch.next_actions.sign())
    assert agent.flat_actions(batch).abs().max() == 0.75
    noise = agent.draw_noise(batch, torch_stream(0, "a"))
    cut = batch._replace(actions=batch.actions * 0.75, next_actions=batch.next_actions * 0.75)
    assert torch.equal(agent.critic_loss(batch, noise)[0], agent.critic_loss(cut, noise)[0])
    assert torch.equal(agent.actor_loss(batch, noise)[0], agent.actor_loss(cut, noise)[0])


def test_no_pattern_of_the_tables_hides_an_earlier_one():
    for table in (FQL, FQL_ONLINE):
        for pattern, _, _ in table:
            sample = "x:" + pattern.replace("*", "")
            assert [p for p, _, _ in table if p.strip("*") in sample] == [pattern]


@pytest.mark.parametrize(
    "fields",
    [
        {"chunk": 1, "alpha": 0.1},
        pytest.param({"chunk": 1, "actor": "best_of_n", "samples": 8}, marks=pytest.mark.slow),
    ],
)
def test_the_bandit_is_learned(fields):
    agent = make_agent("acfql", OBS, ACT, seed=0, width=64, depth=2, actor_lr=1e-3, critic_lr=1e-3, **fields)
    assert reward_after(agent, 0, corner) < 0.1
    assert reward_after(agent, 250, corner) > 0.55
