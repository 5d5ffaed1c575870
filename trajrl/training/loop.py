"""The loop: sample, gather, update, feedback, log, evaluate, save.

Every random number is a function of (seed, stream, step), so a run that was killed and resumed writes the
same numbers as one that was not, and evaluating more often changes no training number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajrl.agents.base.protocol import Agent, Update
from trajrl.core.atomic_files import new_file, write_text
from trajrl.core.console import say
from trajrl.core.distributed import all_gather_rows
from trajrl.core.json_file import read_object
from trajrl.core.rng import torch_stream
from trajrl.training import chosen_sampler, guards, holdout
from trajrl.training.checked_calls import learn
from trajrl.training.diagnostics import diagnostics
from trajrl.training.distil import distil
from trajrl.training.evaluation import evaluate_and_keep, take_in
from trajrl.training.online import collecting_actor
from trajrl.training.ope.select import kept_policies, rank, with_selected, write
from trajrl.training.q_values import q_values
from trajrl.training.role_batches import Drawn, batches_of, draw_update, with_goals
from trajrl.training.run import Run
from trajrl.training.run_dir import checkpoint
from trajrl.training.run_dir.selection import drop_outdated

LATEST = 50  # updates that may be pending
MAY_BE_INFINITE = ("sampler", "eval", "validation")  # parts of a log that no update is made of
AT_ONCE = ("cpu",)  # devices whose numbers are there when a call returns


def offline(run: Run) -> None:
    """Train on the store from where the run stands to its last step."""
    with guards.out_of_memory(run):
        while run.step < run.config.steps and not run.stop_reason:
            train_step(run)
            after_step(run)
    finish(run)


def online(run: Run) -> None:
    """Act and learn in turn, from where the run stands to its last environment step."""
    with guards.out_of_memory(run):
        if not run.evaluations.entries:
            evaluate_before(run)
        while run.clock < run.config.env_steps and not run.stop_reason:
            online_step(run)
    finish(run)


def evaluate_before(run: Run) -> None:
    """Evaluate the offline policy: all that the online phase brings is measured against it."""
    evaluate_and_keep(run, last=True)
    log(run, None)
    save(run)


def online_step(run: Run) -> None:
    """Take one step in every environment, then the updates that are due."""
    assert run.online is not None
    before, collector = run.clock, run.online.collector
    collector.step(collecting_actor(run.agent, run.config, before))
    for _ in range(run.online.updates_due(run.config)):
        train_step(run)
    run.stop(collector.stop_reason or run.stop_reason)
    after_step(run, run.clock - before)


def train_step(run: Run) -> Update:
    """Learn from one batch, or from one for each role."""
    config, step, active = run.config, run.step + 1, run.active_sampler
    drawn = draw_next(run)
    rows = config.batch_size * updates_per_batch(run.agent)
    with run.team.learning(rows, updates_per_batch(run.agent)) as own:
        batch = batches_of(run.store, drawn, own, run.agent, active)
        with autocast(run):
            update = learn(run.agent, batch, torch_stream(config.seed, "agent", step), run.step == 0)
        update = update._replace(td_error=all_gather_rows(update.td_error))
    hand_on(run, drawn, update)
    if run.online:
        run.online.count(drawn.episode, active is run.sampler)
    return update


def draw_next(run: Run) -> Drawn:
    """Draw the anchors of the next update, once the samplers have taken in what is new."""
    step, active = run.step + 1, run.active_sampler
    for sampler in {id(active): active, id(run.sampler): run.sampler}.values():
        sampler.refresh(step, lambda anchors: q_values(run.store, run.agent, run.team, anchors))
    rows = run.config.batch_size * updates_per_batch(run.agent)
    drawn = draw_update(active, run.config.seed, step, rows)
    drawn = with_goals(drawn, run.store, run.agent, run.config.seed, step)
    run.ahead.after(step, active)
    for anchors in drawn.each():
        run.rank_check.note(anchors)
    return drawn


def hand_on(run: Run, drawn: Drawn, update: Update) -> None:
    """Count an update, and hand on its metrics and its TD errors (B,), which are of the whole batch."""
    run.pending.add(run.step + 1, drawn, update.td_error, update.metrics)
    flush_pending(run)
    run.logger.add(update.metrics)
    run.evaluations.add(update.metrics)
    run.advance(run.step + 1)


def after_step(run: Run, taken: int = 1) -> None:
    """Log, evaluate and save when due; `taken` steps of the run's clock were taken since the last call."""
    config, now = run.config, run.clock
    last = now >= config.end

    def due(every: int) -> bool:
        return every > 0 and now // every > (now - taken) // every

    evaluated = last or due(config.eval_every) or now - taken < config.first_eval <= now
    if evaluated or due(config.log_every) or due(config.checkpoint_every):
        flush_pending(run, now=True)
        run.rank_check.require(run.step, partial(guards.resume_hint, run))
    if run.team.leads:
        run.progress.tick(now, run.updates)
        means = run.logger.means() if due(config.log_every) or last else None
        if evaluated and np.isfinite(list((means or {}).values())).all():
            evaluate_and_keep(run, last)
        if evaluated or means is not None:
            log(run, means)
        take_in(run, to_the_end=bool(run.stop_reason))
    if evaluated:
        run.stop(run.team.broadcast(run.stop_reason))
    interrupted = run.team.any(run.interrupted)
    if interrupted:
        run.rank_check.require(run.step, partial(guards.resume_hint, run))
    if run.team.leads and (due(config.checkpoint_every) or last or interrupted or run.stop_reason):
        save(run)
    if interrupted:
        run.team.wait()  # a launcher ends the others when one has left, and the first may still be saving
        raise KeyboardInterrupt


def log(run: Run, means: Mapping[str, float] | None) -> None:
    """Write one row of metrics; what depends on the clock goes to TensorBoard alone.

    Args:
        means: of the updates since the last row; None where it is not yet time for them.
    """
    values = dict(means or {})
    if means is not None:
        active = run.active_sampler
        sampler = {**active.stats(), **run.episode_stats.stats(active)}
        run.episode_stats.begin_interval()
        judged = diagnostics(run.agent, run.store, run.config.seed)
        values |= {f"sampler/{name}": value for name, value in sampler.items()}
        values |= {f"diagnostics/{name}": value for name, value in judged.items()}
        run.logger.scalars({f"time/{name}": rate for name, rate in run.progress.rates().items()}, run.clock)
    for found in run.evaluations.entries[-1:]:
        values |= found.metrics() if found.step == run.clock else {}
    values |= run.validation.at(run.clock) if run.validation else {}
    if run.online:
        values |= run.online.stats(run.evaluations.entries, run.step)
    row = run.logger.write(run.config.phase, run.clock, values) if values else {}
    checked = {name: value for name, value in row.items() if name.split("/")[1] not in MAY_BE_INFINITE}
    bad = [name for name, value in checked.items() if not np.isfinite(value)]
    if bad:
        raise ValueError(f"{bad[0]} is not a finite number at step {run.clock}; {guards.resume_hint(run)}")


def save(run: Run) -> None:
    """Write a checkpoint of everything, and let `best` name it if the last evaluation is the best so far."""
    flush_pending(run, now=True)
    state = {
        "step": run.step, "seconds": run.progress.seconds, "stop_reason": run.stop_reason,
        "processor_seconds": run.progress.processor_seconds,
        **run.units.data.bounds(),
    }  # fmt: skip
    parts: dict[str, Any] = {
        "agent": run.agent.state_dict(), "logger": run.logger.state_dict(),
        "sampler": run.sampler.state_dict(), "provenance": run.episode_stats.state_dict(),
        "scores": run.evaluations.state_dict(), "run": state,
    }  # fmt: skip
    if run.online:
        parts |= run.online.state_dict()
    folder = run.folder / "checkpoints"
    awaited = [each.step for each in run.evaluations.awaited]
    path = checkpoint.save(folder, run.clock, parts, awaited=awaited)
    if run.evaluations.best_step == run.clock:
        checkpoint.point(folder, "best", path.name)


def finish(run: Run) -> None:
    """Make the one-step student if one is asked for, and write episodes.parquet and summary.json."""
    if not run.team.leads:
        return
    take_in(run, to_the_end=True)
    if run.evaluators:
        run.evaluators.close()
    student = {"distilled": distil(run)} if run.config.distil else {}
    with new_file(run.folder / "episodes.parquet") as path:
        run.episode_stats.frame().to_parquet(path)
    summary = {
        **run.evaluations.summary(),
        **diagnostics(run.agent, run.store, run.config.seed),
        **student,
        **measured(run),
        "steps": run.step,
        "stop_reason": run.stop_reason,
        "holdout": holdout.summary(run.config, run.store, run.held_out),
        **chosen_sampler.summary(run.folder),
        **(run.online.summary(run.evaluations.entries) if run.online else {}),
    }
    drop_outdated(run.folder)
    summary = with_selected(summary, run.folder, run.config.seed)
    write_text(run.folder / "summary.json", json.dumps(summary, indent=2) + "\n")  # last: the run has ended
    if run.config.select_by:
        write(rank(kept_policies([run.folder]), run.config.select_by))
    run.logger.close()
    if run.online:
        run.online.collector.close()


def measured(run: Run) -> dict[str, float]:
    """Return what the run measured of itself; where nothing was left to do, the rates it had before.

    The peak of memory is the largest of all processes that finished the run.
    """
    found, before = run.progress.summary(), summary_before(run.folder / "summary.json")
    if run.progress.idle:
        found |= {name: before[name] for name in found if name.endswith("_per_second") and name in before}
    found["peak_memory_mib"] = max(found["peak_memory_mib"], before.get("peak_memory_mib", 0.0))
    return found


def summary_before(path: Path) -> dict[str, float]:
    """Return the numbers of the summary that is about to be replaced; none of one that cannot be read."""
    try:
        before = read_object(path) if path.exists() else {}
    except ValueError as error:
        say(f"{error}; it is written anew")
        return {}
    return {name: value for name, value in before.items() if isinstance(value, int | float)}


def updates_per_batch(agent: Agent) -> int:
    """Return how many batches' rows the agent takes in one update."""
    return getattr(agent, "updates_per_batch", 1)


def autocast(run: Run) -> torch.autocast:
    """Return the context in which an update runs."""
    return torch.autocast(run.agent.device.type, torch.bfloat16, enabled=run.config.dtype == "bfloat16")


def flush_pending(run: Run, now: bool = False) -> None:
    """Hand TD errors to the sampler and the count of what was drawn, if they are needed or `now`."""
    apart = run.agent.device.type not in AT_ONCE
    may_wait = apart and run.team.size == 1 and run.online is None and not run.sampler.reads_td_errors
    if may_wait and len(run.pending) < LATEST and not now:
        return
    for one in run.pending.read():
        guards.require_finite(run, one)
        run.sampler.feedback(one.drawn.values, one.td_error)
        run.episode_stats.record(one.drawn.values, one.td_error, one.step, one.drawn.policy)
