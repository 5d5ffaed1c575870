"""Tables of many runs, kept as one parquet file per folder of runs and kind of table.

A run's rows are used as long as its file has the size and the time of change it had; only other runs are read
again.  The files lie under $XDG_CACHE_HOME/trajrl (else ~/.cache/trajrl) and may be deleted at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajrl.report.runs.tables import Kind

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 2  # of what is kept; rows of another are read again
CACHE_FROM = 20  # runs side by side; fewer are read faster than kept
Signature = list[int]


def gather(folders: Mapping[str, Path], kind: Kind) -> pd.DataFrame:
    """Read a table of every run into one frame with a column `run`; attrs["notes"] says what failed."""
    import pandas as pd

    notes: list[str] = []
    by_parent: dict[Path, dict[str, Path]] = {}
    for run, folder in folders.items():
        by_parent.setdefault(folder.parent, {})[run] = folder
    parts = []
    for runs in by_parent.values():
        parts.append((_kept if len(runs) >= CACHE_FROM else _fresh)(runs, kind, notes))
    parts = [part for part in parts if len(part)] or parts[:1]
    joined = pd.concat(parts, ignore_index=True)
    order = pd.CategoricalDtype(list(folders))
    joined = joined.astype({"run": order}).sort_values("run", kind="stable", ignore_index=True)
    joined.attrs = {"notes": notes}
    return joined


def cache_folder() -> Path:
    """Return where tables are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "trajrl"


def _fresh(folders: Mapping[str, Path], kind: Kind, notes: list[str]) -> pd.DataFrame:
    """Read every run's file."""
    import pandas as pd

    parts = {run: kind.read(folder / kind.file, notes) for run, folder in folders.items()}
    full = {run: part for run, part in parts.items() if len(part)}
    if not full:
        return kind.tidy(next(iter(parts.values())).assign(run="")[:0])
    names = pd.Series(np.repeat(list(full), [len(part) for part in full.values()]), name="run")
    rows = pd.concat(full.values(), ignore_index=True)
    return kind.tidy(pd.concat([names, rows], axis=1))  # at once: a wide frame takes no column more


def _kept(folders: Mapping[str, Path], kind: Kind, notes: list[str]) -> pd.DataFrame:
    """Read the files that changed since they were kept, take the others from there, and keep the result."""
    import pandas as pd

    parent = next(iter(folders.values())).parent
    key = blake2b(str(parent).encode(), digest_size=8).hexdigest()
    place = cache_folder() / f"{key}-{SCHEMA}-{kind.file}.parquet"
    now = {folder.name: _signature(folder / kind.file) for folder in folders.values()}
    names = {folder.name: run for run, folder in folders.items()}
    rows, before = _load(place)
    good = {name for name, signature in now.items() if before.get(name) == signature}
    stale = {name: parent / name for name in now if name not in good}
    parts = [rows[rows["run"].isin(good)]] if rows is not None else []
    if stale:
        parts.append(_fresh(stale, kind, notes))
    filled = [part for part in parts if len(part)] or parts[-1:]
    joined = pd.concat(filled, ignore_index=True)
    full = set(joined["run"])  # a file that should have rows and gave none is read, and reported, every time
    if stale:
        _save(place, joined, {name: sign for name, sign in now.items() if sign[0] <= 0 or name in full})
    joined = joined[joined["run"].isin(list(now))]
    return joined.assign(run=joined["run"].astype("category").cat.rename_categories(names).astype(str))


def _signature(path: Path) -> Signature:
    """Return size and time of change; of a missing file a pair that no file has."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return [-1, -1]
    return [found.st_size, found.st_mtime_ns]


def _load(place: Path) -> tuple[pd.DataFrame | None, dict[str, Signature]]:
    """Return the kept rows and signatures; nothing where the file is missing, foreign or damaged."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(place)
        signatures = json.loads(table.schema.metadata[b"trajrl"])
        return table.to_pandas(), signatures
    except (OSError, KeyError, TypeError, ValueError, pyarrow.ArrowException):
        return None, {}


def _save(place: Path, rows: pd.DataFrame, signatures: Mapping[str, Signature]) -> None:
    """Keep rows under a temporary name first; a folder that cannot be written to is no reason to stop."""
    import pyarrow
    import pyarrow.parquet as parquet

    rows = rows.astype({"run": "category"})
    table = pyarrow.Table.from_pandas(rows, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), b"trajrl": json.dumps(signatures).encode()}
    scratch = place.with_suffix(f".{os.getpid()}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table.replace_schema_metadata(metadata), scratch, compression="zstd")
        os.replace(scratch, place)
    except OSError:
        with suppress(OSError):
            scratch.unlink()
