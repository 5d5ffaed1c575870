"""The gauge of the choice finds what was put in: spread, correlation and gain, with the noise taken off."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trajrl.agents import make_config

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from choice import WAYS, Measured, facts, table, ways


def made(rho: float, noise: float, states: int = 4000) -> Measured:
    """Candidates worth 2 N(0, 1) each, judged by 3 N(0, 1) that agree by rho, returns under noise."""
    rng = np.random.default_rng(0)
    worth = rng.normal(size=(states, 8))
    judged = rho * worth + np.sqrt(1 - rho**2) * rng.normal(size=worth.shape)
    state = 10 * rng.normal(size=(states, 1))
    q = (state + 3 * judged)[:, None].repeat(2, 1)  # two critics that agree
    shared = rng.normal(size=(states, 1, 4))  # the noise that all candidates of a repeat share
    returns = (state + 2 * worth)[..., None] + 5 * shared + noise * rng.normal(size=(states, 8, 4))
    return Measured(q, returns)


@pytest.mark.parametrize("noise", [0.0, 4.0])
@pytest.mark.parametrize("rho", [0.0, 0.5, -0.5])
def test_the_gauge_finds_what_was_put_in(rho, noise):
    found = facts(made(rho, noise))
    shrink = np.sqrt(7 / 8)  # of a spread about the mean of eight
    assert found["real"] == pytest.approx(2 * shrink, rel=0.05)
    assert found["claimed"] == pytest.approx(3 * shrink, rel=0.03)
    assert found["rho"] == pytest.approx(rho, abs=0.04)
    assert found["gain"] == pytest.approx(2 * rho * 1.4236, abs=0.15)  # E max of eight N(0, 1)
    assert found["low"] < found["gain"] < found["high"]
    assert found["across"] == pytest.approx(1, abs=0.1)
    assert found["doubt"] == 0


def test_where_nothing_is_worth_more_the_correlation_is_not_known():
    rng = np.random.default_rng(0)
    found = facts(Measured(rng.normal(size=(50, 2, 4)), np.ones((50, 4, 3))))
    assert found["real"] == 0
    assert np.isnan(found["rho"])


def test_critics_that_disagree_are_doubted():
    rng = np.random.default_rng(0)
    q = rng.normal(size=(500, 5, 8))
    assert facts(Measured(q, rng.normal(size=(500, 8, 3))))["doubt"] > 1


def test_the_table_has_a_line_for_each_policy():
    row = {"data": "d", "sampler": "uniform", "seed": 1, "step": 10, "by": "choice"} | facts(
        made(0.5, 1.0, 40)
    )
    assert len(table(pd.DataFrame([row, row])).splitlines()) == 4


def test_a_policy_has_a_line_and_a_way_a_column():
    row = {"data": "d", "sampler": "uniform", "step": 10, "seed": 1, "score": 1.0, "error": 0.5}
    rows = [row | {"way": way} for way in WAYS] + [row | {"step": 20, "way": "one"}]
    lines = ways(pd.DataFrame(rows)).splitlines()
    assert len(lines) == 4
    assert all(way in lines[0] for way in WAYS)
    assert lines[3].count("1.0 +- 0.5") == 1


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_one_that_the_agent_knows(way):
    made = make_config("trajectory_ql", critics=5, **WAYS[way])
    assert {name: getattr(made, name) for name in WAYS[way]} == WAYS[way]
