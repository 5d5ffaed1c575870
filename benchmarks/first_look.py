"""Draw the picture of README: scores over updates beside what the batches were drawn from, light and dark.

python run.py offline --sampler cluster --seed 0 --out runs/cluster-s0       # and more seeds, or samplers
python benchmarks/first_look.py 'runs/cluster-s*'
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import matplotlib
from matplotlib.figure import Figure as Canvas

from trajrl.core.atomic_files import new_file
from trajrl.report.charts import style
from trajrl.report.charts.chart import Chart
from trajrl.report.charts.curves import learning_curves
from trajrl.report.charts.sampling import drawn
from trajrl.report.draw.paper import DETAILS, RC, draw
from trajrl.report.frames import episodes, evals, load_runs, scaled

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
INCHES = 9.6, 3.6


def charts(patterns: list[str]) -> list[Chart]:
    """Return the curve of the runs' scores, and the shares of the sources in what was drawn."""
    runs = load_runs(patterns)
    draws = drawn(runs, episodes(runs), "source")
    assert draws is not None, "the runs keep no episodes.parquet"
    scores = evals(runs)
    return [learning_curves(scaled(runs, scores), scores)[0], draws]


def picture(found: list[Chart]) -> str:
    """Return the charts side by side, as svg."""
    with matplotlib.rc_context({**RC, "font.size": 10, "savefig.transparent": True}):
        canvas = Canvas(figsize=INCHES, layout="constrained")
        for part, chart in zip(canvas.subfigures(1, len(found)), found, strict=True):
            part.patch.set_alpha(0)
            draw(chart, part)
        with new_file(FIGURES / "first-look-light.svg") as scratch:
            canvas.savefig(scratch, format="svg", metadata=DETAILS["svg"])
    return (FIGURES / "first-look-light.svg").read_text()


def in_dark(light: str) -> str:
    """Return an svg with every colour of the light style replaced by that of the dark one."""
    light = light.replace('<g id="figure_1">', f'<g id="figure_1" fill="{style.INK["light"]}">', 1)
    for colour, dark in style.dark_of().items():
        light = light.replace(colour, dark)
    return light


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description="The picture of README, light and dark.")
    parser.add_argument("runs", nargs="+", help="run directories, or patterns of them")
    dark = in_dark(picture(charts(parser.parse_args().runs)))
    with new_file(FIGURES / "first-look-dark.svg") as scratch:
        scratch.write_text(dark)


if __name__ == "__main__":
    main()
