"""Names from files reach pages and figures harmlessly: none steers a terminal or turns letters round."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from episodes import counting, write

from trajrl.cli.main import dispatch
from trajrl.core.console import STEERS
from trajrl.report.charts.chart import Chart, Series
from trajrl.report.charts.filmstrips import Filmstrips, Picture, Strip
from trajrl.report.draw.clips import Clip
from trajrl.report.draw.paper import save
from trajrl.report.draw.stacked import save_stacked
from trajrl.report.page.contents import Clips, Contents, Finding, Panel, Section
from trajrl.report.page.html import write_page
from trajrl.report.page.watch import write_state

NAME = "\x1b]0;owned\x07 \u202e<b>"
BACK = re.compile(r"(?<!\\)(?:\\\\)*\\(u001b|u0007|u202e)")  # what JSON is read as the letter again
NUMBERS = re.compile(r'<script[^>]*"application/json">(.*?)</script>', re.DOTALL)


@pytest.fixture
def store(tmp_path) -> Path:
    """Return a store whose name, labels, column and environment steer."""
    episodes = [counting(9, source=f"{NAME}{e % 2}", extras={NAME: np.zeros(9)}) for e in range(4)]
    return write(tmp_path / f"{NAME}.h5", episodes, environment=NAME)


def require_harmless(path: Path) -> None:
    text = path.read_text()
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)  # all but plotly and the page's program
    assert "owned" in own
    assert not STEERS.search(own)
    assert not BACK.search(text if path.suffix == ".json" else "".join(NUMBERS.findall(text)))


@pytest.mark.parametrize("words", [["page"], ["show", "--episode", "1"]])
def test_of_a_store(store, tmp_path, capsys, words):
    assert dispatch(["store", words[0], str(store), *words[1:], "--out", str(tmp_path / "x.html")]) == 0
    require_harmless(tmp_path / "x.html")
    assert not STEERS.search("".join(capsys.readouterr()))


@pytest.mark.parametrize("kind", ["bars", "lines"])
def test_in_a_figure_that_is_a_text(tmp_path, kind):
    x = np.array([NAME, f"{NAME}2"]) if kind == "bars" else np.arange(2)
    series = [Series(f"{NAME}{place}", x, np.ones(2), place=place) for place in range(2)]
    chart = Chart("k", NAME, NAME, NAME, NAME, series, kind)
    save([chart], tmp_path, "svg")
    save_stacked([chart], tmp_path / "stacked.svg")
    made = list(tmp_path.glob("*.svg"))
    assert len(made) == 2
    for path in made:
        require_harmless(path)


def test_wherever_a_page_has_words(tmp_path):
    strip = Strip(NAME, [Picture(b"", NAME, 1, 1)])
    items = [Clips("k", NAME, NAME, [Clip("best", NAME, b"")]), Filmstrips("f", NAME, NAME, {NAME: [strip]})]
    panels = [Panel(NAME, [], [NAME]), Panel(f"{NAME}2", [], [])]
    sections = [Section("s", NAME, NAME, items, panels)]
    write_page(Contents(NAME, [NAME], sections, [Finding(NAME, "k")]), tmp_path / "x.html")
    require_harmless(tmp_path / "x.html")
    assert "\\u202e" in (tmp_path / "x.html").read_text()  # it is told, and not left out


def test_of_the_page_of_a_run_under_way(tmp_path):
    write_state(tmp_path, NAME, {"named": NAME, "rows": [[NAME, 0.5]]})
    made = list((tmp_path / "watch").iterdir())
    assert made != []
    for path in made:
        require_harmless(path)
