"""An evaluation speaks while an episode is long."""

from __future__ import annotations

import gymnasium

from trajrl.cli.evaluate import Steps


def test_steps_are_spoken_of_before_an_episode_ends(capsys):
    steps = Steps(seconds=0.0)
    steps(3, gymnasium.Env())
    steps(3, gymnasium.Env())
    said = [f"evaluate: {count} steps taken, now in episode 3" for count in (1, 2)]
    assert capsys.readouterr().out.splitlines() == said
