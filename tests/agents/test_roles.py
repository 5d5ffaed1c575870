"""A batch for the policy and another for the values: each reaches its own terms and no others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_contract import OTHER_CHOICES, same, tiny, windows

from trajrl.agents import AGENTS
from trajrl.agents.base.protocol import Batches
from trajrl.core.registry import find
from trajrl.core.rng import torch_stream
from trajrl.store.window import SequenceBatch
from trajrl.training.cuda_graph import RecordedUpdates

TWO = [name for name in AGENTS if set(find(AGENTS, name, "agent").roles) == {"policy", "values"}]
EVERY_CHOICE = [(name, choice) for name in TWO for choice in [{}, *OTHER_CHOICES.get(name, [])]]


def reversed_rows(batch: SequenceBatch) -> SequenceBatch:
    """Return windows of other numbers: observations and rewards are negated."""
    return batch._replace(obs=-batch.obs, next_obs=-batch.next_obs, rewards=-batch.rewards)


def updated(name: str, choice: dict[str, Any], batches: Any, updates: int = 1) -> tuple[Any, Any]:
    """Return an agent and its last Update; `batches` makes what it learns from of one batch."""
    agent = tiny(name, **choice)
    one = windows(agent)
    for step in range(updates):
        found = agent.update(batches(one), torch_stream(0, "agent", step))
    return agent, found


def test_every_agent_says_which_terms_it_has():
    roles = {name: find(AGENTS, name, "agent").roles for name in AGENTS}
    assert {name for name, found in roles.items() if found != ("policy", "values")} == {"bc_diffusion"}
    assert roles["bc_diffusion"] == ("policy",)


@pytest.mark.parametrize(("name", "choice"), EVERY_CHOICE)
def test_the_same_batch_for_both_roles_is_one_batch(name, choice):
    one, update = updated(name, choice, lambda batch: batch, 3)
    both, again = updated(name, choice, lambda batch: Batches(batch, batch), 3)
    assert same(one.state_dict(), both.state_dict())
    assert same(update, again)


@pytest.mark.parametrize(("name", "choice"), EVERY_CHOICE)
def test_each_batch_reaches_its_own_terms_alone(name, choice):
    one, update = updated(name, choice, lambda batch: Batches(batch, batch))
    other, td = updated(name, choice, lambda batch: Batches(reversed_rows(batch), batch))
    assert same(one.critic.state_dict(), other.critic.state_dict())
    assert torch.equal(update.td_error, td.td_error)
    assert not same(one.actor.state_dict(), other.actor.state_dict())
    other, td = updated(name, choice, lambda batch: Batches(batch, reversed_rows(batch)))
    assert not same(one.critic.state_dict(), other.critic.state_dict())
    assert not torch.equal(update.td_error, td.td_error)


def test_a_recorded_update_reads_both_batches():
    def updates(agent: Any) -> Any:
        for step in range(6):
            one = windows(agent)
            found = agent.update(Batches(one, reversed_rows(one)), torch_stream(0, "agent", step))
        return agent.state_dict(), found

    plain, recorded = tiny("td3_bc", policy_delay=1), tiny("td3_bc", policy_delay=1)
    recorded.substitute("learn", RecordedUpdates(recorded, lambda program: program))
    assert same(updates(plain), updates(recorded))
