"""Evaluators: processes that run evaluations from copies of the weights, beside the training they belong to.

A job is a step whose policy is kept in the run's folder.  Each process answers one job at a time on the CPU,
with the episodes that an evaluation in the loop would have run there, to the same bits.  One that dies is
started again with its job once; Ctrl-C is for the parent alone to answer.
"""

from __future__ import annotations

import atexit
import signal
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trajrl.envs.base.subprocess_env import start_method
from trajrl.training.run_dir.evaluations import Awaited

if TYPE_CHECKING:
    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.training.config import RunConfig

EVERY = 0.05  # seconds between two looks for answers
ATTEMPTS = 2  # of a job whose process dies


class Answer(NamedTuple):
    """What came of a job."""

    rows: list[dict[str, Any]]  # one per episode, as `evaluate` returns them
    broken: list[str]  # why the episodes that are left out broke off


@dataclass
class Worker:
    """One process, and the job that it is at."""

    process: Any
    pipe: Connection
    job: Awaited | None = None


@dataclass
class Evaluators:
    """The processes of one run, started with the first job."""

    folder: Path
    config: RunConfig
    suite: EnvSuite
    workers: list[Worker] = field(default_factory=list)
    _queued: deque[Awaited] = field(default_factory=deque)
    _known: set[int] = field(default_factory=set)  # steps that were asked for
    _answers: dict[int, Answer] = field(default_factory=dict)
    _attempts: Counter[int] = field(default_factory=Counter)
    _looked: float = 0.0

    def answers(self, jobs: Sequence[Awaited], to_the_end: bool) -> list[tuple[Awaited, Answer]]:
        """Return the first of `jobs` that are answered, in order; `to_the_end` waits for all of them."""
        new = [job for job in jobs if job.step not in self._known]
        self._known.update(job.step for job in new)
        self._queued.extend(new)
        if new or to_the_end or time.monotonic() - self._looked >= EVERY:
            self._look()
        while to_the_end and any(job.step not in self._answers for job in jobs):
            wait([worker.pipe for worker in self.workers if worker.job], EVERY)
            self._look()
        found = []
        for job in jobs:
            if job.step not in self._answers:
                break
            found.append((job, self._answers.pop(job.step)))
            self._known.discard(job.step)
        return found

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        atexit.unregister(self.close)
        for worker in self.workers:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        self.workers = []

    def _look(self) -> None:
        """Take in what is answered, and give the free processes something to do."""
        self._looked = time.monotonic()
        for worker in list(self.workers):
            if worker.job and worker.pipe.poll():
                self._take(worker)
        if self._queued and not self.workers:
            atexit.register(self.close)  # before multiprocessing waits for what is no daemon
        while self._queued and len(self.workers) < self.config.eval_workers:
            self.workers.append(self._started())
        for worker in list(self.workers):
            if worker.job is None and self._queued:
                self._give(worker, self._queued.popleft())

    def _give(self, worker: Worker, job: Awaited) -> None:
        worker.job = job
        self._attempts[job.step] += 1
        try:
            worker.pipe.send(job)
        except OSError:  # it died while it had nothing to do
            self._died(worker)

    def _take(self, worker: Worker) -> None:
        try:
            failed, answer = worker.pipe.recv()
        except (EOFError, OSError):
            return self._died(worker)
        assert worker.job is not None
        if failed:
            raise ValueError(f"the evaluation of step {worker.job.step} failed: {answer}")
        self._answers[worker.job.step], worker.job = answer, None

    def _died(self, worker: Worker) -> None:
        """Put its job first again, or give up."""
        assert worker.job is not None
        worker.process.join(1.0)
        code, step = worker.process.exitcode, worker.job.step
        self.workers.remove(worker)
        worker.pipe.close()
        if self._attempts[step] >= ATTEMPTS:
            how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
            raise RuntimeError(
                f"the process that evaluates step {step} ended by itself, {ATTEMPTS} times ({how}); "
                "--set eval_async=false evaluates in the run's own process"
            )
        self._queued.appendleft(worker.job)

    def _started(self) -> Worker:
        context = start_method()
        ours, theirs = context.Pipe()
        kind: Any = self.suite
        asked = self.folder, replace(self.config, device="cpu"), type(kind), kind.own_name, kind.options
        process = context.Process(target=serve, args=(theirs, *asked))  # no daemon: its environments may
        process.start()  # have processes of their own
        theirs.close()
        return Worker(process, ours)


def serve(pipe: Connection, folder: Path, config: RunConfig, kind: Any, own_name: str, options: Any) -> None:
    """Answer jobs until the pipe closes, as it does when the run's process is gone."""
    from trajrl.training.arithmetic import set_arithmetic
    from trajrl.training.run_dir.load_run import LoadedRun

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent answers it
    set_arithmetic(config)
    run, suite = LoadedRun(folder, config), None
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            suite = suite or kind(own_name, options)
            answer: tuple[bool, Any] = False, answered(run, suite, job)
        except Exception as error:
            answer = True, f"{type(error).__name__}: {' '.join(str(error).split())}"
        try:
            pipe.send(answer)
        except OSError:
            return


def answered(run: Any, suite: EnvSuite, job: Awaited) -> Answer:
    """Run the episodes of a job."""
    from trajrl.rollout.evaluate import evaluate

    broken: list[Any] = []
    agent, config = run.agent(str(job.step)), run.config
    rows = evaluate(agent, suite, config.seed, job.step, job.episodes, config.eval_envs, broken=broken.append)
    return Answer(rows, [str(error) for error in broken])
