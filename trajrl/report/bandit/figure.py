"""Figures of the bandit laboratory: the data by energy beside the critic with samples, and sweeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.atomic_files import new_file
from trajrl.envs.bandit import data, find_bandit
from trajrl.report.charts import style
from trajrl.report.draw.paper import RC

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_SHOWN = 2_000  # samples drawn into a panel
COLOURS = style.SCALE.lower()
DOTS_PER_INCH = 110
PANELS = (
    ("mean_energy", "mean energy"),
    ("total_variation", "total variation of the mode masses"),
    ("off_mode", "share of samples off every mode"),
    ("milliseconds", "ms per update, and per 256 samples"),
)


def grid(name: str, size: int = 90) -> np.ndarray:
    """Return points (size * size, 2) over the box: rows from the lowest x2 up, columns from the left."""
    box = find_bandit(name).box
    line = np.linspace(-box, box, size)
    return np.stack([part.ravel() for part in np.meshgrid(line, line)], 1)


def draw_run(name: str, x: np.ndarray, q: np.ndarray | None, title: str, path: Path) -> Path:
    """Draw the data coloured by energy, and samples x (n, 2) over the critic's q (size * size,) on `grid`."""
    box, points = find_bandit(name).box, data(name)
    chosen = np.arange(0, len(points.x), max(1, len(points.x) // 10_000))
    with _panels(2, path, grid=False) as (left, right):
        shown = left.scatter(
            points.x[chosen, 0], points.x[chosen, 1], c=points.energy[chosen], s=2, cmap=COLOURS
        )
        left.figure.colorbar(shown, ax=left, label="energy", fraction=0.046)
        left.set_title(f"{name}: the data by energy")
        if q is not None:
            size = int(np.sqrt(len(q)))
            edge = box * (1 + 1 / (size - 1))  # pixels are centred on the grid's points
            image = right.imshow(
                q.reshape(size, size), origin="lower", extent=(-edge, edge, -edge, edge), cmap=COLOURS
            )
            right.figure.colorbar(image, ax=right, label="Q", fraction=0.046)
        ink = style.INK["light"] if q is None else "white"
        right.scatter(x[:NUM_SHOWN, 0], x[:NUM_SHOWN, 1], s=3, c=ink, linewidths=0)
        right.set_title(title)
        for axes in (left, right):
            axes.set(xlim=(-box, box), ylim=(-box, box), xlabel="x1", ylabel="x2", aspect="equal")
    return path


def draw_sweep(field: str, rows: Sequence[Mapping[str, Any]], title: str, path: Path) -> Path:
    """Draw each measure against the values of `field`: means over seeds, bars from least to greatest."""
    values = sorted({row[field] for row in rows})
    with _panels(len(PANELS), path, grid=True) as panels:
        for axes, (name, label) in zip(panels, PANELS):
            for place, key in enumerate(("update_ms", "sample_ms") if name == "milliseconds" else (name,)):
                found = [
                    np.array([r[key] for r in rows if r[field] == value], np.float64) for value in values
                ]
                mean = np.array([part.mean() for part in found])
                bars = [mean - [part.min() for part in found], [part.max() for part in found] - mean]
                axes.errorbar(
                    values, mean, bars, marker="os"[place], capsize=3, color=style.colour(place),
                    label={"update_ms": "update", "sample_ms": "256 samples"}.get(key, "found"),
                )  # fmt: skip
            if name == "mean_energy":
                wanted = [next(row["expected_energy"] for row in rows if row[field] == v) for v in values]
                axes.plot(values, wanted, "--", color=style.INK["light"], label="closed form")
            axes.set(xlabel=field, title=label)
            if min(values) > 0 and max(values) > 10 * min(values):
                axes.set_xscale("log")
            axes.legend()
        panels[0].figure.suptitle(title)
    return path


@contextmanager
def _panels(count: int, path: Path, grid: bool) -> Iterator[list[Axes]]:
    """Give panels in a row to draw on, and write the figure to `path`; no display is needed."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**RC, "axes.grid": grid}):
        figure = Figure(figsize=(4.8 * count, 4.4), layout="constrained")
        yield list(figure.subplots(1, count))
        with new_file(path) as scratch:
            figure.savefig(scratch, dpi=DOTS_PER_INCH)
