"""The original D4RL stack: its interface made new, its scores its own, and what is said without it."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from trajrl import make_suite
from trajrl.core.rng import stream
from trajrl.envs import d4rl_original

needs_stack = pytest.mark.skipif(
    not d4rl_original.installed(), reason="the original D4RL stack is not installed: make legacy"
)


class Old:
    """An environment of classic gym: step() of four, an end that is the time limit's where it says so."""

    observation_space = SimpleNamespace(low=-np.ones(2), high=np.ones(2))
    action_space = SimpleNamespace(low=-2 * np.ones(1), high=2 * np.ones(1))

    def __init__(self, inner=None, printed=None):
        self.seeds, self.printed = [], printed or {}
        if inner is not None:
            self._wrapped_env = inner

    def seed(self, seed):
        self.seeds.append(seed)

    def reset(self):
        print("Target Goal:", 3)
        return np.zeros(2)

    def step(self, action):
        return np.ones(2), 1.0, bool(self.printed), {"TimeLimit.truncated": self.printed.get("cut", False)}

    def close(self):
        pass


@pytest.mark.parametrize(
    ("printed", "ends"),
    [({}, (False, False)), ({"cut": True}, (False, True)), ({"cut": False}, (True, False))],
)
def test_a_time_limit_is_told_from_a_termination(printed, ends):
    env = d4rl_original.Classic(Old(printed=printed))
    assert env.step(np.zeros(1))[2:4] == ends


def test_a_seed_reaches_the_innermost_layer(capsys):
    inner = Old()
    outer = Old(inner)
    env = d4rl_original.Classic(outer, sparse=True)
    assert env.reset(seed=7)[1] == {"success": False}
    assert (outer.seeds, inner.seeds) == ([7], [7])
    assert env.step(np.zeros(1))[4]["success"]
    assert env.action_space.high.tolist() == [2]
    assert capsys.readouterr().out == ""  # what the old packages print stays with them


def test_an_own_environment_of_classic_gym_is_adapted(monkeypatch):
    monkeypatch.setitem(sys.modules, "gym", SimpleNamespace(Env=Old))
    monkeypatch.setitem(sys.modules, "own_old", SimpleNamespace(make=lambda: Old(printed={"cut": True})))
    monkeypatch.setattr("trajrl.envs.custom.importable", lambda name: name == "own_old")
    env = make_suite("own_old:make").make(0)
    assert env.reset(seed=3)[0].tolist() == [0, 0]
    assert env.step(np.zeros(1, np.float32))[1:4] == (1.0, False, True)


def test_an_own_environment_may_stand_on_mujoco_py(monkeypatch, tmp_path):
    from sample_envs import line

    found = []
    make = lambda: found.append(os.environ.get("MUJOCO_PY_MUJOCO_PATH")) or line()  # noqa: E731
    monkeypatch.setattr(d4rl_original, "home", lambda: tmp_path)
    monkeypatch.setitem(sys.modules, "own_old", SimpleNamespace(make=make))
    monkeypatch.setattr("trajrl.envs.custom.importable", lambda name: name == "own_old")
    make_suite("own_old:make")
    assert found == [str(tmp_path)]


def test_the_reset_of_later_gyms_is_refused(monkeypatch):
    env = d4rl_original.Classic(Old())
    monkeypatch.setattr(env.env, "reset", lambda: (np.zeros(2), {}))
    with pytest.raises(ValueError, match="use gymnasium"):
        env.reset()


@pytest.mark.parametrize("name", ["pen-human-v1", "kitchen-mixed-v0"])
def test_what_needs_mjrl_says_so(name):
    with pytest.raises(ValueError, match="mjrl"):
        make_suite(f"d4rl:{name}")


def test_what_only_the_original_stack_has_names_its_target(monkeypatch):
    monkeypatch.setattr(d4rl_original, "installed", lambda: False)
    for name in ("antmaze-umaze-v2", "maze2d-large-v1"):
        with pytest.raises(ValueError, match="make legacy"):
            make_suite(f"d4rl:{name}")


def test_a_stand_in_says_that_it_is_one(monkeypatch):
    monkeypatch.setattr(d4rl_original, "installed", lambda: False)
    assert make_suite("d4rl:hopper-medium-v2").score(0.0).name.startswith("hopper@gymnasium-v4")


NAMES = {
    "ant-medium-v2": (111, 8), "antmaze-large-diverse-v2": (29, 8), "antmaze-umaze-v0": (29, 8),
    "halfcheetah-random-v2": (17, 6), "hopper-medium-v2": (11, 3), "maze2d-umaze-v1": (4, 2),
    "walker2d-medium-expert-v2": (17, 6),
}  # fmt: skip


@pytest.mark.slow
@needs_stack
@pytest.mark.parametrize("name", NAMES)
def test_the_original_scores_are_its_own(name):
    import gym

    suite = make_suite(f"d4rl:{name}")
    assert (suite.obs_dim, suite.action_dim) == NAMES[name]
    with d4rl_original.quiet():
        raw = gym.make(name)
    value, said = suite.score(321.0)
    assert value == pytest.approx(100 * raw.get_normalized_score(321.0))
    assert said.startswith(f"{name}@d4rl 1.1")
    assert "MuJoCo 2.1.0" in said


@pytest.mark.slow
@needs_stack
@pytest.mark.parametrize("name", NAMES)
def test_a_seed_and_actions_are_an_episode_there(name):
    suite = make_suite(f"d4rl:{name}")
    actions = stream(0, "test").uniform(-1, 1, (10, suite.action_dim)).astype(np.float32)
    runs = []
    for env in (suite.make(0), suite.make(1)):
        env.reset(seed=9)
        env.step(actions[0])
        runs.append([env.reset(seed=3)[0], *(env.step(action)[0] for action in actions)])
    np.testing.assert_array_equal(*map(np.stack, runs))


@pytest.mark.slow
@needs_stack
def test_the_original_dynamics_are_what_is_stepped():
    import gym

    env = make_suite("d4rl:hopper-medium-v2").make(0)
    obs = [env.reset(seed=5)[0]]
    with d4rl_original.quiet():
        raw = gym.make("Hopper-v2")
        raw.seed(5)
        old = [raw.reset()]
        for _ in range(8):
            action = np.full(3, 0.3, np.float32)
            obs.append(env.step(action)[0])
            old.append(raw.step(action)[0])
    np.testing.assert_allclose(np.stack(obs), np.stack(old), atol=1e-6)


@pytest.mark.slow
@needs_stack
def test_the_original_limits_truncate_and_falls_terminate():
    limited, falling = make_suite("d4rl:maze2d-umaze-v1").make(0), make_suite("d4rl:hopper-medium-v2").make(0)
    limited.reset(seed=0)
    steps = [limited.step(np.zeros(2, np.float32))[2:4] for _ in range(300)]
    assert steps[-1] == (False, True)
    assert not any(any(step) for step in steps[:-1])
    falling.reset(seed=0)
    ends = (False, False)
    while not any(ends):
        ends = falling.step(np.ones(3, np.float32))[2:4]
    assert ends == (True, False)
