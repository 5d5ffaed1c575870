"""Figures of the bandit laboratory: the data by energy beside the critic with samples, and sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.envs.bandit import data, find_bandit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_SHOWN = 2_000  # samples drawn into a panel
COLOURS = "cividis"  # reads the same for every kind of colour sight


def grid(name: str, size: int = 90) -> np.ndarray:
    """Return points (size * size, 2) over the box: rows from the lowest x2 up, columns from the left."""
    box = find_bandit(name).box
    line = np.linspace(-box, box, size)
    return np.stack([part.ravel() for part in np.meshgrid(line, line)], 1)


def draw_run(name: str, x: np.ndarray, q: np.ndarray | None, title: str, path: Path) -> Path:
    """Draw the data coloured by energy, and samples x (n, 2) over the critic's q (size * size,) on `grid`."""
    figure, (left, right) = _figure(2)
    box, points = find_bandit(name).box, data(name)
    chosen = np.arange(0, len(points.x), max(1, len(points.x) // 10_000))
    shown = left.scatter(points.x[chosen, 0], points.x[chosen, 1], c=points.energy[chosen], s=2, cmap=COLOURS)
    figure.colorbar(shown, ax=left, label="energy", fraction=0.046)
    left.set_title(f"{name}: the data by energy")
    if q is not None:
        size = int(np.sqrt(len(q)))
        edge = box * (1 + 1 / (size - 1))  # pixels are centred on the grid's points
        image = right.imshow(
            q.reshape(size, size), origin="lower", extent=(-edge, edge, -edge, edge), cmap=COLOURS
        )
        figure.colorbar(image, ax=right, label="Q", fraction=0.046)
    right.scatter(
        x[:NUM_SHOWN, 0], x[:NUM_SHOWN, 1], s=3, c="white" if q is not None else "black", linewidths=0
    )
    right.set_title(title)
    for axes in (left, right):
        axes.set(xlim=(-box, box), ylim=(-box, box), xlabel="x1", ylabel="x2", aspect="equal")
    return _save(figure, path)


PANELS = (
    ("mean_energy", "mean energy"),
    ("total_variation", "total variation of the mode masses"),
    ("off_mode", "share of samples off every mode"),
    ("milliseconds", "ms per update and per sample of 256"),
)


def draw_sweep(field: str, rows: Sequence[Mapping[str, Any]], title: str, path: Path) -> Path:
    """Draw each measure against the values of `field`: means over seeds, bars from least to greatest."""
    figure, panels = _figure(len(PANELS))
    values = sorted({row[field] for row in rows})
    for axes, (name, label) in zip(panels, PANELS):
        series = ("update_ms", "sample_ms") if name == "milliseconds" else (name,)
        for mark, key in zip("os", series):
            found = [np.array([row[key] for row in rows if row[field] == value]) for value in values]
            mean = np.array([part.mean() for part in found])
            bars = [mean - [part.min() for part in found], [part.max() for part in found] - mean]
            axes.errorbar(values, mean, bars, marker=mark, capsize=3, label=key.replace("_ms", ""))
        if name == "mean_energy":
            axes.plot(values, _expected(rows, field, values), "k--", label="closed form")
        axes.set(xlabel=field, title=label)
        if min(values) > 0 and max(values) > 10 * min(values):
            axes.set_xscale("log")
        if name in ("mean_energy", "milliseconds"):
            axes.legend()
    figure.suptitle(title)
    return _save(figure, path)


def _expected(rows: Sequence[Mapping[str, Any]], field: str, values: Sequence[float]) -> list[float]:
    return [next(row["expected_energy"] for row in rows if row[field] == value) for value in values]


def _figure(panels: int) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure that needs no display, and its panels in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * panels, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, panels))


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    return path
