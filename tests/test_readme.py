"""What README says is so: every command parses, the loop runs, and the tree is there."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from trajrl.agents import AGENTS
from trajrl.cli.commands import COMMANDS, GROUPS
from trajrl.cli.main import parse
from trajrl.core.registry import find
from trajrl.samplers import SAMPLERS

ROOT = Path(__file__).parents[1]
FIGURE = r"(?<![\d.])\d+\.\d(?![\d.]|\w)"  # a score: one decimal
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "data" / "README.md"]


ORDER = (  # of imports
    "core", "store", "nets", "formats", "samplers", "envs", "agents", "rollout", "training", "report",
    "sweep", "cli",
)  # fmt: skip


def commands() -> list[str]:
    """Return every `python run.py ...` line of the pages, once each."""
    lines = [line.strip() for page in PAGES for line in page.read_text().splitlines()]
    found = [re.sub(r"\s+#.*", "", line) for line in lines if line.startswith("python run.py ")]
    return sorted({line for line in found if "COMMAND" not in line and "..." not in line})


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_pages_parses(line):
    words = shlex.split(line)[2:]
    group = words.pop(0) if words[0] in GROUPS else None
    table = GROUPS[group] if group else COMMANDS
    command = find({words[0]: table[words[0]][0]}, words[0], "command")
    assert isinstance(parse(command, words[0], words[1:]), command)


def test_the_loop_of_the_readme_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (
        (ROOT / "README.md")
        .read_text()
        .split("## Ten lines of Python")[1]
        .split("from trajrl import load_run")[0]
    )
    code = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    space: dict = {}
    exec(code.replace("range(1000)", "range(2)"), space)
    assert space["agent"].updates == 2
    assert space["update"].td_error.shape == (256,)


def test_the_tree_of_the_readme_is_there():
    tree = (ROOT / "README.md").read_text().split("## Rooms")[1].split("##")[0]
    places = [line for line in tree.splitlines() if line.startswith("    ")]
    top = [line.split()[0] for line in places if line[4] != " "]
    rooms = [line.split()[0] for line in places if line[4] == " "]
    assert [name for name in top if not (ROOT / name).exists()] == []
    assert rooms == [f"{name}/" for name in ORDER]
    folders = {path.name for path in (ROOT / "trajrl").iterdir() if (path / "__init__.py").exists()}
    assert set(ORDER) == folders
    for room, line in zip(rooms, places[-len(rooms) :], strict=True):
        inner = re.findall(r"\b(\w+)/", line.replace(room, "", 1))
        held = {path.name for path in (ROOT / "trajrl" / room).iterdir() if list(path.glob("*.py"))}
        assert set(inner) == held, room


def test_every_command_is_on_its_page():
    text = (ROOT / "docs" / "commands.md").read_text()
    for name in COMMANDS:
        assert f"run.py {name}" in text, name


def test_every_agent_and_sampler_is_in_the_readme_and_it_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 130
    rows = "".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    assert [name for name in {**AGENTS, **SAMPLERS} if f"`{name}`" not in rows and name != "product"] == []


def test_the_scores_of_the_readme_are_those_of_the_evidence():
    rows = pd.read_csv(ROOT / "docs" / "evidence" / "time.csv").dropna(subset=["last"])
    rows = rows[rows["data"] == "hopper-medium-expert"]
    ends = rows.groupby("cell")["last"].agg(["mean", "size"])
    table = (ROOT / "README.md").read_text().split("| agent | what it is")[1].split("## Samplers")[0]
    told = re.findall(r"^\| `(\w+)`.*?([\d.]+) \((\d)\)(?:; demo .*)? \|$", table, re.MULTILINE)
    found = {name: (float(score), int(seeds)) for name, score, seeds in told}
    assert found == {name: (round(row["mean"], 1), row["size"]) for name, row in ends.iterrows()}
    told = re.findall(r"^\| `(\w+)`.*\bdemo ([\d.]+)(?:, `(\w+)` ([\d.]+))? \|$", table, re.MULTILINE)
    found = {name: float(score) for row in told for name, score in (row[:2], row[2:]) if name}
    demo = pd.read_csv(ROOT / "docs" / "evidence" / "demo.csv").dropna(subset=["last"])
    assert found == {cell: round(last, 1) for cell, last in demo.groupby("cell")["last"].mean().items()}


def test_the_figures_of_the_readme_are_those_of_the_results():
    text, places = (ROOT / "README.md").read_text(), ("benchmarks/RESULTS.md", "docs/evidence.md")
    known = set(re.findall(FIGURE, "".join((ROOT / place).read_text() for place in places)))
    told = re.findall(FIGURE, text)
    assert len(told) > 10
    assert [figure for figure in told if figure not in known] == []
    score = re.search(
        r"ends at ([\d.]+) \(95 % interval ([\d.]+) to\s+([\d.]+), 20 episodes\)", text
    ).groups()
    assert "{} ({} to {}) on seed 0".format(*score) in (ROOT / places[0]).read_text()
