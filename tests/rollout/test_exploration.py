"""Who acts online, and with how much noise."""

import torch
from actors import Constant

from trajrl.agents.base.protocol import History
from trajrl.rollout.policies import NoisyPolicy, RandomPolicy
from trajrl.training.config import RunConfig
from trajrl.training.online import collecting_actor


def history(rows: int) -> History:
    return History(torch.zeros(rows, 1, 2), torch.zeros(rows, 1, 1), torch.ones(rows, 1, dtype=torch.bool))


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_noise_has_the_deviation_asked_for_and_stays_in_the_box():
    actor = NoisyPolicy(Constant(1, 0.0), 0.2)
    found = torch.cat([actor.act(history(1), generators(seed), True) for seed in range(2000)])
    assert abs(found.std() - 0.2) < 0.01
    assert NoisyPolicy(Constant(1, 0.9), 5.0).act(history(50), generators(*range(50)), True).abs().max() == 1


def test_the_noise_of_a_row_does_not_depend_on_the_rows_beside_it():
    actor = NoisyPolicy(Constant(1, 0.0), 0.2)
    alone = actor.act(history(1), generators(7), True)
    beside = actor.act(history(3), generators(5, 7, 9), True)
    assert torch.equal(alone[0], beside[1])


def test_random_actions_come_only_before_learning_and_only_if_asked():
    agent = Constant(1, 0.5)
    random = RunConfig(begin_with="random", learning_starts=10)
    assert isinstance(collecting_actor(agent, random, 9), RandomPolicy)
    assert collecting_actor(agent, random, 10) is agent
    assert collecting_actor(agent, RunConfig(learning_starts=10), 0) is agent
    assert isinstance(collecting_actor(agent, RunConfig(explore_noise=0.1), 0), NoisyPolicy)
