"""Goals of a run: which data and which environment a law of goals fits.

The data holds states, in recordings that were cut; the environment shows a goal beside its state, of as many
numbers.  What does not fit is refused in a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trajrl.store.goals import GoalLaw
from trajrl.store.notes import counted
from trajrl.training.config import NO_GOALS, RunConfig

if TYPE_CHECKING:
    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.store.store import TrajectoryStore


def seen_dim(config: RunConfig, store: TrajectoryStore) -> int:
    """Return the width of what a policy of this run sees of the data's observations."""
    return store.obs_dim * (1 if config.goals == NO_GOALS else 2)


def require_goals(config: RunConfig, store: TrajectoryStore) -> None:
    """Refuse data whose states cannot be goals, or whose episodes ended by themselves short of success.

    Where the task was solved nothing in the world ended, so that such an end is one of the recording; another
    end would be, to every goal that was not met before it, a loss without end.
    """
    if store.images:
        raise ValueError(
            f"goals={config.goals} takes states of numbers for goals, and {config.data} shows images "
            f"({', '.join(store.images)}); `store embed` writes vectors of them"
        )
    table, live = store.table, store.live
    ended = live[table.terminated[live] & (table.success[live] != 1)]
    if len(ended):
        raise ValueError(
            f"goals={config.goals} learns from recordings that were cut; {len(ended)} of "
            f"{counted('episode[s]', len(live))} of {config.data} ended by themselves without success "
            f"(first: episode {ended[0]}), and values would be taken from beyond those ends"
        )


def show_goals(store: TrajectoryStore, config: RunConfig) -> None:
    """Let the windows of a run's data show goals, if the run has any."""
    if config.goals != NO_GOALS:
        store.set_goals(GoalLaw(**config.goals_options))


def require_shown(config: RunConfig, store: TrajectoryStore, suite: EnvSuite) -> None:
    """Refuse an environment that shows goals to a run without them, and one that shows none to a run with."""
    if config.goals == NO_GOALS and suite.goal_conditioned:
        raise ValueError(
            f"{suite.name} is goal-conditioned; take one of its tasks, such as {suite.one_task()}, or learn "
            "to reach any goal: --set goals=hindsight"
        )
    if config.goals != NO_GOALS and suite.obs_dim != seen_dim(config, store):
        raise ValueError(
            f"goals={config.goals} acts in an environment that shows a goal beside its state, "
            f"{seen_dim(config, store)} numbers; {suite.name} shows {suite.obs_dim}: give --env, such as "
            "ogbench:pointmaze-medium-navigate-v0"
        )
