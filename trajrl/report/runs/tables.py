"""The tables of a run folder, read whether or not the run is still writing them.

Each kind is read run by run, cheaply, and made tidy once, when the rows of many runs are together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.old_names import metric
from trajrl.core.plain_file import open_to_read, read_bytes
from trajrl.store.file.bounds import refuse_bomb
from trajrl.training.run_dir.evaluations import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

NUMBER_BYTES = 8
SAID = {True: 1.0, False: 0.0, "True": 1.0, "False": 0.0}


@dataclass(frozen=True)
class Kind:
    """One kind of table: its file, how one run's is read, and how rows are made tidy."""

    file: str
    read: Callable[[Path, list[str]], pd.DataFrame]  # the list takes a line for a file that is damaged
    tidy: Callable[[pd.DataFrame], pd.DataFrame]


def read_evals(path: Path, notes: list[str]) -> pd.DataFrame:
    """Read evals.csv as it is."""
    return _finite(_with_columns(read_rows(path, notes), COLUMNS, path, notes), path, notes)


def tidy_evals(rows: pd.DataFrame) -> pd.DataFrame:
    """Return numbers, and `value`: the score; without one success (0 or 1), if all say; else the return."""
    rows = _numbers(rows.assign(success=rows["success"].map(SAID).astype(float)))
    rows = rows[np.isfinite(rows["step"].to_numpy(float)) & rows["return"].notna()]
    rows = rows.astype({"step": "int64", "score": float})
    rows = rows.assign(value=rows["score"].fillna(rows["return"]))
    solved = by_success(rows)
    return rows.assign(value=rows["value"].where(~solved, rows["success"]))


def by_success(rows: pd.DataFrame) -> pd.Series:
    """Say of each evaluation episode whether success is its run's main figure: known of all, no score."""
    known = rows["success"].notna() & rows["score"].isna()
    return known.groupby(rows["run"], observed=True).transform("all").astype(bool)


def read_metrics(path: Path, notes: list[str]) -> pd.DataFrame:
    """Read metrics.csv as it is: step, and columns 'phase/part/name'."""
    return _with_columns(read_rows(path, notes), ["step"], path, notes, more=True)


def tidy_metrics(rows: pd.DataFrame) -> pd.DataFrame:
    """Return numbers."""
    rows = _numbers(rows)
    return rows[np.isfinite(rows["step"].to_numpy(float))].astype({"step": "int64"})


def read_episodes(path: Path, notes: list[str]) -> pd.DataFrame:
    """Read episodes.parquet, with the episode as a column."""
    import pandas as pd
    from pyarrow.parquet import ParquetFile

    nothing = pd.DataFrame({"episode": pd.Series(dtype="int64")})
    if not path.exists():
        return nothing
    try:
        with open_to_read(path) as file:
            table = ParquetFile(file)  # pandas would load what reads many files at once
            num_bytes = table.metadata.num_rows * table.metadata.num_columns * NUMBER_BYTES
            refuse_bomb(path, num_bytes, path.stat().st_size, "read it with pandas")
            rows = table.read().to_pandas()
    except (OSError, ValueError) as error:
        notes.append(f"{path} is left out: {_line(error, path)}")
        return nothing
    if "draws" not in rows.columns:
        notes.append(f"{path} is left out: it has no column 'draws'")
        return nothing
    return rows if "episode" in rows.columns else rows.rename_axis("episode").reset_index()


EVALS = Kind("evals.csv", read_evals, tidy_evals)
METRICS = Kind("metrics.csv", read_metrics, tidy_metrics)
EPISODES = Kind("episodes.parquet", read_episodes, lambda rows: rows)


def read_rows(path: Path, notes: list[str]) -> pd.DataFrame:
    """Read the whole lines of a csv file; a last line without its end is still being written."""
    import pandas as pd

    try:
        text = read_bytes(path)
    except FileNotFoundError:
        return pd.DataFrame()
    except (OSError, ValueError) as error:
        notes.append(f"{path} is left out: {_line(error, path)}")
        return pd.DataFrame()
    text = text[: text.rfind(b"\n") + 1]
    if not text.strip():
        return pd.DataFrame()
    try:
        found = pd.read_csv(BytesIO(text), on_bad_lines="skip", encoding_errors="replace", low_memory=False)
        return found.rename(columns=metric)
    except ValueError as error:
        notes.append(f"{path} is left out: {_line(error, path)}")
        return pd.DataFrame()


def _with_columns(
    rows: pd.DataFrame, columns: list[str], path: Path, notes: list[str], more: bool = False
) -> pd.DataFrame:
    """Return the columns asked for (and the others too, if `more`), without rows where one is missing."""
    import pandas as pd

    missing = [name for name in columns if name not in rows.columns]
    if missing and len(rows.columns):
        notes.append(f"{path} is left out: it has no column '{missing[0]}'")
    if missing:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in columns})
    return rows if more else rows[columns]


def _finite(rows: pd.DataFrame, path: Path, notes: list[str]) -> pd.DataFrame:
    """Return the episodes whose return and score are numbers; the others would spoil every statistic."""
    import pandas as pd

    numbers = rows[["return", "score"]].apply(pd.to_numeric, errors="coerce").astype(float)
    bad = numbers["return"].isna() | np.isinf(numbers).any(axis=1)
    if bad.any():
        notes.append(f"{path}: {bad.sum()} episodes without a finite return and score are left out")
    return rows[~bad]


def _numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Turn columns that hold anything else into numbers, but for `run`; what is none becomes missing."""
    import pandas as pd

    odd = [name for name, kind in rows.dtypes.items() if kind.kind not in "iuf" and name != "run"]
    return rows.assign(**{name: pd.to_numeric(rows[name], errors="coerce") for name in odd})


def _line(error: Exception, path: Path) -> str:
    """Return what an error says, short, without the file that the note names already."""
    return " ".join(str(error).removeprefix(str(path)).split())[:120]
