"""Evaluations of a run: the policy is scored, its weights are kept, and its place among all is noted.

loop.after_step says when; rollout/evaluate.py runs the episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trajrl.core.console import say
from trajrl.envs.base.protocol import EnvSuite
from trajrl.rollout.episode_recorder import EnvFailureError
from trajrl.rollout.evaluate import evaluate
from trajrl.store.notes import counted
from trajrl.training.ope.select import kept_policies, rank
from trajrl.training.run import Run
from trajrl.training.run_dir import checkpoint
from trajrl.training.run_dir.csv_log import writing
from trajrl.training.run_dir.evaluations import Awaited, Evaluation

BC_LOSS = "bc_loss"  # the criterion that costs nothing: the loss of the updates in between


def evaluate_and_keep(run: Run, last: bool) -> None:
    """Evaluate the policy, keep its weights, and note its place among all evaluations.

    Args:
        last: over as many episodes as the last evaluation of the run.
    """
    bc_loss = run.evaluations.take_bc_loss()
    checkpoint.keep_policy(run.folder / "checkpoints", run.clock, run.agent.state_dict(), facts(run))
    if run.validation is not None:
        run.progress.say("measuring on held-out episodes")
        run.validation(run.agent, run.clock)
    if run.suite is not None and run.evaluators is not None:
        run.evaluations.awaited.append(Awaited(run.clock, episodes_of(run, last), bc_loss))
        take_in(run, to_the_end=last, logged=False)
    elif run.suite is not None:
        score(run, run.suite, last, bc_loss)
    else:
        run.evaluations.note_loss(run.clock, bc_loss)
    if run.config.early_stop:
        found = early_stop_reason(run, bc_loss) if run.config.early_stop_by == BC_LOSS else fallen(run)
        run.stop(found or run.stop_reason)
    if run.view is not None:
        with writing(run.folder / "tb"):
            run.view(run, run.clock >= run.config.end)


def score(run: Run, suite: EnvSuite, last: bool, bc_loss: float | None) -> None:
    """Run the evaluation's episodes and write their rows."""
    episodes = episodes_of(run, last)
    run.progress.say(f"evaluating {counted('episode[s]', episodes)}")
    broken: list[EnvFailureError] = []
    rows = (run.pool or alone)(run, suite, episodes, broken.append)
    if broken:
        count_broken(run, broken)
    if not rows:
        raise broken[-1]
    run.progress.show(run.evaluations.append(Evaluation.of(run.clock, rows, bc_loss, suite)))


def episodes_of(run: Run, last: bool) -> int:
    """Return the number of episodes of an evaluation."""
    return (run.config.last_eval_episodes if last else 0) or run.config.eval_episodes


def take_in(run: Run, to_the_end: bool = False, logged: bool = True) -> None:
    """Note the evaluations beside the training that are done, in the order of their steps.

    Args:
        to_the_end: wait for all of them
        logged: the row of this step is in metrics.csv; else the log will write it
    """
    awaited = run.evaluations.awaited
    if not awaited or run.evaluators is None or run.suite is None:
        return
    if to_the_end:
        run.progress.say(f"waiting for {counted('evaluation[s]', len(awaited))}")
    for job, answer in run.evaluators.answers(awaited, to_the_end):
        if answer.broken:
            count_broken(run, answer.broken)
        if not answer.rows:
            raise RuntimeError(answer.broken[-1])
        awaited.remove(job)
        found = Evaluation.of(job.step, answer.rows, job.bc_loss, run.suite)
        run.progress.show(run.evaluations.append(found))
        if logged or job.step != run.clock:
            run.logger.amend(run.config.phase, job.step, found.metrics())
        folder = run.folder / "checkpoints"
        whole = checkpoint.place(folder, job.step)
        if run.evaluations.best_step == job.step and whole.is_dir():
            checkpoint.point(folder, "best", whole.name)


def alone(
    run: Run, suite: EnvSuite, episodes: int, broken: Callable[[EnvFailureError], None]
) -> list[dict[str, Any]]:
    """Run the episodes of one run; returns a row for each that did not break off."""
    config = run.config
    return evaluate(run.agent, suite, config.seed, run.clock, episodes, config.eval_envs, broken=broken)


def count_broken(run: Run, broken: Sequence[EnvFailureError | str]) -> None:
    """Say which episodes of an evaluation broke off; online they count as failures like any other."""
    left_out = counted("episode[s] of the evaluation broke off and [is|are] left out", len(broken))
    say(f"{left_out}; the last so: {broken[-1]}")
    if run.online:
        run.online.collector.count_failures(len(broken), str(broken[-1]))


def facts(run: Run) -> dict[str, Any]:
    """Return what it takes to build the agent again without the data."""
    environment = run.suite.name if run.suite else ""
    sizes: dict[str, Any] = {"obs_dim": run.store.seen_dim, "action_dim": run.store.action_dim}
    if run.store.images:
        sizes["images"] = {name: list(shape) for name, shape in run.store.image_shapes.items()}
    acted = run.units.acted
    return {**sizes, "environment": environment, **(acted.bounds() if acted else {})}


def early_stop_reason(run: Run, bc_loss: float | None) -> str:
    """Return why --early-stop ends the run here, or nothing; an agent without that loss is named."""
    if bc_loss is None and run.step and not run.evaluations.losses:
        say(f"--early-stop does nothing: {run.config.agent} has logged no actor/bc_loss")
    if not run.evaluations.bc_loss_rose(run.config.early_stop):
        return ""
    (_, before), (_, after) = run.evaluations.losses[-2:]
    rose = f"the behaviour-cloning loss rose from {before:.4g} to {after:.4g}"
    return f"{rose}, by more than {run.config.early_stop:g}, at step {run.clock} (--early-stop)"


def fallen(run: Run) -> str:
    """Return why --early-stop-by ends the run here, or nothing: the last two policies are judged alike."""
    by, tolerance = run.config.early_stop_by, run.config.early_stop
    pair = kept_policies([run.folder])[-2:]
    if len(pair) < 2:
        return ""
    found = rank(pair, by).estimates
    before, after = found.value
    worse = before - after if found.higher_is_better else after - before
    if worse <= tolerance:
        return ""
    change = f"{by} went from {before:.4g} to {after:.4g}, worse"
    return f"{change} by more than {tolerance:g}, at step {run.clock} (--early-stop)"
