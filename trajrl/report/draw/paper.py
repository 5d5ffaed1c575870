"""Figures for papers: the same charts in pdf, svg or png, drawn by matplotlib in the colours of the page.

Text stays text in pdf and svg (type 42 fonts, no outlines), and the same
numbers give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from trajrl.core.atomic_files import new_file
from trajrl.core.console import harmless
from trajrl.core.out_paths import refuse_existing
from trajrl.report.charts import style
from trajrl.report.charts.chart import Chart, Cloud, Figure, Heat, Series, in_order
from trajrl.report.charts.qfunction import Explorer
from trajrl.report.draw.interactive import axis_titles, diagonal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("pdf", "svg", "png")
WIDTH, HEIGHT = 5.5, 3.4  # inches: one column of text
DOTS_PER_INCH = 300
LINES = {
    "solid": "-",
    "dash": "--",
    "dot": ":",
    "dashdot": "-.",
    "longdash": (0, (8, 3)),
    "longdashdot": (0, (8, 3, 1, 3)),
}
SHAPES = {"circle": "o", "square": "s", "diamond": "D", "cross": "P", "triangle-up": "^", "x": "X"}
HATCHES = ("", "//", "..", "xx", "--", "||")
RC: dict[Any, Any] = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": style.RULE["light"], "grid.linewidth": 0.6, "axes.axisbelow": True,
    "axes.edgecolor": style.INK["light"], "legend.frameon": False, "legend.fontsize": 8,
    "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "trajrl",
    "savefig.bbox": "tight", "savefig.pad_inches": 0.04,
}  # fmt: skip


def save(figures: Sequence[Figure], folder: Path, format: str, overwrite: bool = False) -> list[Path]:
    """Write every figure into `folder`, named by its key; returns the paths."""
    if format not in FORMATS:
        raise ValueError(f"figures for papers are {', '.join(FORMATS)}; got '{format}'")
    paths = [folder / f"{file_name(figure.key)}.{format}" for figure in figures]
    for path in paths:
        refuse_existing(path, overwrite, is_figure)
    for figure, path in zip(figures, paths):
        with new_file(path) as scratch:
            write(figure, scratch, format)
    return paths


def write(figure: Figure, place: Path | IO[bytes], format: str, dots_per_inch: int = DOTS_PER_INCH) -> None:
    """Draw one figure into a file, or into what takes bytes."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(RC):
        canvas = Canvas(figsize=(WIDTH, HEIGHT))
        draw(figure, canvas)
        make_harmless(canvas)
        canvas.savefig(place, format=format, dpi=dots_per_inch, metadata=DETAILS[format])


def make_harmless(canvas: Any) -> None:
    """Write what steers in the words of a figure as its number: a control letter is no XML either."""
    from matplotlib.text import Text

    for one in canvas.findobj(Text):
        one.set_text(harmless(one.get_text()))


MARK = "trajrl report"
DETAILS: dict[str, dict[str, Any]] = {  # without a date: the same numbers give the same bytes
    "pdf": {"CreationDate": None, "Creator": MARK}, "svg": {"Date": None, "Creator": MARK},
    "png": {"Software": MARK},
}  # fmt: skip


def is_figure(path: Path) -> bool:
    """Say whether a file is a figure that trajrl drew, which a new one may replace."""
    return MARK.encode() in path.read_bytes()


def file_name(key: str) -> str:
    """Return a key as the stem of a file name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in key)


def draw(figure: Figure, canvas: Any) -> None:
    """Draw one figure onto a matplotlib figure."""
    if isinstance(figure, Cloud):
        _cloud(figure, canvas)
        return
    axes = canvas.add_subplot()
    if isinstance(figure, Heat):
        _heat(figure, canvas, axes)
    else:
        draw_chart(figure, axes)
    axes.set(xlabel=figure.x_label, ylabel=figure.y_label)


def draw_chart(chart: Chart, axes: Axes) -> None:
    """Draw a chart onto axes; labels are for who calls."""
    if chart.kind == "shares":
        _shares(chart, axes)
    else:
        for number, one in enumerate(chart.series):
            DRAW[chart.kind](axes, one, number, len(chart.series))
    if chart.diagonal:
        axes.plot(
            *[diagonal(chart)] * 2,
            color=style.INK["light"],
            linewidth=0.8,
            linestyle=":",
            label=chart.diagonal,
        )
    for name, value in chart.marks.items():
        label = f"{name}: {value:.4g}"  # in the legend: beside its line it would lie on a curve
        axes.axhline(value, color=style.INK["light"], linewidth=0.8, linestyle=":", label=label)
    if chart.y_range:
        axes.set_ylim(*chart.y_range)
    names = axes.get_legend_handles_labels()[1]
    if len(names) > 1:
        columns = 2 if max(map(len, names)) < 30 else 1
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns)


def interval(one: Series) -> np.ndarray | None:
    """Return how far an interval reaches below and above every point (2, S); None: there is none."""
    return None if one.low is None or one.high is None else np.maximum(0, [one.y - one.low, one.high - one.y])


def _lines(axes: Axes, one: Series, number: int, count: int) -> None:
    colour = style.colour(one.place)
    if one.faint:
        axes.plot(one.x, one.y, color=colour, alpha=style.FAINT, linewidth=0.6)
        return
    if len(one.x) == 1:  # neither a line nor a band of one point has anything to show
        axes.errorbar(one.x, one.y, interval(one), color=colour, label=one.name, fmt="o", markersize=4)
        axes.set_xlim(left=0 if one.x[0] > 0 else None)
        return
    if one.low is not None and one.high is not None:
        axes.fill_between(one.x, one.low, one.high, color=colour, alpha=style.BAND, linewidth=0)
    axes.plot(
        one.x, one.y, color=colour, label=one.name, linewidth=1.5, linestyle=LINES[style.dash(one.place)]
    )


def _dots(axes: Axes, one: Series, number: int, count: int) -> None:
    shift = (number - (count - 1) / 2) * 0.6 / max(1, count)
    error = interval(one)
    axes.errorbar(
        np.arange(len(one.x)) + shift, one.y, error, fmt=SHAPES[style.marker(one.place)], label=one.name,
        color=style.colour(one.place), markersize=5, linewidth=1.2, capsize=2,
    )  # fmt: skip
    _name_places(axes, one)


def _bars(axes: Axes, one: Series, number: int, count: int) -> None:
    width = 0.75 / count
    place = np.arange(len(one.x)) + (number - (count - 1) / 2) * width
    axes.bar(
        place, one.y, width, label=one.name, color=style.colour(one.place),
        hatch=HATCHES[one.place % len(HATCHES)], edgecolor="white", linewidth=0,
    )  # fmt: skip
    _name_places(axes, one)


def _bins(axes: Axes, one: Series, number: int, count: int) -> None:
    colour = style.colour(one.place)
    axes.fill_between(one.x, one.y, step="mid", color=colour, alpha=style.BAND, linewidth=0)
    line = LINES[style.dash(one.place)]
    axes.step(one.x, one.y, where="mid", color=colour, linestyle=line, linewidth=1.5, label=one.name)


def _points(axes: Axes, one: Series, number: int, count: int) -> None:
    shape = SHAPES[style.marker(one.place)]
    axes.scatter(
        one.x,
        one.y,
        s=14,
        color=style.colour(one.place),
        marker=shape,
        alpha=0.8,
        label=one.name,
        linewidths=0,
    )


DRAW: dict[str, Callable[[Axes, Series, int, int], None]] = {
    "bars": _bars, "bins": _bins, "dots": _dots, "lines": _lines, "points": _points,
}  # fmt: skip


def _shares(chart: Chart, axes: Axes) -> None:
    layers = axes.stackplot(
        chart.series[0].x, [one.y for one in chart.series], labels=[one.name for one in chart.series],
        colors=[style.colour(one.place) for one in chart.series], alpha=0.85,
    )  # fmt: skip
    for layer, one in zip(layers, chart.series):
        layer.set_hatch(HATCHES[one.place // style.ROUND % len(HATCHES)])


def _name_places(axes: Axes, one: Series) -> None:
    names, crowded = [harmless(str(name)) for name in one.x], len(one.x) > 8
    width = 30 if crowded else 16 if len(names) < 5 else 9
    axes.set_xticks(np.arange(len(names)), [fill(name, width, break_long_words=False) for name in names])
    if crowded:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")


def _heat(heat: Heat, canvas: Any, axes: Axes) -> None:
    axes.grid(False)
    mesh = axes.pcolormesh(
        heat.x, heat.y, heat.z, cmap=style.SCALE.lower(), shading="nearest", rasterized=True
    )
    canvas.colorbar(mesh, ax=axes, label=heat.z_label)
    for place, (name, (x, y)) in enumerate(heat.points.items()):
        shape = SHAPES[style.marker(place)]
        axes.plot(
            x, y, shape, color="white", markeredgecolor="black", markersize=8, label=name, linestyle="none"
        )
    if heat.points:
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)


def _cloud(cloud: Cloud, canvas: Any) -> None:
    axes = canvas.add_subplot(projection="3d")
    name, values = next(iter(cloud.columns.items()))
    x, y, z = cloud.points.T
    if values.dtype.kind in "OUT":
        for place, group in enumerate(in_order(values)):
            own = values == group
            shape = SHAPES[style.marker(place)]
            axes.scatter(
                x[own], y[own], z[own], s=6, color=style.colour(place), marker=shape, label=str(group)
            )
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
    else:
        dots = axes.scatter(x, y, z, s=6, c=values, cmap=style.SCALE.lower())
        canvas.colorbar(dots, ax=axes, label=name, shrink=0.7)
    for axis, title in zip("xyz", axis_titles(cloud.explained)):
        axes.set(**{f"{axis}label": title})


def printable(items: Sequence[Any]) -> list[Figure]:
    """Return what paper can show: figures as they are, and the first plane of the Q-function."""
    found = [item.heat(0, 0) if isinstance(item, Explorer) else item for item in items]
    return [item for item in found if isinstance(item, Chart | Cloud | Heat)]
