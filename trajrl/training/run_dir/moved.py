"""What a run names by path, found again when run and data were moved together, or from another folder.

A new run keeps absolute paths.  One that leads nowhere is looked for beside the run: its longest ending that
is there below the run's folder or one above it, so /a/data/x.h5 of /a/runs/r is /b/data/x.h5 of /b/runs/r.
What is found is held to the fingerprint that the run noted, as any data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from trajrl.core.console import say
from trajrl.store.places import change_places, exists
from trajrl.store.remote.addresses import is_far

Config = Any  # a RunConfig, which itself asks here where its data is


def at_hand(config: Config, folder: Path) -> Config:
    """Return the config of a run's folder with its data, and the run it came from, where they are now."""
    folder = Path(os.path.abspath(folder))
    data = change_places(config.data, lambda place: found_again(place, folder))
    before = config.from_run and not (Path(config.from_run) / "config.json").exists()
    if not before:
        return config if data == config.data else replace(config, data=data)
    place = next((p for p in beside(config.from_run, folder) if (p / "config.json").exists()), None)
    return replace(config, data=data, from_run=str(place or config.from_run))


def found_again(place: str, folder: Path) -> str:
    """Return where a file of data is now; a place that is there, a name and an address stay."""
    if exists(place) or is_far(place) or not (os.path.isabs(place) or Path(place).suffix):
        return place
    found = next((str(path) for path in beside(place, folder) if exists(str(path))), place)
    if found != place:
        say_once(f"{place} is not here; {found}, which lies so beside {folder.name}, is taken")
    return found


@cache
def say_once(line: str) -> None:
    """Say it at the first of several readings of a config."""
    say(line)


def beside(place: str, folder: Path) -> Iterator[Path]:
    """Yield what endings of a path would be below a folder and those above it, the longest endings first."""
    parts = [part for part in Path(place).parts if part not in ("/", "..", ".")]
    for first in range(len(parts)):
        for above in (folder, *folder.parents):
            yield above.joinpath(*parts[first:])
