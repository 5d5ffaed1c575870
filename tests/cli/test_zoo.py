"""The zoo: what ships and what can be imported."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trajrl.cli.import_agent import IMPORTS
from trajrl.cli.main import dispatch
from trajrl.core.paths import DATA, POLICIES
from trajrl.envs import make_suite
from trajrl.envs.base import reference_scores
from trajrl.rollout.policies import FilePolicy

INDEX = json.loads((POLICIES / "index.json").read_text())["policies"]


@pytest.mark.parametrize("columns", ["50", "80", "110"])
def test_zoo_lists_every_policy_that_ships_and_what_can_be_imported(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert dispatch(["zoo", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out.splitlines()[-1])
    assert set(found["ships"]) == {path.stem for path in POLICIES.glob("*.npz")}
    assert set(found["imports"]) == set(IMPORTS) == {"diffusion_ql"}
    assert all(name in printed.err for name in [*INDEX, *IMPORTS])
    told = [line for line in printed.err.splitlines() if "/" not in line]
    assert max(map(len, told)) <= int(columns)
    said = " ".join(printed.err.split())
    assert all(said.count(one["licence"]) for one in INDEX.values())
    assert all(f"{one['return_mean']:,.0f} +- {one['return_std']:,.0f}" in said for one in INDEX.values())


@pytest.mark.parametrize("name", sorted(INDEX))
def test_a_policy_fits_its_robot_and_its_origin_and_licence_are_those_of_the_readme(name):
    one, policy = INDEX[name], FilePolicy(POLICIES / f"{name}.npz")
    suite = make_suite(one["environment"])
    assert (policy.obs_dim, policy.action_dim) == (suite.obs_dim, suite.action_dim)
    readme = (DATA / "README.md").read_text().splitlines()
    (line,) = [text for text in readme if text.startswith(f"| `{name}.npz`")]
    assert line.endswith(f"| {one['licence']} |")
    assert one["origin"] in line or "as `hopper-medium.npz`" in line


@pytest.mark.parametrize("name", sorted(name for name in INDEX if name.endswith("expert")))
def test_an_expert_returns_what_scores_are_measured_by(name):
    known = reference_scores.table("measured_references")["environments"]
    own = known[INDEX[name]["environment"]]["expert"]
    assert (INDEX[name]["return_mean"], INDEX[name]["return_std"]) == (own["return_mean"], own["return_std"])


def test_medium_lies_between_random_and_expert():
    for robot in ("hopper", "walker2d", "halfcheetah"):
        medium, expert = (INDEX[f"{robot}-{skill}"]["return_mean"] for skill in ("medium", "expert"))
        assert 0.2 * expert < medium < 0.9 * expert, robot
    assert np.isfinite([one["return_std"] for one in INDEX.values()]).all()
