"""How a one-step student acts beside its chain: the score of the same episodes, and the time of an action."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trajrl.agents.base.proposer import no_history
from trajrl.core.products import exactly
from trajrl.core.rng import torch_stream
from trajrl.rollout.evaluate import evaluate
from trajrl.training.evaluation import count_broken
from trajrl.training.run_dir.evaluations import Evaluation, interval

if TYPE_CHECKING:
    from trajrl.agents.base.proposer import ChainAgent
    from trajrl.nets.one_step import OneStep
    from trajrl.rollout.episode_recorder import EnvFailureError
    from trajrl.training.run import Run


@contextmanager
def acting(agent: ChainAgent, student: OneStep | None) -> Iterator[None]:
    """Let a student propose the agent's actions, inside this block alone."""
    before = agent.student
    agent.act_by(student)
    try:
        yield
    finally:
        agent.act_by(before)


def scored(run: Run, agent: ChainAgent, student: OneStep) -> dict[str, Any]:
    """Return the student's score, none without an environment, and milliseconds per action of both."""
    times = times_of_action(agent, student)
    with acting(agent, student):
        return {"score": score_of(run, agent), "scale": run.evaluations.scale, "milliseconds": times}


def times_of_action(agent: ChainAgent, student: OneStep, rounds: int = 100) -> dict[str, float]:
    """Return the milliseconds of one action in one environment, of chain and student.

    They take turns, and the least of all rounds counts: what else the machine does only adds.
    """
    history, rng = no_history(agent), [torch_stream(0, "distil/time")]
    times: dict[str, list[float]] = {"chain": [], "student": []}
    for _ in range(rounds):
        for name, proposer in (("chain", None), ("student", student)):
            with acting(agent, proposer), exactly():
                began = time.perf_counter()
                agent.act(history, rng, False).cpu()
                times[name].append(1000 * (time.perf_counter() - began))
    return {name: min(found) for name, found in times.items()}


def score_of(run: Run, agent: ChainAgent) -> dict[str, Any] | None:
    """Return the score of the episodes of the last evaluation, which the chain has had, with its interval."""
    config = run.config
    if run.suite is None:
        return None
    episodes = config.last_eval_episodes or config.eval_episodes
    run.progress.say(f"evaluating {episodes} episodes of the one-step student")
    broken: list[EnvFailureError] = []
    rows = evaluate(
        agent, run.suite, config.seed, run.clock, episodes, config.eval_envs, broken=broken.append
    )
    if broken:
        count_broken(run, broken)
    if not rows:
        raise broken[-1]
    found = Evaluation.of(run.clock, rows, None, run.suite)
    scale = run.evaluations.scale
    return {**interval(found.on(scale), config.seed, scale), "step": run.clock}
