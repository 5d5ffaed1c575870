"""The notebooks, cell by cell as Jupyter runs them, on small runs made on the spot; 01 and 02 are fast."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trajrl.report.draw.notebook import PICTURE, PLOTLY, WORDS
from trajrl.report.example_runs import VARIABLE, small_runs

ANALYSIS = Path(__file__).parents[1] / "analysis"
NOTEBOOKS = sorted(ANALYSIS.glob("*.ipynb"))
FAST = ("01", "02")
ALLOWED = ("trajrl.report", "pandas", "numpy", "pathlib")


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def code_cells(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == "code"]


def marked(path: Path):
    fast = path.name.startswith(FAST)
    return pytest.param(path, id=path.stem, marks=() if fast else pytest.mark.slow)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Runs of two samplers and two seeds, made once."""
    folder = tmp_path_factory.mktemp("runs")
    small_runs(folder, ["uniform", "cluster"], [0])
    return folder


def run_cell(source: str, names: dict) -> object:
    """Run one cell and return what its last line shows, if it is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


def forms(value: object) -> dict:
    """Return what Jupyter is given to display: forms of a figure, a table, an answer, or text."""
    if hasattr(value, "_repr_mimebundle_"):
        return value._repr_mimebundle_()
    if hasattr(value, "_repr_markdown_"):
        return {"text/markdown": value._repr_markdown_()}
    return {"text/html": value._repr_html_()} if hasattr(value, "_repr_html_") else {WORDS: repr(value)}


@pytest.mark.parametrize("path", [marked(path) for path in NOTEBOOKS])
def test_a_notebook_runs_from_top_to_bottom(path, small, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shared = path.name.startswith(
        ("01", "02", "03", "04")
    )  # the others make their own, whatever lies in runs/
    monkeypatch.setenv(VARIABLE, str((small if shared else tmp_path / "none") / "*"))
    monkeypatch.chdir(ANALYSIS)
    names: dict = {"__name__": "__main__"}
    shown = [forms(value) for cell in code_cells(path) if (value := run_cell(cell, names)) is not None]
    figures = [one for one in shown if PLOTLY in one]
    assert len(figures) >= 2, "fewer than two figures were drawn"
    assert all(one[PLOTLY]["data"] and one[PICTURE] for one in figures)
    assert any("<table" in one.get("text/html", "") for one in shown), "no table was shown"
    said = shown[-1]["text/markdown"].splitlines()
    assert len(said) >= 2
    assert all(line.startswith("- ") and line.endswith(".") for line in said), "the answer is sentences"
    assert os.getcwd() == str(ANALYSIS)


def test_the_seven_questions_are_there():
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06", "07"]
    for path in NOTEBOOKS:
        title = "".join(read(path)["cells"][0]["source"]).splitlines()[0]
        assert title.startswith("# ")
        assert title.endswith("?"), f"{path.name} asks no question"
        assert read(path)["cells"][-2]["source"] == ["## The answer"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    for cell in read(path)["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_the_report_and_nothing_else_of_trajrl(path):
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(cell)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert all(name.startswith(ALLOWED) for name in names), names


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", [NOTEBOOKS[0], NOTEBOOKS[-1]], ids=lambda path: path.stem)
def test_nbconvert_shows_every_figure_and_fetches_nothing_for_it(path, tmp_path):
    words = [sys.executable, "-m", "nbconvert", "--to", "html", "--execute", "--output-dir", str(tmp_path)]
    env = os.environ | {"PYTHONPATH": str(ANALYSIS.parent), "IPYTHONDIR": str(tmp_path)}
    subprocess.run([*words, str(path)], cwd=ANALYSIS, env=env, check=True, capture_output=True)
    page = (tmp_path / f"{path.stem}.html").read_text()
    drawn = sum(cell.count("notebook.show(") for cell in code_cells(path))
    assert drawn >= 5
    assert page.count('src="data:image/png;base64,iVBOR') == drawn
    assert "cdn.plot" not in page
