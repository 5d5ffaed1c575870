"""What TensorBoard shows of a run under way, beside the scalars of its log: see `board`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trajrl.core.console import say
from trajrl.report import board

if TYPE_CHECKING:
    from trajrl.training.run import Run


class LiveView:
    """Adds to tb/ after every evaluation; draws no random number and changes nothing of the run."""

    def __init__(self) -> None:
        self._given_up: set[str] = set()

    def __call__(self, run: Run, last: bool) -> None:
        """Show the run as it stands after an evaluation."""
        step = run.clock
        writer = run.logger.board(step)
        if writer is None:
            return
        episodes = run.provenance.frame()
        rows = episodes.reset_index()
        self._show("histograms", lambda: board.histograms(writer, episodes, step))
        self._show("embedding", lambda: board.embedding(run.folder / "tb", run.store, rows, step))
        if run.suite is not None and self._to_film(run, last):
            run.meter.say("filming episodes")
            self._show("videos", lambda: self._film(run, step))
        writer.flush()

    def _to_film(self, run: Run, last: bool) -> bool:
        """Say whether this evaluation is one to film."""
        every = run.config.video_every
        return every > 0 and (last or len(run.scores.evaluations) % every == 0)

    def _film(self, run: Run, step: int) -> None:
        import pandas as pd

        from trajrl.report.clips import film_policy

        assert run.suite is not None
        rows = pd.DataFrame(run.scores.evaluations[-1].rows)
        clips = film_policy(run.agent, run.suite, run.config.seed, rows, board.RATE)
        board.videos(run.logger.board(step), clips, step)

    def _show(self, what: str, make: Callable[[], None]) -> None:
        """Do without what cannot be shown, and say so once: a picture is no reason to end a run."""
        if what in self._given_up:
            return
        try:
            make()
        except Exception as error:
            self._given_up.add(what)
            reason = " ".join(str(error).split()) or type(error).__name__
            say(f"note: TensorBoard goes on without {what}: {reason}")
