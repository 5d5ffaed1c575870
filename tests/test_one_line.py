"""What stores, samplers, agents, batches, updates, environments and runs print: one useful line each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trajrl import (
    Episode,
    TrajectoryStore,
    gather,
    make_agent,
    make_sampler,
    make_suite,
    stream,
    torch_stream,
)  # fmt: skip
from trajrl.agents.base.protocol import Update
from trajrl.envs.base.suite import Suite
from trajrl.samplers import SAMPLERS
from trajrl.store.window import WindowSpec
from trajrl.training.config import RunConfig
from trajrl.training.run_dir.load_run import LoadedRun

ROOT = Path(__file__).parents[1]


def episode(steps: int, value: float = 1.0) -> Episode:
    obs, actions = np.zeros((steps + 1, 3), np.float32), np.zeros((steps, 2), np.float32)
    return Episode(obs, actions, np.full(steps, value, np.float32), True)


def two_episodes() -> TrajectoryStore:
    return TrajectoryStore.of([episode(1), episode(3)])


def test_a_store_says_how_much_of_what_and_from_where():
    assert repr(two_episodes()) == "TrajectoryStore(2 episodes, 4 steps, obs (3,), actions (2,), in memory)"
    path = ROOT / "data" / "hopper-skewed.h5"
    wanted = f"75 episodes, 35,994 steps, obs (11,), actions (3,), Hopper-v4, {path}"
    assert repr(TrajectoryStore.open(path)) == f"TrajectoryStore({wanted})"
    assert repr(TrajectoryStore()).startswith("TrajectoryStore(0 episodes, 0 steps, obs (0,), ")


def test_an_episode_says_how_it_ended_and_its_shapes():
    found = "Episode(3 steps, return 6, terminated, obs (4, 3), actions (3, 2), rewards (3,))"
    assert repr(episode(3, 2.0)) == found
    one = replace(episode(2), terminated=False, success=False, source="push", extras={"speed": np.ones(2)})
    assert repr(one).startswith("Episode(2 steps, return 2, truncated, no success, source 'push', obs ")
    assert repr(one).endswith(", speed (2,))")


def test_a_sampler_says_what_is_set_and_what_it_draws_from():
    store = two_episodes()
    found = make_sampler("uniform", store)  # a step is as likely as another: p = 1/4, 3/4
    assert repr(found) == f"UniformSampler(2 of 2 episodes, ess {1 / (1 / 16 + 9 / 16):.1f})"
    assert repr(make_sampler("top", store, share=0.5)) == "TopSampler(share=0.5, 1 of 2 episodes, ess 1.0)"


@pytest.mark.parametrize("name", [*SAMPLERS, "cluster*priority"])
def test_every_sampler_prints_one_line(name):
    found = repr(make_sampler(name, two_episodes()))
    assert found.endswith(")")
    assert "2 of 2 episodes, ess " in found or name == "top"
    assert "\n" not in found


def test_an_agent_says_its_size_and_what_is_set():
    agent = make_agent("td3_bc", 3, 2, width=8)
    found = repr(agent)
    assert found.startswith("TD3BC(obs 3, actions 2, ")
    assert found.endswith(" weights, 0 updates, cpu, width=8)")


def test_a_batch_says_its_shapes():
    store = two_episodes()
    anchors = make_sampler("uniform", store).sample(stream(0, "sampler", 0), 5)
    batch = gather(store, anchors, WindowSpec(history=4, chunk=2, horizon=6))
    assert repr(batch) == "SequenceBatch(obs (5, 4, 3), actions (5, 2, 2), rewards (5, 6), cpu)"
    assert repr(batch._replace(obs=None)).startswith("SequenceBatch(obs NoneType, actions (5, 2, 2)")


def test_an_update_says_its_first_numbers():
    found = Update({"actor/a": torch.tensor(0.5)}, torch.tensor([1.0, 3.0, torch.nan]))
    assert repr(found) == "Update(actor/a 0.5, td_error 2 of 3)"
    many = found._replace(metrics={f"m{i}": torch.tensor(float(i)) for i in range(6)})
    assert repr(many) == "Update(m0 0, m1 1, m2 2, m3 3, 2 more metrics, td_error 2 of 3)"


def test_an_agent_prints_the_updates_it_did():
    store = two_episodes()
    agent = make_agent("td3_bc", 3, 2, width=8)
    anchors = make_sampler("uniform", store).sample(stream(0, "sampler", 0), 5)
    update = agent.update(gather(store, anchors, agent.spec), torch_stream(0, "agent", 0))
    assert ", 1 updates, " in repr(agent)
    assert repr(update).startswith("Update(")


def test_an_environment_says_its_name_its_sizes_and_what_is_set():
    assert repr(make_suite("toy:rooms")) == "ToySuite(toy:rooms, obs 4, actions 2 in [-1, 1])"
    found = repr(make_suite("toy:rooms", reward_shift=1.0))
    assert found == "ToySuite(toy:rooms, obs 4, actions 2 in [-1, 1], reward_shift=1.0)"
    assert repr(Suite.__new__(Suite)) == "Suite(not built)"  # as a debugger sees it where __init__ failed


def test_a_run_says_where_it_is_what_learned_and_how_far_it_came(tmp_path):
    run = LoadedRun(tmp_path, RunConfig(agent="iql", sampler="cluster"))
    assert repr(run) == f"LoadedRun({tmp_path}, iql, offline, sampler cluster, no policy yet)"
    for step in (500, 12_000):
        (tmp_path / "checkpoints" / f"policy-{step:09d}").mkdir(parents=True)
    assert repr(run) == f"LoadedRun({tmp_path}, iql, offline, sampler cluster, step 12,000)"
