"""A figure as numbers and words: what plotly draws on a page, matplotlib on paper, and a table says aloud."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("lines", "dots", "bars", "bins", "shares", "points")


@dataclass(frozen=True, eq=False)
class Series:
    """One line, row of dots, set of bars or bins, layer of shares or swarm of points."""

    name: str
    x: np.ndarray  # (S,) numbers, or names of categories
    y: np.ndarray  # (S,)
    low: np.ndarray | None = None  # (S,) ends of the interval
    high: np.ndarray | None = None
    place: int = 0  # in the palette
    faint: bool = False  # a single run behind its group: drawn thin, left out of the legend and the table


@dataclass(frozen=True, eq=False)
class Chart:
    """A figure with two axes.  `caption` says what to look for."""

    key: str
    title: str
    caption: str
    x_label: str
    y_label: str
    series: list[Series]
    kind: str = "lines"
    marks: dict[str, float] = field(default_factory=dict)  # horizontal lines by name
    y_range: tuple[float, float] | None = None
    diagonal: str = ""  # name of a line along which x equals y; empty: none

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"a chart is {', '.join(KINDS)}; got '{self.kind}'")

    def table(self) -> pd.DataFrame:
        """Return every number of the chart, one row per point."""
        import pandas as pd

        drawn = [one for one in self.series if not one.faint] or self.series
        with_interval = any(one.low is not None for one in drawn)
        parts = []
        for one in drawn:
            columns = {"series": one.name, self.x_label: one.x, self.y_label: one.y}
            if with_interval:
                missing = np.full(len(one.y), np.nan)
                columns["low"] = missing if one.low is None else one.low
                columns["high"] = missing if one.high is None else one.high
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points in the first three principal components, coloured by any of their columns."""

    key: str
    title: str
    caption: str
    points: np.ndarray  # (n, 3)
    explained: np.ndarray  # (3,) share of the variance along each axis
    columns: dict[str, np.ndarray]  # (n,) numbers, or names of groups; the first one colours at the start
    label: dict[str, np.ndarray]  # (n,) whole numbers and returns that tell what a point is, by name
    picker: str = "cluster"  # the column whose groups can be shown one by one

    def table(self) -> pd.DataFrame:
        """Return one row per point."""
        import pandas as pd

        axes = {f"component {i + 1}": self.points[:, i] for i in range(self.points.shape[1])}
        return pd.DataFrame({"point": self.labels, **self.columns, **axes})

    @property
    def labels(self) -> list[str]:
        """Return what each point is, in words: 'episode 3, step 5, return 12'."""
        names = list(self.label)
        return [
            ", ".join(f"{name} {value:.6g}" for name, value in zip(names, row))
            for row in zip(*self.label.values())
        ]


@dataclass(frozen=True, eq=False)
class Heat:
    """Numbers over a plane: z (Y, X) at y (Y,) and x (X,), with points of note by name."""

    key: str
    title: str
    caption: str
    x_label: str
    y_label: str
    z_label: str
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    points: dict[str, tuple[float, float]] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """Return z at every point of the plane."""
        import pandas as pd

        x, y = np.meshgrid(self.x, self.y)
        return pd.DataFrame({self.x_label: x.ravel(), self.y_label: y.ravel(), self.z_label: self.z.ravel()})


Figure = Chart | Cloud | Heat


def in_order(names: Iterable[str]) -> list[str]:
    """Return distinct names in the order a reader expects: cluster 2 before cluster 10."""

    def key(name: str) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", name)
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]

    return sorted(set(names), key=key)
