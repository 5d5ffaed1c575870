"""The notebooks, cell by cell as Jupyter runs them, on small runs made on the spot; 01 and 02 are fast."""

import ast
import json
import os
from pathlib import Path

import pytest

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


def show(value: object) -> str:
    """Return what Jupyter would display: a figure, a table, or text."""
    if hasattr(value, "to_plotly_json"):
        return value.to_json()
    return value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)


@pytest.mark.parametrize("path", [marked(path) for path in NOTEBOOKS])
def test_a_notebook_runs_from_top_to_bottom(path, small, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shared = path.name.startswith(
        ("01", "02", "03", "04")
    )  # the others make their own, whatever lies in runs/
    monkeypatch.setenv(VARIABLE, str((small if shared else tmp_path / "none") / "*"))
    monkeypatch.chdir(ANALYSIS)
    names: dict = {"__name__": "__main__"}
    shown = [show(value) for cell in code_cells(path) if (value := run_cell(cell, names)) is not None]
    assert sum('"data":[{' in text for text in shown) >= 2, "fewer than two figures were drawn"
    assert any("<table" in text for text in shown), "no table was shown"
    assert os.getcwd() == str(ANALYSIS)


def test_the_seven_questions_are_there():
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06", "07"]
    for path in NOTEBOOKS:
        title = "".join(read(path)["cells"][0]["source"]).splitlines()[0]
        assert title.startswith("# ")
        assert title.endswith("?"), f"{path.name} asks no question"


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
