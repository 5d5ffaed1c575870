"""An update is one program for all updates of a stage: recorded once, it continues as the agent itself would.

A CUDA graph replays kernels on the same memory.  Here a tracer stands for it: what it replays is the list of
operations of one update, so a number that the host decided, or read back, is frozen in it and found out.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from flow_windows import ACT, OBS, random_windows
from test_contract import OTHER_CHOICES, ROWS, same, tiny
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from trajrl.agents import AGENTS, make_agent
from trajrl.core.registry import find
from trajrl.core.rng import torch_stream
from trajrl.store.window import SequenceBatch
from trajrl.training.cuda_graph import WARM, Program, RecordedUpdates, record_updates

ON_THE_HOST = {"stratified_ql"}  # agents that judge rows on the host while they learn
CHOICES = [(name, {}) for name in sorted(AGENTS)]
CHOICES += [(name, choice) for name, choices in OTHER_CHOICES.items() for choice in choices]
CHOICES += [
    ("trajectory_ql", {"q_start": 5, "q_ramp": 4}),
    ("rlpd", {"utd": 3}),
    ("td3_bc", {"policy_delay": 3}),
    ("trajectory_ql", {"history": 1}),
]
QUICK = ("td3_bc", "sac", "bc_diffusion", "trajectory_ql")  # each as it is; make test-all traces every choice
FEW = [
    pytest.param(*case, marks=() if case in [(name, {}) for name in QUICK] else pytest.mark.slow)
    for case in CHOICES
]
ROUNDED = {"rtol": 1e-3, "atol": 1e-4}  # gradients of half precision, summed in another order


def slow(name: str, **choice: Any) -> Any:
    """Return an agent whose rates, and slow copies where it has them, change from update to update."""
    known = {field.name for field in fields(find(AGENTS, name, "agent").Config)}
    moving = {"ema_every": 3, "ema_start": 4, "decay": "update", "decay_steps": 30}
    return tiny(name, **{key: value for key, value in moving.items() if key in known}, **choice)


def windows(agent: Any, seed: int = 0) -> SequenceBatch:
    return random_windows(agent.spec, ROWS * agent.updates_per_batch, seed=seed)


def traced(agent: Any) -> Callable[[Program], Program]:
    """Return a recorder: it writes down the operations of a program, and undoes what tracing them did."""

    def record(program: Program) -> Program:
        before = deepcopy(agent.state_dict())
        operations = make_fx(program)()
        agent.load_state_dict(before)
        return torch.no_grad()(operations)

    return record


class NoWaiting(TorchDispatchMode):
    """Refuses what makes a device's queue wait for the host: reading a number, or bringing one over."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in WAITS, f"{func} waits for the host"
        return func(*args, **(kwargs or {}))


WAITS = {
    torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default, torch.ops.aten.lift_fresh.default,
}  # fmt: skip


@pytest.mark.parametrize(("name", "choice"), FEW, ids=str)
def test_recorded_updates_are_the_agents_own(name, choice):
    own, recorded = slow(name, **choice), slow(name, **choice)
    recorded.learn = stand_in = RecordedUpdates(recorded, traced(recorded))
    for step in range(14):
        batch = windows(own, step)
        expected = own.update(batch, torch_stream(0, "agent", step))
        found = recorded.update(batch, torch_stream(0, "agent", step))
        assert list(found.metrics) == list(expected.metrics)
        torch.testing.assert_close(found.td_error, expected.td_error)
        for metric, value in expected.metrics.items():
            torch.testing.assert_close(found.metrics[metric], value, check_dtype=False)
    torch.testing.assert_close(recorded.state_dict(), own.state_dict())
    assert bool(stand_in.records) != (name in ON_THE_HOST)


@pytest.mark.parametrize(
    "name",
    ["edp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("acfql", "diffusion_ql", "rlpd"))],
)
def test_in_half_precision_too(name):
    agents = slow(name), slow(name)
    agents[1].substitute("learn", RecordedUpdates(agents[1], traced(agents[1])))
    for step in range(8):
        with torch.autocast("cpu", torch.bfloat16):
            expected, found = (
                agent.update(windows(agent, step), torch_stream(0, "agent", step)) for agent in agents
            )
        for metric, value in expected.metrics.items():
            torch.testing.assert_close(found.metrics[metric], value, check_dtype=False, **ROUNDED)


@pytest.mark.parametrize(("name", "choice"), CHOICES, ids=str)
def test_what_is_recorded_never_waits_for_the_host(name, choice):
    agent = slow(name, **choice)
    batch, watched = windows(agent), 0
    for step in range(12):  # past every start, ramp and delay of these choices
        noise = agent.draw(batch, torch_stream(0, "agent", step))
        agent.prepare()
        with nullcontext() if agent.stage() is None else NoWaiting() as mode:
            agent.learn(batch, noise)
        watched += mode is not None
        agent.updates += 1
    assert bool(watched) != (name in ON_THE_HOST)


def test_a_number_read_from_the_device_is_found():
    with NoWaiting(), pytest.raises(AssertionError, match="waits for the host"):
        float(torch.ones(()) + 1)


def test_a_decision_that_no_stage_tells_is_found():
    agents = own, recorded = slow("diffusion_ql"), slow("diffusion_ql")
    recorded.stage = lambda: ()
    recorded.substitute("learn", RecordedUpdates(recorded, traced(recorded)))
    for step in range(12):
        for agent in agents:
            agent.update(windows(agent, step), torch_stream(0, "agent", step))
    assert not same(own.ema_actor.state_dict(), recorded.ema_actor.state_dict())


def test_metrics_of_an_update_outlive_the_next():
    agent = slow("bc_diffusion")
    kept = torch.zeros(1)

    def record(program):
        names = [part.clone() for part in program()]

        def again():
            kept.add_(1)
            return tuple(part.copy_(kept.expand_as(part)) for part in names)

        return again

    agent.substitute("learn", RecordedUpdates(agent, record))
    printed = [agent.update(windows(agent), torch_stream(0, "agent", step)) for step in range(WARM + 2)]
    assert [update.metrics["actor/bc_loss"].item() for update in printed[WARM:]] == [1, 2]
    assert [update.td_error[0].item() for update in printed[WARM:]] == [1, 2]


def test_another_batch_size_is_another_record():
    agent = slow("bc_diffusion")
    agent.learn = stand_in = RecordedUpdates(agent, traced(agent))
    for rows in (5, 7) * (WARM + 1):
        agent.update(random_windows(agent.spec, rows), torch_stream(0, "agent", 0))
    assert len(stand_in.records) == 2


def test_where_nothing_can_be_recorded_one_line_says_what_to_do():
    with pytest.raises(ValueError, match="graph=true needs a CUDA device; this run is on cpu: leave it out"):
        record_updates(tiny("bc_diffusion"))
    with pytest.raises(ValueError, match="graph=true serves one process, and 2 learn together"):
        record_updates(tiny("bc_diffusion"), processes=2)

    own = SimpleNamespace(device=torch.device("cuda"), update=print)
    with pytest.raises(ValueError, match="SimpleNamespace has an `update` of its own"):
        record_updates(own)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_cuda_graph_goes_on_as_the_agent_would():
    own, recorded = (
        make_agent("diffusion_ql", OBS, ACT, seed=1, device="cuda", width=16, ema_start=4) for _ in range(2)
    )
    record_updates(recorded)
    for step in range(24):
        batch = SequenceBatch._make(None if part is None else part.cuda() for part in windows(own, step))
        expected, found = (agent.update(batch, torch_stream(0, "agent", step)) for agent in (own, recorded))
        torch.testing.assert_close(found.td_error, expected.td_error, rtol=1e-4, atol=1e-5)
