"""The comparison with d3rlpy: every row is an agent here, and our side learns from batches of that size."""

import sys
from pathlib import Path

import pytest

from trajrl.agents import AGENTS

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import peer_updates


def test_every_row_has_an_agent_here_and_an_algorithm_there():
    assert set(peer_updates.ALGORITHMS) == {*peer_updates.PEERS, *peer_updates.IN_JAX}
    assert set(peer_updates.ALGORITHMS) <= set(AGENTS)


@pytest.mark.parametrize("name", peer_updates.ALGORITHMS)
def test_our_side_learns_from_a_batch_of_the_size_that_the_row_says(name, monkeypatch):
    monkeypatch.setattr(peer_updates, "EPISODES", 2)
    batch = peer_updates.ALGORITHMS[name][0]
    update = peer_updates.of_trajrl(name, peer_updates.columns())()
    assert update.td_error.shape == (batch,)
    assert update.metrics["critic/loss"].isfinite()
