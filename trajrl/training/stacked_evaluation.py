"""StackedEvaluation: the evaluations of several runs as one pool of environments, R x V of them.

The first run that asks has all evaluated; the others find their rows.  Episodes and their streams are those
of a run alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trajrl.envs.base.protocol import EnvSuite
from trajrl.rollout.episode_recorder import EnvFailureError, Finished
from trajrl.rollout.evaluate import collector_of, whole_rows
from trajrl.rollout.pool import run_pool
from trajrl.training.run import Run
from trajrl.training.stacked_acting import act
from trajrl.training.stacked_agent import StackedAgent

Broken = Callable[[EnvFailureError], None]


class StackedEvaluation:
    """Runs the episodes of every run together."""

    def __init__(self, runs: Sequence[Run], stack: StackedAgent) -> None:
        self.runs, self.stack = list(runs), stack
        self.step = -1  # of what is at hand
        self.found: list[list[Finished]] = []

    def __call__(self, run: Run, suite: EnvSuite, episodes: int, broken: Broken) -> list[dict[str, Any]]:
        """Return the rows of one run's evaluation; `broken` sees why an episode broke off."""
        if self.step != run.clock:
            self.found, self.step = self.all_of(episodes), run.clock
        return whole_rows(self.found[self.runs.index(run)], suite, broken)

    def all_of(self, episodes: int) -> list[list[Finished]]:
        """Run the episodes of every run, as they stand at this step."""
        collectors = [
            collector_of(
                run.agent, run.suite, run.config.seed, run.clock, range(episodes), run.config.eval_envs
            )
            for run in self.runs
            if run.suite is not None
        ]
        try:
            return run_pool(collectors, lambda histories, rngs: act(self.stack, histories, rngs))
        finally:
            for collector in collectors:
                collector.close()
