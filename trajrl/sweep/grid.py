"""The grid of a sweep: NAME=VALUE,VALUE ... times seeds, as trials with a name and a folder each.

A name is an option of a run (agent, sampler, batch_size) or any field of its config (agent.eta, eval_every).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
