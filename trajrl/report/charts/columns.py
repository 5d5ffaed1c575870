"""The numbers of a store's columns, dimension by dimension, and its episodes by return and length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.report.charts import captions
from trajrl.report.charts.chart import Chart, Series

if TYPE_CHECKING:
    import pandas as pd

    from trajrl.store.store import TrajectoryStore

MOST_POINTS = 3000  # of a chart of episodes; more are thinned evenly


def column_numbers(store: TrajectoryStore) -> pd.DataFrame:
    """Return mean, std, min and max of every dimension, as the file keeps them."""
    import pandas as pd

    kept = store.attributes.get("statistics", {})
    rows: list[dict[str, Any]] = []
    for name in ("obs", "action", "reward"):
        if f"{name}_mean" not in kept:
            continue
        parts = {part: np.ravel(kept[f"{name}_{part}"]) for part in ("mean", "std", "min", "max")}
        for d in range(len(parts["mean"])):
            what = name if len(parts["mean"]) == 1 else f"{name} {d}"
            rows.append({"column": what, **{part: float(values[d]) for part, values in parts.items()}})
    return pd.DataFrame(rows)


def return_by_length(store: TrajectoryStore, by: str = "source") -> Chart:
    """Return the episodes as points of length and return, by source."""
    table = store.table.to_frame()
    table = table[table["alive"]]
    some = ""
    if len(table) > MOST_POINTS:
        some = f" ({MOST_POINTS} of {len(table)} episodes)"
        table = table.iloc[np.linspace(0, len(table) - 1, MOST_POINTS).astype(int)]
    series = [
        Series(str(name) or "unnamed", own["length"].to_numpy(), own["returns"].to_numpy(), place=place)
        for place, (name, own) in enumerate(table.groupby(by))
    ]
    title = f"Return by length{some}"
    words = captions.RETURN_BY_LENGTH, "length", "return"
    return Chart("return-by-length", title, *words, series, kind="points")
