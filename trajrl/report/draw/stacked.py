"""Frames of an episode and charts below one another as one picture: what `store show --out` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.atomic_files import new_file
from trajrl.core.out_paths import refuse_existing
from trajrl.report.charts.chart import Chart
from trajrl.report.draw.paper import DETAILS, DOTS_PER_INCH, FORMATS, RC, draw_chart, is_figure, make_harmless
from trajrl.report.draw.strip import GAP, side_by_side

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 8.0, 2.6  # inches, of each chart
WORDS = 0.45  # inches for a title and a legend
SIDE = 256  # pixels of a frame, at most


def save_stacked(
    charts: Sequence[Chart],
    path: Path,
    overwrite: bool = False,
    frames: Mapping[str, np.ndarray] | None = None,
    steps: Sequence[int] = (),
) -> None:
    """Draw charts one below the other into one file; its ending says the format.

    Args:
        frames: images (n, height, width, channels) of steps (n,) by title, which stand above the charts
    """
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    format = path.suffix.removeprefix(".")
    if format not in FORMATS:
        raise ValueError(f"{path}: a picture is {', '.join(FORMATS)}, or a page html")
    refuse_existing(path, overwrite, is_figure)
    with matplotlib.rc_context(RC):
        strips = {title: side_by_side(shown, SIDE) for title, shown in (frames or {}).items()}
        heights = [WIDTH * len(strip) / strip.shape[1] + WORDS for strip in strips.values()]
        heights += [HEIGHT + WORDS] * len(charts)
        canvas = Canvas(figsize=(WIDTH, sum(heights)), layout="constrained")
        rows = canvas.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, strip) in zip(rows, strips.items()):
            _draw_strip(axes, title, strip, steps)
        for axes, chart in zip(rows[len(strips) :], charts):
            draw_chart(chart, axes)
            several = len(chart.series) > 1
            axes.set_title(chart.title, loc="left", pad=20 if several else 6)  # above the legend's one line
            if several:
                axes.legend(
                    loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(chart.series), borderpad=0.2
                )
            axes.set(xlabel=chart.x_label, ylabel=chart.y_label)
            axes.margins(x=0.01)
        make_harmless(canvas)
        with new_file(path) as scratch:
            canvas.savefig(scratch, dpi=DOTS_PER_INCH // 2, metadata=DETAILS[format])


def _draw_strip(axes: Axes, title: str, strip: np.ndarray, steps: Sequence[int]) -> None:
    """Draw frames side by side, with the step of each below it."""
    axes.imshow(strip, interpolation="none")
    width = (strip.shape[1] + GAP) / len(steps)
    axes.set_xticks((np.arange(len(steps)) + 0.5) * width - GAP / 2, [f"step {step}" for step in steps])
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left", pad=6)
