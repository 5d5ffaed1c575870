"""The pages of docs/: every block on them runs, in order, in a folder that holds a fresh checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("[0-9]*.md"), key=lambda page: int(page.stem.split("-")[0]))
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FAST = ("2", "4")
ENDS_WITH = {
    "1": "runs/first", "2": "3 episodes", "3": "came after the warm-up", "4": "runs/recent", "5": "return",
    "6": "runs/", "7": "report.html", "8": "[", "9": "selected by fqe",
    "10": "Hopper-v5",
}  # fmt: skip


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Return the fenced blocks of a page: language, file name, text."""
    return BLOCK.findall(page.read_text())


def checkout(folder: Path) -> Path:
    """Lay out what a user has; run.py is copied, for Python looks for modules where it lies."""
    for name in ("trajrl", "data", "examples", "analysis"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "run.py", folder / "run.py")
    return folder


def run(words: list[str], folder: Path) -> str:
    """Run a program in the folder, with this Python first; it must succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"} | {"PATH": path, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{words[-1]}\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}"
    assert "Traceback" not in ended.stderr
    return ended.stdout


def number(page: Path) -> str:
    return page.stem.split("-")[0]


def marked(page: Path):
    return pytest.param(page, id=page.stem, marks=() if number(page) in FAST else pytest.mark.slow)


@pytest.mark.parametrize("page", [marked(page) for page in PAGES])
def test_everything_on_a_page_runs(page, tmp_path):
    folder, said = checkout(tmp_path), ""
    found = blocks(page)
    assert sum(kind == "sh" for kind, _, _ in found) >= 1
    for kind, name, text in found:
        if name:
            (folder / name).write_text(text)
        elif kind == "python":
            said += run([sys.executable, "-c", "import sys; sys.path.insert(0, '')\n" + text], folder)
        elif kind == "sh":
            said += "".join(run(["bash", "-ec", line], folder) for line in text.splitlines() if line)
        else:
            assert kind == "text", f"{page.name} has a block of '{kind}', which nothing runs"
    assert ENDS_WITH[number(page)] in said


def test_the_overview_links_every_page_and_nothing_else():
    linked = re.findall(r"\]\(([^)]+)\)", (ROOT / "docs" / "README.md").read_text())
    assert [name for name in linked if name[0].isdigit()] == [page.name for page in PAGES]
    assert all((ROOT / "docs" / name).exists() for name in linked)
    assert len(PAGES) == len(ENDS_WITH)


def test_the_readme_leads_to_the_pages():
    assert "(docs/README.md)" in (ROOT / "README.md").read_text()
