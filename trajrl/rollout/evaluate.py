"""Evaluation: the same episodes for the same (seed, step), however many environments step together.

Its streams are its own, (seed, "eval", step, episode): evaluating more often changes no number of training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from trajrl.rollout.collector import LONG, Collector, EnvFailureError, Finished, Streams, in_order
from trajrl.rollout.history_queue import Actor

if TYPE_CHECKING:
    import gymnasium

    from trajrl.envs.base.protocol import EnvSuite


def evaluate(
    agent: Actor,
    suite: EnvSuite,
    seed: int,
    step: int,
    episodes: int,
    envs: int = 10,
    *,
    only: Sequence[int] = (),
    broken: Callable[[EnvFailureError], None] | None = None,
    render: bool = False,
    watch: Callable[[int, gymnasium.Env], None] | None = None,
) -> list[dict[str, Any]]:
    """Run `episodes` episodes of the policy as it stands at `step`; one row per episode, in order.

    `envs` environments step together; as fewer episodes than that remain, fewer do.  `only` names the
    episodes to run of these; they take the course they take among the others.  `broken` sees why an episode
    broke off, which is then left out; without it that ends the evaluation.
    """
    if episodes < 1:
        raise ValueError(f"an evaluation needs at least one episode; got {episodes}")
    chosen = sorted(only) or range(episodes)
    collector = collector_of(agent, suite, seed, step, chosen, envs, render=render, watch=watch)
    try:
        return whole_rows(in_order(collector), suite, broken)
    finally:
        collector.close()


def collector_of(
    agent: Actor, suite: EnvSuite, seed: int, step: int, numbers: Sequence[int], envs: int, **options: Any
) -> Collector:
    """Return what runs the episodes `numbers` of an evaluation, from the streams that are its own."""
    streams = Streams(seed, "eval", (step,))
    return Collector(suite, agent, streams, envs, numbers=numbers, ceiling=ceiling_of(suite), **options)


def ceiling_of(suite: EnvSuite) -> int:
    """Return the steps after which an episode counts as endless and the evaluation stops.

    That is four times the environment's own limit, or a number of steps that none is known to take; at half
    of it, twice the limit, a line says so.
    """
    return 4 * getattr(suite, "limit", 0) or 2 * LONG


def whole_rows(
    episodes: Iterable[Finished], suite: EnvSuite, broken: Callable[[EnvFailureError], None] | None
) -> list[dict[str, Any]]:
    """Return the rows of episodes; one that broke off is left out where `broken` is there to see why."""
    return [to_row(finished, suite) for finished in episodes if not _left_out(finished, broken)]


def _left_out(finished: Finished, broken: Callable[[EnvFailureError], None] | None) -> bool:
    """Return whether an episode broke off and the caller was notified."""
    if finished.failure is None or broken is None:
        return False
    broken(finished.failure)
    return True


def to_row(finished: Finished, suite: EnvSuite) -> dict[str, Any]:
    """Return what an evaluation keeps of an episode; one that broke off ends the evaluation."""
    if finished.failure is not None:
        raise finished.failure
    episode = finished.episode
    assert episode is not None
    task = suite.task_of(finished.number)
    return {
        "episode": finished.number, "seed": finished.seed, "return": episode.episode_return,
        "score": suite.score(episode.episode_return).value, "success": episode.success,
        "length": len(episode), **({} if task is None else {"task": task}),
    }  # fmt: skip
