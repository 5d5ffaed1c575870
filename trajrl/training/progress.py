"""Meter: what a person sees of a run, and what it measures of itself.

On a terminal a bar with updates per second, time left and the last score; else a line every ten seconds.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trajrl.training.run_dir.evaluations import Evaluation


class Meter:
    """Counts steps and seconds, and shows them; quiet until `start`."""

    def __init__(self, total: int, phase: str) -> None:
        self.total, self.phase = total, phase
        self._before = 0.0  # seconds of earlier sittings
        self._first = 0  # step this sitting began at
        self._began = self._said = time.monotonic()
        self._mark = (self._began, 0)
        self._last_score = ""
        self._evaluating = 0.0  # seconds spent in evaluations of this sitting
        self._eval_began: float | None = None
        self._bar: Any = None
        self.step = 0

    @property
    def seconds(self) -> float:
        """Return the seconds of all sittings."""
        return self._before + time.monotonic() - self._began

    @property
    def rate(self) -> float:
        """Return updates per second of this sitting, evaluations left out."""
        return (self.step - self._first) / max(1e-9, time.monotonic() - self._began - self._evaluating)

    def resume(self, seconds: float, step: int) -> None:
        """Go on counting from an earlier sitting."""
        self._before, self._first, self.step = seconds, step, step

    def tick(self, step: int) -> None:
        """Note a finished step and show it when due."""
        self._end_evaluation()
        self.step = step
        if sys.stderr.isatty():
            self._draw()
        elif time.monotonic() - self._said >= 10:
            self._said = time.monotonic()
            print(self._line(), file=sys.stderr, flush=True)

    def say(self, what: str) -> None:
        """Show that something other than training goes on."""
        self._eval_began = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, score=what)
            self._bar.refresh()

    def show(self, found: Evaluation) -> None:
        """Print the result of an evaluation as a line that stays."""
        self._end_evaluation()
        line = f"step {found.step:>7}: {told(found)}   [{self.seconds:.0f} s]"
        self._last_score = f"{found.scale} {found.value:.1f}"
        if self._bar is not None:
            self._bar.console.print(line, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def summary(self) -> dict[str, float]:
        """Return seconds, updates per second and peak memory in MiB."""
        self._end_evaluation()
        if self._bar is not None:
            self._bar.stop()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"seconds": self.seconds, "updates_per_second": self.rate, "peak_memory_mib": peak}

    def _end_evaluation(self) -> None:
        if self._eval_began is not None:
            self._evaluating += time.monotonic() - self._eval_began
            self._eval_began = None

    def _line(self) -> str:
        left = (self.total - self.step) / max(1e-9, self.rate)
        place = f"{self.phase} step {self.step} of {self.total}"
        return f"{place}, {self.rate:.0f} updates/s, {left:.0f} s left {self._last_score}".rstrip()

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        if self._bar is None:
            columns = (
                TextColumn("{task.description}"), BarColumn(bar_width=None),
                TextColumn("{task.completed}/{task.total}"), TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(), TextColumn("{task.fields[score]}"),
            )  # fmt: skip
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)
            self._task = self._bar.add_task(self.phase, total=self.total, rate="", score="")
            self._bar.start()
        self._bar.update(
            self._task, completed=self.step, rate=f"{self.rate:.0f} updates/s", score=self._last_score
        )


def told(found: Evaluation) -> str:
    """Say what an evaluation found; without a scale that is a return and no score."""
    spread = f"(episodes {found.values.min():.1f} to {found.values.max():.1f})"
    rest = f", return {found.return_mean:.1f}" if found.scale == "score" else ""
    success = "" if found.success_mean is None else f", success {found.success_mean:.0%}"
    return f"{found.scale} {found.value:6.1f} {spread}{rest}{success}"
