"""A student proposes what an agent chooses from, in every agent whose policy is a diffusion chain."""

from __future__ import annotations

import pytest
import torch
from flow_windows import generators, random_windows
from test_contract import tiny

from trajrl.agents import AGENTS
from trajrl.agents.base.learner import histories
from trajrl.agents.base.proposer import ChainAgent
from trajrl.core.rng import torch_stream
from trajrl.nets.denoiser import DiffusionPolicy
from trajrl.nets.one_step import OneStep

CHAINS = [name for name in sorted(AGENTS) if isinstance(tiny(name), ChainAgent)]


def test_the_agents_with_a_chain_are_those_whose_policy_is_a_diffusion():
    assert {"bc_diffusion", "diffusion_ql", "trajectory_ql"} < set(CHAINS)
    for name in sorted(AGENTS):
        nets = [net for part in tiny(name).parts.values() for net in getattr(part, "modules", list)()]
        assert any(isinstance(net, DiffusionPolicy) for net in nets) == (name in CHAINS)


@pytest.mark.parametrize("name", CHAINS)
def test_actions_are_the_students_while_it_acts_and_the_chains_again_after(name):
    agent, rows = tiny(name), 4
    history = histories(random_windows(agent.spec, rows))[0]
    before = agent.act(history, generators(rows), False)
    student = OneStep(agent.acting_chain(history)[0], torch_stream(0, "student"))
    with torch.no_grad():
        student.net.weights(-1)[0].zero_()
        student.net.weights(-1)[1].fill_(0.25)
    agent.act_by(student)
    assert torch.equal(agent.act(history, generators(rows), False), torch.full_like(before, 0.25))
    agent.act_by(None)
    assert torch.equal(agent.act(history, generators(rows), False), before)


def test_the_second_actor_is_the_chain_where_it_acts():
    agent = tiny("stratified_ql", act_ema=False)
    history = histories(random_windows(agent.spec, 2))[0]
    assert agent.acting_chain(history)[0] is agent.second.head
