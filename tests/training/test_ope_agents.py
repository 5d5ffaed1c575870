"""Every agent can be judged by its own actions, and by its own losses where it has them."""

from dataclasses import fields

import numpy as np
import pytest
from episodes import random_episode
from small_runs import TINY

from trajrl.agents import AGENTS, make_agent
from trajrl.core.registry import find
from trajrl.store.store import TrajectoryStore
from trajrl.training.ope.losses import bc_loss, td_error
from trajrl.training.ope.windows import policy_windows, steps_of, whole_windows

TINY_OF = {"edp": {"diffusion_steps": 30, "solver_steps": 4}}  # what fewer levels would not allow
NO_CRITIC, NO_CLONING = {"bc_diffusion"}, {"sac", "cql", "cal_ql", "rlpd"}


@pytest.fixture(scope="module")
def store():
    made = [random_episode(3, index) for index in range(6)]
    found = TrajectoryStore.of(made)
    found.set_shaping(action=lambda actions: actions.clamp(-1, 1))
    return found


@pytest.fixture(params=sorted(AGENTS))
def agent(request, store):
    """Return an untrained agent, with history, chunk and horizon where it has such."""
    known = {f.name for f in fields(find(AGENTS, request.param, "agent").Config)}
    own = {**TINY, "chunk": 2, "horizon": 2 if "chunk" in known else 3}
    own |= TINY_OF.get(request.param, {})
    made = make_agent(request.param, 3, 2, **{name: v for name, v in own.items() if name in known})
    made.name = request.param
    return made


def test_an_agent_is_judged_by_what_it_does(agent, store):
    chunk = agent.spec.chunk
    anchors = whole_windows(store, steps_of(store, np.arange(6), 99, 0), chunk)
    found = policy_windows(store, anchors, agent, 0.9, horizon=2 * chunk)
    assert found.next_actions.shape == (len(anchors.step), chunk * 2)
    assert float(found.next_actions.abs().max()) <= 1
    assert found.obs.shape[1] == (3 if agent.spec.history == 1 else agent.spec.history * 6)
    assert hasattr(agent, "log_prob") == (agent.name in {"iql", "awac", "sac", "cql", "cal_ql"})


def test_losses_are_there_where_the_agent_has_them(agent, store):
    longest = int(store.table.length.argmax())
    error = td_error(agent, store, longest, 0)
    assert (error > 0) == (agent.name not in NO_CRITIC)
    assert np.isfinite(bc_loss(agent, store, longest, 0)) == (agent.name not in NO_CLONING)
