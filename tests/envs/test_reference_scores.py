"""Scores: which references belong to which environment version."""

from __future__ import annotations

import pytest

from trajrl import make_suite
from trajrl.envs.base.reference_scores import table

D4RL = [
    ("hopper-medium-v2", -20.272305, 3234.3), ("halfcheetah-expert-v2", -280.178953, 12135.0),
    ("walker2d-medium-replay-v2", 1.629008, 4592.3),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch):
    """Score as where the original D4RL stack is not installed."""
    monkeypatch.setattr("trajrl.envs.d4rl_original.installed", lambda: False)


@pytest.mark.parametrize(("name", "low", "high"), D4RL)
def test_d4rl_names_have_d4rls_references(name, low, high):
    suite = make_suite(f"d4rl:{name}")
    assert suite.score(low).value == pytest.approx(0)
    assert suite.score(high).value == pytest.approx(100)


def test_a_stand_in_says_so_in_the_name_of_the_score():
    name = make_suite("d4rl:hopper-medium-v2").score(0).name
    assert name == "hopper@gymnasium-v4 (D4RL-scaled, other dynamics)"


def test_every_d4rl_name_has_a_pair():
    pairs = table("d4rl_reference_scores")
    assert len(pairs) == 174
    assert all(low is high is None or low < high for low, high in pairs.values())


@pytest.mark.parametrize("version", ["v4", "v5"])
@pytest.mark.parametrize("family", ["Hopper", "Walker2d", "HalfCheetah"])
def test_gymnasium_versions_have_references_measured_in_themselves(family, version):
    name = f"{family}-{version}"
    entry = table("measured_references")["environments"][name]
    suite = make_suite(name)
    assert suite.score(entry["random"]["return_mean"]).value == pytest.approx(0)
    assert suite.score(entry["expert"]["return_mean"]).value == pytest.approx(100)
    assert suite.score(0).name == f"{name} (measured random and expert)"
    assert entry["random"]["policy"]
    assert entry["expert"]["policy"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Ant-v5", {}),
        ("Pendulum-v1", {}),
        ("Hopper-v4", {"time_limit": 10}),
        ("Hopper-v4", {"frame_skip": 2}),
        ("Hopper-v4", {"arguments": {"healthy_reward": 0.5}}),
        ("d4rl:hopper-medium-v2", {"time_limit": 10}),
        ("d4rl:hopper-medium-v2", {"frame_skip": 2}),
    ],
)
def test_no_reference_is_no_score(name, options):
    assert make_suite(name, **options).score(100.0) == (None, "none")


def test_ant_stands_in_with_the_width_of_its_data():
    suite = make_suite("d4rl:ant-medium-v2")
    assert suite.obs_dim == 111
    assert not suite.make(0).reset(seed=0)[0][27:].any()


def test_a_d4rl_task_without_a_successor_can_still_be_named(monkeypatch):
    monkeypatch.setattr("trajrl.envs.d4rl_original.installed", lambda: False)
    with pytest.raises(ValueError, match="no Gymnasium successor of the same shape"):
        make_suite("d4rl:antmaze-umaze-v2")
    with pytest.raises(ValueError, match=r"trained on .without --env. but not acted in"):
        make_suite("d4rl:pen-human-v1")
