"""How likely policies make the data's actions: Gaussians against torch.distributions, chains over windows."""

import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from trajrl.agents import make_agent
from trajrl.agents.base.learner import histories
from trajrl.agents.base.likelihood import log_likelihood
from trajrl.nets.likelihood_bound import likelihood_bound
from trajrl.store.episode import Episode
from trajrl.store.gather import gather
from trajrl.store.store import TrajectoryStore
from trajrl.store.window import Anchors

OBS, ACT, T = 3, 2, 6


def batch_of(agent, edge=False):
    rng = torch.Generator().manual_seed(0)
    obs, actions = torch.randn(T + 1, OBS, generator=rng), torch.rand(T, ACT, generator=rng) * 1.6 - 0.8
    if edge:
        actions[0] = 1.0
    store = TrajectoryStore.of([Episode(obs.numpy(), actions.numpy(), torch.ones(T).numpy(), True)])
    steps = torch.arange(T).numpy()
    return gather(store, Anchors(0 * steps, steps, torch.ones(T).numpy()), agent.spec)


def likely(agent, batch, seed=0):
    return log_likelihood(agent, batch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["sac", "cql", "cal_ql", "iql", "awac"])
@pytest.mark.parametrize("history", [1, 3])
def test_a_gaussian_policy_has_its_density(name, history):
    agent = make_agent(name, obs_dim=OBS, action_dim=ACT, history=history, width=16)
    batch = batch_of(agent)
    context = agent.context(agent.actor.encoder, histories(batch)[0])
    mean, log_std = agent.actor.head(context)
    law = Normal(mean, log_std.exp())
    if name not in ("iql", "awac"):
        law = TransformedDistribution(law, TanhTransform())
    expected = Independent(law, 1).log_prob(batch.actions[:, 0]) / ACT
    torch.testing.assert_close(likely(agent, batch), expected.detach(), rtol=1e-4, atol=1e-5)


def test_an_action_on_the_edge_counts_as_one_just_inside():
    agent = make_agent("sac", obs_dim=OBS, action_dim=ACT, width=16)
    found = likely(agent, batch := batch_of(agent, edge=True))
    inside = batch._replace(actions=batch.actions.clamp(-1 + 1e-5, 1 - 1e-5))
    assert found.isfinite().all()
    torch.testing.assert_close(found, likely(agent, inside))


def test_a_gaussian_chunk_counts_its_real_numbers_alone():
    agent = make_agent("rlpd", obs_dim=OBS, action_dim=ACT, chunk=4, history=2, width=16)
    batch = batch_of(agent)
    found, mask = likely(agent, batch), batch.action_mask
    assert mask.sum(1).tolist() == [4, 4, 4, 3, 2, 1]
    mean, log_std = agent.actor.head(agent.context(agent.actor.encoder, histories(batch)[0]))
    law = TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform())
    each = law.log_prob(batch.actions.flatten(1)).view_as(batch.actions).detach()
    expected = [float(each[i, : int(n)].mean()) for i, n in enumerate(mask.sum(1))]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "lengths"),
    [("bc_diffusion", {"chunk": 4, "history": 3}),
     ("bc_diffusion", {"chunk": 4, "history": 3, "predicts": "action"}),
     ("trajectory_ql", {"chunk": 4, "history": 3}),
     ("trajectory_ql", {"history": 2, "share_encoder": True, "critic_context": "context"}),
     ("qg", {"history": 3}), ("edp", {"history": 3, "diffusion_steps": 30, "solver_steps": 4}),
     ("eg_ood", {}), ("stratified_ql", {"history": 3}), ("diffusion_ql", {})],
)  # fmt: skip
def test_a_chain_is_bounded_by_the_weights_that_act_given_the_whole_history(name, lengths):
    agent = make_agent(name, obs_dim=OBS, action_dim=ACT, width=16, **lengths)
    batch = batch_of(agent)
    found = likely(agent, batch)
    assert found.shape == (T,)
    assert found.isfinite().all()
    here = histories(batch)[0]
    policy, context = agent.acting_chain(here)
    real = batch.action_mask[..., None].expand_as(batch.actions).flatten(1)
    rng = torch.Generator().manual_seed(0)
    same = likelihood_bound(policy, context, agent.flat_actions(batch), real, rng)
    torch.testing.assert_close(found, same.detach())
    if lengths.get("history", 1) > 1:
        earlier = batch._replace(obs=batch.obs.clone())
        earlier.obs[:, 0] += 5.0
        moved = [likely(agent, earlier, seed) != likely(agent, batch, seed) for seed in range(9)]
        assert torch.equal(torch.stack(moved).any(0), batch.history_mask[:, 0])  # one may be cut to the box


def test_the_weights_that_act_are_the_average_where_the_agent_acts_by_it():
    for average in (True, False):
        agent = make_agent("bc_diffusion", obs_dim=OBS, action_dim=ACT, width=16, act_ema=average)
        batch = batch_of(agent)
        before = likely(agent, batch)
        with torch.no_grad():
            for weight in agent.actor.parameters():
                weight.add_(0.1)
        assert torch.equal(likely(agent, batch), before) == average


@pytest.mark.parametrize("name", ["td3_bc", "rebrac", "acfql", "ifql"])
def test_other_policies_have_no_likelihood(name):
    agent = make_agent(name, obs_dim=OBS, action_dim=ACT)
    assert likely(agent, batch_of(agent)) is None
