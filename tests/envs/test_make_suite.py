"""Names of environments: what they resolve to, in which order, and what a wrong one is answered."""

from __future__ import annotations

import sys

import gymnasium
import numpy as np
import pytest

from trajrl import make_suite
from trajrl.envs import ENVS, ORACLES, make_demonstration
from trajrl.envs.base.wrappers import EnvOptions


def test_registries_are_sorted_and_resolve():
    from trajrl.core.registry import find

    for table in (ENVS, ORACLES):
        assert list(table) == sorted(table)
        assert all(callable(find(table, name, "suite")) for name in table)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("toy:point", "ToySuite"),
        ("Pendulum-v1", "GymnasiumSuite"),
        ("gymnasium:Pendulum-v1", "GymnasiumSuite"),
        ("sample_envs:line", "CustomSuite"),
        ("d4rl:hopper-medium-v2", "D4rlSuite"),
    ],
)
def test_a_name_finds_its_suite(name, kind):
    suite = make_suite(name)
    assert type(suite).__name__ == kind
    assert make_suite(suite.name).name == suite.name  # what it is called can be resolved again


def test_a_suite_comes_before_a_module_of_its_name(monkeypatch):
    monkeypatch.setitem(ENVS, "sample_envs", ENVS["toy"])
    with pytest.raises(ValueError, match="no toy environment 'line'"):
        make_suite("sample_envs:line")


def test_a_registered_id_of_ones_own_is_found():
    gymnasium.register("OwnLine-v0", "sample_envs:Line", max_episode_steps=4)
    try:
        assert make_suite("OwnLine-v0").obs_dim == 2
    finally:
        del gymnasium.registry["OwnLine-v0"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Hoper-v4", "did you mean 'Hopper-v4'"),
        ("hopper-medium-v2", "did you mean 'd4rl:hopper-medium-v2'"),
        ("cube-single-play-singletask-v0", "did you mean 'ogbench:cube-single-play-singletask-v0'"),
        ("ToolHang", "did you mean 'robomimic:ToolHang'"),
        ("togy:point", "no environment suite or module 'togy'; did you mean 'toy'"),
        ("toy:pont", "did you mean 'point'"),
        ("d4rl:hoper-medium-v2", "did you mean 'hopper-medium-v2'"),
        ("gymnasium:Pendulm-v1", "did you mean 'Pendulum-v1'"),
        ("no.such.package:make", "no module 'no.such.package'"),
        ("sample_envs:lin", "did you mean 'line'"),
        ("sample_envs:no_env", "returned int"),
        ("sample_envs:no_space", "sample_envs:no_space has no observation_space"),
        ("sample_envs:fails", "sample_envs:fails cannot be made: KeyError: 'the arm is elsewhere'"),
        ("broken_module:make", "broken_module:make cannot be made: SyntaxError"),
        ("Hopper-v2", "cannot be made"),
        ("", "no environment ''"),
    ],
)
def test_a_wrong_name_is_told_what_to_do(name, words, tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("def make(:")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=words) as caught:
        make_suite(name)
    assert "\n" not in str(caught.value)


def test_a_missing_package_names_its_extra(monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    hide = lambda name, *rest: None if name in ("ogbench", "gymnasium_robotics") else real(name, *rest)  # noqa: E731
    for module in ("trajrl.envs.ogbench_environment", "trajrl.envs.gymnasium"):
        make_module(module)
        monkeypatch.setattr(f"{module}.find_spec", hide)
    for name, extra in (
        ("ogbench:cube-single-play-singletask-v0", "ogbench"),
        ("PointMaze_Unheard-v9", "robotics"),  # one that no other test can have registered
    ):
        with pytest.raises(ValueError, match=f"extra '{extra}'"):
            make_suite(name)


def make_module(name):
    __import__(name)
    return sys.modules[name]


def test_options_are_named_and_checked():
    with pytest.raises(ValueError, match="did you mean 'time_limit'"):
        make_suite("toy:point", time_limt=3)
    with pytest.raises(ValueError, match="did you mean 'positions'"):
        make_suite("Hopper-v4", observe="position")
    with pytest.raises(ValueError, match="frame_skip >= 1"):
        make_suite("toy:point", frame_skip=0)
    with pytest.raises(ValueError, match="toy:point has no sparse variant"):
        make_suite("toy:point", sparse=True)


def test_an_oracle_belongs_to_some_environments_only():
    assert make_demonstration("toy:rooms").name == "toy:rooms"
    for name in ("toy:point", "Hopper-v4", "ogbench:antmaze-medium-v0"):
        with pytest.raises(ValueError, match="no scripted oracle"):
            make_demonstration(name)


def test_no_data_belongs_to_a_plain_environment():
    with pytest.raises(ValueError, match="name some with --data"):
        next(iter(make_suite("Pendulum-v1").episodes()))


def test_the_default_options_change_nothing():
    assert EnvOptions() == EnvOptions(
        time_limit=0, frame_skip=1, reward_shift=0.0, sparse=False, observe="all"
    )


@pytest.mark.parametrize(
    ("done", "success"), [((), False), (("kettle",), False), (("kettle", "light"), True)]
)
def test_completed_tasks_are_success_once_all_of_them_are(done, success):
    from sample_envs import Line

    from trajrl.envs.gymnasium import completing

    class Kitchen(Line):
        goal = {"kettle": 0.0, "light": 0.0}

        def step(self, action):
            obs, reward, terminated, truncated, _ = super().step(action)
            return obs, reward, terminated, truncated, {"episode_task_completions": list(done)}

    env = completing(Kitchen())
    env.reset(seed=0)
    assert env.step(np.zeros(1))[-1]["success"] is success
    assert completing(Line()).__class__ is Line
