"""Episodes of an environment's own script: recipes by name, what is recorded again, several processes."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from trajrl.cli.collect.recipes import SCRIPTS, env_of, file_of, of_recipe, recipe_for
from trajrl.cli.collect.scripted import Asked, episodes
from trajrl.envs import make_demonstration
from trajrl.envs.base.scripted import demonstrate
from trajrl.envs.ogbench_oracle import cube_in_sight, make_oracle


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_has_a_recipe_by_the_name_of_its_data(name):
    env = env_of(name)
    assert recipe_for(env) == name
    assert file_of(name, env) == f"{name}.h5"
    (part,) = of_recipe(name, env)
    assert part.policy == "oracle"
    assert part.noise == (0.5 if name.startswith("pointmaze") else 0.0)  # a plan's noise is its own


def test_a_task_has_the_recipe_of_its_family_and_another_family_none():
    assert recipe_for("ogbench:cube-double-play-singletask-task2-v0") == "cube-double-play"
    assert recipe_for("ogbench:cube-quadruple-v0") == ""
    with pytest.raises(ValueError, match=r"is for ogbench:scene-\.\.\., such as ogbench:scene-play-v0"):
        of_recipe("scene-play", "ogbench:cube-double-v0")


def places(*xyz: tuple[float, float, float]) -> dict[str, np.ndarray]:
    """Return extras of an episode whose cube was at these places."""
    qpos = np.zeros((len(xyz), 25))
    qpos[:, 14:17] = xyz
    return {"qpos": qpos}


def test_a_cube_is_in_sight_on_the_table_and_in_the_drawer():
    assert cube_in_sight(places((0.4, 0.1, 0.02), (0.4, -0.35, 0.07)))
    assert not cube_in_sight(places((0.4, 0.1, 0.02), (0.4, 0.29, 0.02)))
    assert not cube_in_sight(places((0.4, -0.3, 0.02), (0.4, 0.1, 0.02)))
    assert not cube_in_sight(places((0.4, -0.35, 0.09)))


def test_what_a_script_does_not_keep_is_recorded_again_and_said(capsys):
    shown = make_demonstration("toy:rooms")
    seen: list[int] = []

    def second(extras):
        seen.append(1)
        return len(seen) > 1

    again = demonstrate(shown._replace(keeps=second), 0, 3, "x")
    assert "episode 3 of toy:rooms is recorded again" in capsys.readouterr().out
    first = demonstrate(shown, 0, 3, "x")
    assert len(first) != len(again) or not np.array_equal(first.obs, again.obs)
    with pytest.raises(ValueError, match="and none is kept"):
        demonstrate(shown._replace(keeps=lambda extras: False), 0, 3, "x")


@pytest.mark.slow
def test_a_puzzles_gripper_stays_closed():
    pytest.importorskip("ogbench")
    shown = make_demonstration("ogbench:puzzle-3x3-play-v0")
    assert shown.script._oracles["button"]._gripper_always_closed
    assert not make_oracle("button", shown.env)._gripper_always_closed


@pytest.mark.slow
def test_several_processes_make_the_same_episodes_in_order(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    asked = Asked("toy:rooms", 5, "x", 0.1, 0.0)
    alone, shared = (list(islice(episodes(asked, 7, envs), 9)) for envs in (1, 2))
    for one, other in zip(alone, shared, strict=True):
        assert np.array_equal(one.obs, other.obs)
        assert np.array_equal(one.actions, other.actions)
