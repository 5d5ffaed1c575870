"""The flow and Gaussian agents with a history: the contract holds for several observations too."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from flow_windows import at_anchor, generators, random_windows, small, weights_of

from trajrl.core.rng import torch_stream

AGENTS = [
    ("acfql", {}),
    ("acfql", {"actor": "best_of_n", "samples": 3}),
    ("rlpd", {"utd": 2}),
    ("sac", {}),
    ("td3_bc", {}),
]


@pytest.fixture(params=AGENTS, ids=lambda case: "-".join([case[0], *map(str, case[1].values())]))
def agent(request):
    name, fields = request.param
    return small(name, history=4, gru_width=8, **fields)


def test_one_update_changes_every_weight_of_every_gru(agent):
    before = weights_of(agent)
    agent.update(random_windows(agent.spec), torch_stream(0, "a"))
    after = weights_of(agent)
    recurrent = [name for name in after if ".gru." in name]
    assert {name.split(".")[0] for name in recurrent} >= {"actor", "critic", "target"}
    assert not [name for name in recurrent if torch.equal(after[name], before[name])]


def test_saved_and_loaded_goes_on_bit_for_bit(agent):
    batch = random_windows(agent.spec)
    agent.update(batch, torch_stream(0, "a", 1))
    other = type(agent)(agent.obs_dim, agent.action_dim, agent.config, seed=8)
    other.load_state_dict(deepcopy(agent.state_dict()))
    for one in (agent, other):
        one.update(batch, torch_stream(0, "a", 2))
    for name, value in weights_of(agent).items():
        assert torch.equal(weights_of(other)[name], value), name


def test_a_row_acts_the_same_alone_and_in_company(agent):
    history = at_anchor(random_windows(agent.spec), 19)
    together = agent.act(history, generators(19), explore=True)
    for row in (0, 11, 18):
        alone = type(history)(*(part[row : row + 1] for part in history))
        assert torch.equal(agent.act(alone, [generators(19)[row]], explore=True)[0], together[row])


def test_the_past_matters_and_what_came_before_it_does_not(agent):
    history = at_anchor(random_windows(agent.spec), 16)
    full = history._replace(mask=torch.ones_like(history.mask))
    shifted = full._replace(obs=torch.cat((full.obs[:, :1] + 1, full.obs[:, 1:]), 1))
    masked = history.mask.clone()
    masked[:, 0] = False
    base = agent.act(full, generators(16), explore=False)
    assert not torch.equal(agent.act(shifted, generators(16), explore=False), base)
    pair = [agent.act(one._replace(mask=masked), generators(16), explore=False) for one in (full, shifted)]
    assert torch.equal(*pair)


@pytest.mark.parametrize("name", ["acfql", "rlpd", "sac", "td3_bc"])
def test_one_observation_builds_no_gru(name):
    assert not [weight for weight in weights_of(small(name)) if "gru" in weight]
