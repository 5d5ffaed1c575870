"""Several charts below one another as one picture: what `store show --out` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trajrl.core.atomic_files import new_file
from trajrl.core.out_paths import refuse_existing
from trajrl.report.charts.chart import Chart
from trajrl.report.draw.paper import DETAILS, DOTS_PER_INCH, FORMATS, RC, draw_chart, is_figure

WIDTH, HEIGHT = 8.0, 2.6  # inches, of each chart
WORDS = 0.45  # inches for a title and a legend


def save_stacked(charts: Sequence[Chart], path: Path, overwrite: bool = False) -> None:
    """Draw charts one below the other into one file; its ending says the format."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    format = path.suffix.removeprefix(".")
    if format not in FORMATS:
        raise ValueError(f"{path}: a picture is {', '.join(FORMATS)}, or a page html")
    refuse_existing(path, overwrite, is_figure)
    with matplotlib.rc_context(RC):
        canvas = Canvas(figsize=(WIDTH, (HEIGHT + WORDS) * len(charts)), layout="constrained")
        for axes, chart in zip(canvas.subplots(len(charts), 1, squeeze=False)[:, 0], charts):
            draw_chart(chart, axes)
            several = len(chart.series) > 1
            axes.set_title(chart.title, loc="left", pad=20 if several else 6)  # above the legend's one line
            if several:
                axes.legend(
                    loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(chart.series), borderpad=0.2
                )
            axes.set(xlabel=chart.x_label, ylabel=chart.y_label)
            axes.margins(x=0.01)
        with new_file(path) as scratch:
            canvas.savefig(scratch, dpi=DOTS_PER_INCH // 2, metadata=DETAILS[format])
