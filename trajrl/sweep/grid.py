"""The grid of a sweep: NAME=VALUE,VALUE ... times seeds, as trials with a name and a folder each.

A name is an option of a run (agent, sampler, batch_size) or any field of its config (agent.eta, eval_every).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from zlib import crc32

from trajrl.core import old_names

PLAIN = ("agent", "sampler")  # fields whose value says by itself what it is


@dataclass(frozen=True)
class Trial:
    """One run of a sweep."""

    name: str
    folder: Path  # of the run
    log: Path  # what the run printed
    settings: tuple[str, ...]  # NAME=VALUE, what --set takes
    cell: tuple[tuple[str, str], ...]  # its place in the grid
    seed: int
    trust: bool = False  # --trust was given
    words: tuple[str, ...] = ("offline",)  # the command that does it, and what it takes besides
    seeds: int = 1  # runs that one process trains together, from `seed` on: {seed} in `folder` names each

    @property
    def folders(self) -> list[Path]:
        """Return the folder of every run."""
        numbers = range(self.seed, self.seed + self.seeds)
        return [Path(str(self.folder).replace("{seed}", str(number))) for number in numbers]

    @property
    def finished(self) -> bool:
        """Say whether the run came to its end; its summary is the last thing it writes."""
        return (self.folder / "summary.json").exists()

    @property
    def begun(self) -> bool:
        """Say whether there is something to continue from."""
        return (self.folder / "checkpoints" / "latest").exists()


def read_grid(words: Sequence[str]) -> dict[str, list[str]]:
    """Read `agent=a,b agent.hidden=[16,16],[32,32]`; commas inside brackets do not part values."""
    grid: dict[str, list[str]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        values = [value.strip() for value in re.split(r",(?![^\[]*\])", text)]
        if not (name and equals) or "" in values:
            raise ValueError(f"--grid takes NAME=VALUE,VALUE ...; got '{word}'")
        name = old_names.setting(name)
        if name in ("seed", "out", "resume", "resume_or_start", "phase"):
            raise ValueError(
                f"--grid cannot vary {name}{': --seeds says how many' if name == 'seed' else ''}"
            )
        if name in grid:
            raise ValueError(f"--grid names {name} twice")
        if len(set(values)) < len(values):
            raise ValueError(f"--grid {name} has a value twice: {text}")
        grid[name] = values
    return grid


def trials(
    out: Path,
    grid: Mapping[str, Sequence[str]],
    base: Sequence[str],
    seeds: Sequence[int],
    trust: bool = False,
) -> list[Trial]:
    """Return a trial for every cell and seed, seeds varying first: early results cover the grid."""
    found = []
    for seed in seeds:
        for values in product(*grid.values()):
            cell = tuple(zip(grid, values))
            name = folder_name(out, cell, seed)
            settings = (*base, *(f"{key}={value}" for key, value in cell))
            folder, log = out / "trials" / name, out / "logs" / f"{name}.txt"
            found.append(Trial(name, folder, log, settings, cell, seed, trust))
    return found


def together(planned: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    """Let the trials of a cell, which differ in their seed alone, be one where their names allow it.

    Returns the trials with the log that each is written to, and what is to be run for those not finished.
    """
    cells: dict[tuple[tuple[str, str], ...], list[Trial]] = {}
    for trial in planned:
        cells.setdefault(trial.cell, []).append(trial)
    logs: dict[str, Path] = {}
    todo: list[Trial] = []
    for trials_of in cells.values():
        whole = as_one(trials_of)
        logs |= {trial.name: whole.log if whole else trial.log for trial in trials_of}
        left = [trial for trial in trials_of if not trial.finished]
        todo += [whole] if whole and left else left
    return [replace(trial, log=logs[trial.name]) for trial in planned], todo


def as_one(alike: Sequence[Trial]) -> Trial | None:
    """Return the trial that stands for all of them; None where their folders differ in more than the seed."""
    first, last = alike[0], alike[-1]
    stem = first.name.removesuffix(f"s{first.seed}")
    if len(alike) == 1 or [trial.name for trial in alike] != [f"{stem}s{trial.seed}" for trial in alike]:
        return None
    name = f"{stem}s{first.seed}-s{last.seed}"
    folder, log = first.folder.with_name(f"{stem}s{{seed}}"), first.log.with_name(f"{name}.txt")
    return replace(first, name=name, folder=folder, log=log, seeds=len(alike))


def folder_name(out: Path, cell: Sequence[tuple[str, str]], seed: int) -> str:
    """Return the name of a trial; one that an earlier version began keeps the name that it has."""
    older = trial_name([(old_names.former(key), value) for key, value in cell], seed)
    return older if (out / "trials" / older).exists() else trial_name(cell, seed)


def trial_name(cell: Sequence[tuple[str, str]], seed: int) -> str:
    """Return a folder's name that no other cell has."""
    words = [
        value.replace("*", "-x-").replace(" ", "-") if key in PLAIN else f"{key.rpartition('.')[2]}={value}"
        for key, value in cell
    ]
    text = "-".join([*words, f"s{seed}"])
    name = re.sub(r"[^A-Za-z0-9._=+-]", "_", text)
    return name if name == text else f"{name}-{crc32(text.encode()):08x}"
