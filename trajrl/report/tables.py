"""The tables of a run folder, read whether or not the run is still writing them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from trajrl.scores import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

SAID = {True: 1.0, False: 0.0, "True": 1.0, "False": 0.0}


def read_evals(path: Path, notes: list[str]) -> pd.DataFrame:
    """Read evals.csv and add `value`: the score, or the return where there is no scale."""
    import pandas as pd

    rows = read_rows(path, notes)
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        if len(rows.columns):
            notes.append(f"{path} is left out: it has no column '{missing[0]}'")
        rows = pd.DataFrame({name: pd.Series(dtype=float) for name in COLUMNS})
    rows = _numbers(rows[COLUMNS].assign(success=rows["success"].map(SAID).astype(float)))
    rows = rows[rows["step"].notna() & rows["return"].notna()]
    rows = rows.astype({"step": "int64", "score": float})
    return rows.assign(value=rows["score"].fillna(rows["return"]))


def read_metrics(path: Path, notes: list[str]) -> pd.DataFrame:
    """Read metrics.csv: step, and numbers under 'phase/part/name'."""
    import pandas as pd

    rows = read_rows(path, notes)
    if "step" not in rows.columns:
        if len(rows.columns):
            notes.append(f"{path} is left out: it has no column 'step'")
        return pd.DataFrame({"step": pd.Series(dtype="int64")})
    rows = _numbers(rows)
    return rows[rows["step"].notna()].astype({"step": "int64"})


def read_episodes(path: Path, notes: list[str]) -> pd.DataFrame:
    """Read episodes.parquet, with the episode as a column."""
    import pandas as pd

    try:
        rows = pd.read_parquet(path)
    except FileNotFoundError:
        return pd.DataFrame({"episode": pd.Series(dtype="int64")})
    except (OSError, ValueError) as error:
        notes.append(f"{path} is left out: {' '.join(str(error).split())[:120]}")
        return pd.DataFrame({"episode": pd.Series(dtype="int64")})
    return rows if "episode" in rows.columns else rows.rename_axis("episode").reset_index()


def read_rows(path: Path, notes: list[str]) -> pd.DataFrame:
    """Read the whole lines of a csv file; a last line without its end is still being written."""
    import pandas as pd

    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return pd.DataFrame()
    text = text[: text.rfind(b"\n") + 1]
    if not text.strip():
        return pd.DataFrame()
    try:
        return pd.read_csv(BytesIO(text), on_bad_lines="skip", encoding_errors="replace", low_memory=False)
    except ValueError as error:
        notes.append(f"{path} is left out: {' '.join(str(error).split())[:120]}")
        return pd.DataFrame()


def _numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Turn columns that hold anything else into numbers; what is none becomes missing."""
    import pandas as pd

    odd = [name for name, kind in rows.dtypes.items() if kind.kind not in "iuf"]
    return rows.assign(**{name: pd.to_numeric(rows[name], errors="coerce") for name in odd})
