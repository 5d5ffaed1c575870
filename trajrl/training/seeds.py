"""Several seeds as one program: runs that differ in their seed alone train in one process, update by update.

Every run draws from its own streams, feeds its own sampler, and keeps a folder as if it were alone; the
gather, the update and the evaluations are of all at once.  A run that ends early leaves the others, which are
stacked anew.  Checkpoints are of one step: a kill between two of them takes all runs back to the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trajrl.agents.base.protocol import Batches
from trajrl.core.rng import torch_stream
from trajrl.store.window import Anchors, SequenceBatch
from trajrl.training import guards, loop
from trajrl.training.checked_calls import windows
from trajrl.training.role_batches import Drawn
from trajrl.training.run import Run
from trajrl.training.stacked_agent import StackedAgent
from trajrl.training.stacked_evaluation import StackedEvaluation
from trajrl.training.tensor_trees import mapped, stacked


class Seeds:
    """The runs of one program."""

    def __init__(self, runs: Sequence[Run], folder: Path) -> None:
        self.runs, self.folder = list(runs), folder
        self.interrupted = False

    def interrupt(self) -> None:
        """End every run after the step under way, with a checkpoint."""
        self.interrupted = True
        for run in self.runs:
            run.interrupt()


def offline(seeds: Seeds) -> None:
    """Train every run from where all stand to its last step."""
    going, before = under_way(seeds.runs), seeds.runs
    while before:
        for run in before:
            if run not in going:
                loop.finish(run)
        before, going = going, train(going) if going else []


def under_way(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that have not ended."""
    return [run for run in runs if run.step < run.config.steps and not run.stop_reason]


def train(runs: Sequence[Run]) -> list[Run]:
    """Train until one of the runs ends; returns the others."""
    stack = StackedAgent([run.agent for run in runs])
    evaluation = StackedEvaluation(runs, stack)
    for run in runs:
        run.evaluate_in(evaluation)
    with guards.out_of_memory(runs[0]):
        while len(going := under_way(runs)) == len(runs):
            train_step(runs, stack)
            after_step(runs)
    return going


def train_step(runs: Sequence[Run], stack: StackedAgent) -> None:
    """Learn from one batch of every run."""
    drawn = [loop.draw_next(run) for run in runs]
    batch = batches_of(runs, drawn)
    rngs = [torch_stream(run.config.seed, "agent", run.step + 1) for run in runs]
    with loop.autocast(runs[0]):
        updates = stack.update(batch, rngs)
    for run, own, update in zip(runs, drawn, updates, strict=True):
        loop.hand_on(run, own, update)


def after_step(runs: Sequence[Run]) -> None:
    """Log, evaluate and save what is due of every run; Ctrl-C ends all, once each has its checkpoint."""
    interrupted = False
    for run in runs:
        try:
            loop.after_step(run)
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt


def batches_of(runs: Sequence[Run], drawn: Sequence[Drawn]) -> SequenceBatch | Batches:
    """Gather the windows of all runs: (R, B, ...)."""
    values = gathered(runs, [one.values for one in drawn])
    policies = [one.policy for one in drawn if one.policy is not None]
    return Batches(gathered(runs, policies), values) if policies else values


def gathered(runs: Sequence[Run], anchors: Sequence[Anchors]) -> SequenceBatch:
    """Gather at once where all runs learn from the same episodes; those held out differ from seed to seed."""
    spec, device = runs[0].agent.spec, runs[0].agent.device
    if any(len(run.held_out) for run in runs):
        return stacked(
            [windows(run.store, own, spec, device, run.sampler) for run, own in zip(runs, anchors)]
        )
    of_all = Anchors(*(np.concatenate(columns) for columns in zip(*anchors)))
    batch = windows(runs[0].store, of_all, spec, device, runs[0].sampler)  # (R B, ...)
    return mapped(lambda part: part.unflatten(0, (len(runs), -1)), batch)
