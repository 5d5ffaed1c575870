"""critic_warmup: the rates of critics and values rise over the first updates online, the policy's do not."""

from __future__ import annotations

import pytest
from flow_windows import ACT, OBS, random_windows

from trajrl.agents import make_agent
from trajrl.core.rng import torch_stream


@pytest.mark.parametrize("name", ["acfql", "iql"])
def test_rates_of_values_rise_and_the_policys_stay(name):
    agent = make_agent(name, OBS, ACT, width=16, depth=2, decay="none", critic_lr=1.0, actor_lr=1.0)
    agent.updates = 100  # made offline
    agent.raise_rates(100, 4)
    rates = []
    for _ in range(5):
        agent.prepare()
        rates.append(float(agent.critic_optimiser.rate))
        assert float(agent.actor_optimiser.rate) == 1.0
        agent.updates += 1
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_without_it_an_update_has_the_bits_that_it_had():
    left, right = (make_agent("acfql", OBS, ACT, width=16, depth=2, seed=3) for _ in range(2))
    right.raise_rates(0, 1)
    for agent in (left, right):
        agent.update(random_windows(agent.spec, 9), torch_stream(0, "agent", 1))
    pairs = zip(left.critic.parameters(), right.critic.parameters(), strict=True)
    assert all((a == b).all() for a, b in pairs)


def test_the_config_of_a_run_reaches_the_agent(tmp_path):
    from small_runs import small_online, trained, write_store

    store = write_store(tmp_path / "x.h5", episodes=4)
    trained(tmp_path / "before", store, agent="acfql", steps=6)
    run = small_online(tmp_path / "after", tmp_path / "before", critic_warmup=10, env_steps=30)
    run.agent.prepare()
    assert float(run.agent.critic_optimiser.rate) == pytest.approx(3e-4 / 10)
    run.online.collector.close()
