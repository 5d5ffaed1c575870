"""Logger: metrics.csv, one row per log interval, and TensorBoard beside it.

Metrics are summed where they are, on the device, and read once per interval.  The file can be cut back to a
step, so that a resumed run continues it as if it had never stopped.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.training.run_dir.boards import Board, Facts, flat
from trajrl.training.run_dir.csv_log import append_csv, cut_csv, read_csv, read_header, rewrite_csv, writing

if TYPE_CHECKING:
    from torch import Tensor

    from trajrl.training.config import RunConfig


JUDGED = ("score", "success", "return", "length")  # by what hyper-parameters are compared


class Logger:
    """Collects scalars under 'phase/part/name' and writes their mean over each interval."""

    def __init__(
        self,
        folder: Path,
        tensorboard: bool = True,
        others: Sequence[Board] = (),
        config: RunConfig | None = None,
    ) -> None:
        """Write under `folder`; the others get what TensorBoard gets, which shows the config too."""
        self.others, self._config, self._facts = tuple(others), config, Facts()
        self.path = folder / "metrics.csv"
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._columns = read_header(self.path)
        self._folder = folder / "tb" if tensorboard else None
        self._board: Any = None

    def show_on(self, board: Board) -> None:
        """Let another board have what TensorBoard gets."""
        self.others = (*self.others, board)

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Take in the metrics of one update; nothing is read from the device."""
        import torch

        known = {name: value.detach() for name, value in metrics.items() if name in self._sums}
        if known:  # one launch for all of them
            torch._foreach_add_([self._sums[name] for name in known], list(known.values()))
        for name, value in metrics.items():
            if name not in known:
                self._sums[name] = value.detach().clone()
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the means of what was added since the last call: the one synchronisation of the interval."""
        import torch

        names = list(self._sums)
        counts = torch.tensor([self._counts[name] for name in names], dtype=torch.float64)
        sums = torch.stack([self._sums[name].double() for name in names]).cpu() if names else counts
        self._sums, self._counts = {}, {}
        return dict(zip(names, (sums / counts).tolist()))

    def flush(self, phase: str, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Write the means since the last call, with `values` beside them, as one row.  Returns the row."""
        return self.write(phase, step, {**self.means(), **values})

    def write(self, phase: str, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Write values as one row of metrics.csv, and show them.  Returns the row."""
        row = {f"{phase}/{name}": value for name, value in values.items()}
        self._write({"step": step, **row})
        self.scalars(row, step)
        return row

    def amend(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Put what became known later into the row of `step`, which is there or else made, and show it."""
        row = {f"{phase}/{name}": value for name, value in values.items()}
        self._columns += [name for name in ("step", *row) if name not in self._columns]
        rows: list[dict[str, Any]] = list(read_csv(self.path))
        place = next((each for each in rows if int(each["step"]) == step), None)
        if place is None:
            rows.append(place := {"step": step})
        place.update(row)
        rewrite_csv(self.path, self._columns, sorted(rows, key=lambda each: int(each["step"])))
        self.scalars(row, step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Send scalars to TensorBoard only: what depends on the clock never goes into metrics.csv."""
        curves, facts = self._facts.take(values)
        for other in self.others:
            other.scalars(curves, step)
            if facts:
                other.facts(facts, step)
        with writing(self._folder):
            board = self.board(step)
            for name, value in curves.items() if board else ():
                board.add_scalar(name, value, step)
            if board and facts:
                board.add_text("facts", facts_table(facts), step)

    def board(self, step: int) -> Any:
        """Return TensorBoard's writer, opened at `step` of the run; None where nothing is written for it.

        A run has this one alone.  TensorBoard reads the files of a folder one after another and, once it has
        seen a later one, never again looks into an earlier: a second writer would end the scalars.
        """
        if self._board is None and self._folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._folder), purge_step=step)
            if self._config is not None:
                show_config(self._board, self._config, step)
            threading.excepthook = left_to_the_next_scalar
        return self._board

    def video(self, name: str, mp4: bytes, step: int) -> None:
        """Send a video to the other boards; TensorBoard's own are pictures that move."""
        for other in self.others:
            other.video(name, mp4, step)

    def cut_back(self, step: int) -> None:
        """Drop rows after `step`: a resumed run writes them again."""
        cut_csv(self.path, step)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of the interval under way."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the sums of the interval under way."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])

    def close(self) -> None:
        """Flush what shows the scalars."""
        for other in self.others:
            other.close()
        if self._board is not None:
            with writing(self._folder):
                self._board.close()

    def _write(self, row: Mapping[str, float]) -> None:
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns += new
            rewrite_csv(self.path, self._columns, read_csv(self.path))
        append_csv(self.path, self._columns, [row])


def left_to_the_next_scalar(failed: threading.ExceptHookArgs) -> None:
    """Print no traceback where TensorBoard's thread cannot write: the next scalar raises its error again."""
    if not (isinstance(failed.exc_value, OSError) and type(failed.thread).__name__ == "_AsyncWriterThread"):
        threading.__excepthook__(failed)


def show_config(board: Any, config: RunConfig, step: int) -> None:
    """Show a config as text, and as the hyper-parameters that TensorBoard compares runs by."""
    from torch.utils.tensorboard.summary import hparams

    text = json.dumps(asdict(config), indent=2)
    board.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()), step)  # four: as it is
    judged = dict.fromkeys((f"{config.phase}/eval/{name}" for name in JUDGED), 0.0)
    for summary in hparams(flat(config), judged):
        board._get_file_writer().add_summary(summary, step)


def facts_table(facts: Mapping[str, float]) -> str:
    """Write what is constant as a table for TensorBoard's page of texts."""
    rows = "".join(f"| {name} | {value:.6g} |\n" for name, value in facts.items())
    return "| what | value |\n|---|---:|\n" + rows
