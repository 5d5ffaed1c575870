"""Progress: what a person sees of a run, and what it measures of itself.

On a terminal a bar with rates, time left and the last score and success; else a line every ten seconds.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from trajrl.store.notes import counted
from trajrl.training.run_dir.evaluations import Evaluation, shown

SHORTEST, LONGEST = 8, 40  # columns of the bar itself


class Progress:
    """Counts steps, updates and seconds, and shows them; quiet until the first tick.

    Offline a step is an update; online it is a step in the environment, and updates are counted apart.
    """

    def __init__(self, total: int, phase: str) -> None:
        self.total, self.phase = total, phase
        self._before = self._processor_before = 0.0  # seconds before the run was resumed
        self._first = {"step": 0, "updates": 0}  # counts when this process began
        self._began = self._said = time.monotonic()
        self._processor_began = time.process_time()
        self._last_score = ""
        self._evaluating = 0.0  # seconds that this process spent in evaluations
        self._eval_began: float | None = None
        self._bar: Bar | None = None
        self._name, self._speaker = "", self  # whose bar and lines it shows its own evaluations among
        self.step = self.updates = 0

    def speak_through(self, speaker: Progress, name: str) -> None:
        """Name this run, one of several that train together, in its lines, and leave the bar to `speaker`."""
        self._name, self._speaker = name, speaker

    @property
    def seconds(self) -> float:
        """Return the seconds of the run, those before it was resumed included."""
        return self._before + time.monotonic() - self._began

    @property
    def processor_seconds(self) -> float:
        """Return the same of processor time, of all threads: what else the machine does changes it little."""
        return self._processor_before + time.process_time() - self._processor_began

    def rates(self) -> dict[str, float]:
        """Return updates per second of this process and, online, environment steps; evaluations left out."""
        now = time.monotonic()
        open_evaluation = now - self._eval_began if self._eval_began is not None else 0.0
        seconds = max(1e-9, now - self._began - self._evaluating - open_evaluation)
        found = {"updates_per_second": (self.updates - self._first["updates"]) / seconds}
        if self.phase == "online":
            found["env_steps_per_second"] = (self.step - self._first["step"]) / seconds
        return found

    @property
    def idle(self) -> bool:
        """Say whether this process made no update: then it has no rate."""
        return self.updates == self._first["updates"]

    def resume(self, seconds: float, step: int, updates: int, processor_seconds: float = 0.0) -> None:
        """Continue the counts of a run that is resumed."""
        self._before, self._first = seconds, {"step": step, "updates": updates}
        self._processor_before = processor_seconds
        self.step, self.updates = step, updates

    def tick(self, step: int, updates: int) -> None:
        """Note a finished step, and the updates so far, and show them when due."""
        self._end_evaluation()
        self.step, self.updates = step, updates
        if self._speaker is not self:
            return
        if sys.stderr.isatty():
            self._draw()
        elif time.monotonic() - self._said >= 10:
            self._said = time.monotonic()
            print(self._line(), file=sys.stderr, flush=True)

    def say(self, what: str) -> None:
        """Show that something other than training continues."""
        self._eval_began = time.monotonic()
        if self._bar is not None:
            self._draw(what)
            self._bar.refresh()

    def show(self, found: Evaluation) -> None:
        """Print the result of an evaluation as a line that stays."""
        self._end_evaluation()
        line = f"step {found.step:>7}: {described(found)}   [{self.seconds:.0f} s]"
        self._last_score = headline(found)
        self._speaker.print(f"{self._name} {line}" if self._name else line)

    def print(self, line: str) -> None:
        """Print a line that stays, above the bar if there is one."""
        if self._bar is not None:
            self._bar.print(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def summary(self) -> dict[str, float]:
        """Return seconds, by the clock and of the processor, rates per second and peak memory in MiB."""
        self._end_evaluation()
        if self._bar is not None:
            self._bar.stop()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        seconds = {"seconds": self.seconds, "processor_seconds": self.processor_seconds}
        return {**seconds, **self.rates(), "peak_memory_mib": peak}

    def _end_evaluation(self) -> None:
        if self._eval_began is not None:
            self._evaluating += time.monotonic() - self._eval_began
            self._eval_began = None

    def _line(self) -> str:
        unit = "environment step" if self.phase == "online" else "step"
        place = f"{self.phase}, {unit} {self.step} of {self.total}"
        parts = [place, rate_line(self.rates()), self._left(), self._last_score]
        return ", ".join(part for part in parts if part)

    def _left(self) -> str:
        """Say how long the rest takes at the rate so far; nothing before a first step."""
        left = self._seconds_left()
        return "" if left is None else f"{left:.0f} s left"

    def _seconds_left(self) -> float | None:
        rate = list(self.rates().values())[-1]  # of what the steps count
        return (self.total - self.step) / rate if rate > 0 else None

    def _draw(self, what: str = "") -> None:
        """Show the bar, and behind it what continues, else the last score."""
        if self._bar is None:
            self._bar = Bar(self.phase, self.total)
        left = self._seconds_left()
        time_left = "" if left is None else str(timedelta(seconds=round(left)))
        notes = [f"{self.step}/{self.total}", self._last_score, time_left, rate_line(self.rates())]
        self._bar.show(self.step, [what, notes[0], *notes[2:]] if what else notes)


class Bar:
    """A bar on one line of the terminal, however narrow: what does not fit beside it is left out."""

    def __init__(self, phase: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.phase = phase
        self._column = BarColumn(bar_width=SHORTEST)
        texts = (
            TextColumn("{task.description}"),
            self._column,
            TextColumn("{task.fields[text]}", markup=False),
        )
        self._rich = Progress(*texts, console=Console(stderr=True), transient=True, refresh_per_second=4)
        self._task = self._rich.add_task(phase, total=total, text="")

    def show(self, step: int, notes: Sequence[str]) -> None:
        """Show the step and as many of the notes as fit, the most important first."""
        room = self._rich.console.width - len(self.phase) - 2  # a space on each side of the bar
        text = fitting(notes, room - SHORTEST)
        self._column.bar_width = max(1, min(LONGEST, room - len(text)))
        self._rich.update(self._task, completed=step, text=text)
        self._rich.start()  # once: its first frame has the notes already

    def print(self, line: str) -> None:
        """Print a line above the bar that stays."""
        self._rich.console.print(line, highlight=False)

    def refresh(self) -> None:
        """Show it now."""
        self._rich.refresh()

    def stop(self) -> None:
        """Take the bar away."""
        self._rich.stop()


def fitting(notes: Sequence[str], room: int) -> str:
    """Join those notes that fit into `room` columns; an earlier one has the place before a later."""
    text = ""
    for note in filter(None, notes):
        longer = f"{text}  {note}" if text else note
        text = longer if len(longer) <= room else text
    return text


def rate_line(rates: Mapping[str, float]) -> str:
    """Write rates for people: 40 updates/s, 50 environment steps/s."""
    units = {"updates_per_second": "update[s]/s", "env_steps_per_second": "environment step[s]/s"}
    return ", ".join(counted(unit, round(rates[name])) for name, unit in units.items() if name in rates)


def headline(found: Evaluation) -> str:
    """Say the main figure of an evaluation, and beside a score or return the success rate."""
    success = "" if found.success_mean is None else f", success {found.success_mean:.0%}"
    main = f"{found.scale} {shown(found.value, found.scale)}"
    return main if found.scale == "success" else main + success


def described(found: Evaluation) -> str:
    """Say what an evaluation found; without a scale that is success, else a return, and no score."""
    main = f"{found.scale} {shown(found.value, found.scale):>6}"
    if found.scale == "success":
        spread = f"({found.values.sum():.0f} of {len(found.values)} episodes)"
    else:
        spread = f"(episodes {found.values.min():.1f} to {found.values.max():.1f})"
    rest = f", return {found.return_mean:.1f}" if found.scale != "return" else ""
    known = found.success_mean is not None and found.scale != "success"
    return f"{main} {spread}{rest}" + (f", success {found.success_mean:.0%}" if known else "")
