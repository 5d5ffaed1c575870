"""resume-refused.md and time-limits.md: what they quote is in the code, what the code refuses is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from trajrl.agents import AGENTS
from trajrl.samplers import SAMPLERS
from trajrl.samplers.auto import AUTO

ROOT = Path(__file__).parents[1]


def cells(page: str, column: int) -> list[str]:
    """Return a column of all tables of a page, heads left out."""
    rows = [line for line in (ROOT / "docs" / page).read_text().splitlines() if line.startswith("| `")]
    return [re.split(r"(?<!\\)\|", row)[column + 1].strip() for row in rows]


def literals() -> str:
    """Return every text in the code, one a line, with ... for what varies."""
    found = []
    for path in (ROOT / "trajrl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(p.value if isinstance(p, ast.Constant) else "..." for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return re.sub(r"'\.\.\.'", "...", "\n".join(" ".join(text.split()) for text in found))


TEXT = literals()
MESSAGES = cells("resume-refused.md", 0)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_one_of_the_code(message):
    pieces = [piece.strip(" `") for piece in message.split("...")]
    for piece in filter(lambda piece: len(piece) > 3, pieces):
        assert piece in TEXT, f"docs/resume-refused.md quotes '{piece}', which no message says"


# Where a resume is decided: every refusal of these functions stands on the page.
DECIDES = {
    "trajrl/training/resume.py": None,
    "trajrl/training/saved_config.py": {"resume_config"},
    "trajrl/training/weights_meaning.py": None,
    "trajrl/training/run_dir/folder.py": {"require_run", "refuse_other_data", "refuse_config", "lock"},
    "trajrl/training/run_dir/checkpoint.py": {"newest"},
    "trajrl/training/online_collector.py": {"load_state_dict"},
    "trajrl/rollout/collector.py": {"load_state_dict"},
    "trajrl/agents/base/learner.py": {"load_state_dict"},
    "trajrl/cli/train_command.py": {"resumes"},
    "trajrl/cli/collect/journal.py": {"open_or_resume", "require_collection", "remove"},
}


def refusals(path: str, names: set[str] | None) -> list[str]:
    """Return the texts of ValueErrors and OSErrors that functions of a file raise."""
    functions = [
        node
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef) and (names is None or node.name in names)
    ]
    assert names is None or {function.name for function in functions} >= names, path
    raised = [
        node.exc for function in functions for node in ast.walk(function) if isinstance(node, ast.Raise)
    ]
    texts = [exc.args[0] for exc in raised if isinstance(exc, ast.Call) and exc.args]
    return [
        "".join(part.value if isinstance(part, ast.Constant) else "..." for part in text.values)
        for text in texts
        if isinstance(text, ast.JoinedStr)
    ]


@pytest.mark.parametrize("path", DECIDES)
def test_every_refusal_of_a_resume_is_on_the_page(path):
    page = " ".join(MESSAGES)
    for text in refusals(path, DECIDES[path]):
        pieces = [piece.strip(" ':;,(")[:40].strip() for piece in re.split(r"\.\.\.|`", text)]
        named = any(len(piece) > 8 and piece in page for piece in pieces)
        assert named, f"{path} refuses with '{text}', which docs/resume-refused.md does not name"


@pytest.mark.parametrize("place", cells("time-limits.md", 0))
def test_a_place_is_found_by_its_file_and_word(place):
    path, word = re.findall(r"`([^`]+)`", place)
    assert word in (ROOT / path).read_text(), f"docs/time-limits.md: no '{word}' in {path}"


def test_both_pages_are_linked():
    text = (ROOT / "docs" / "README.md").read_text()
    assert "(resume-refused.md)" in text
    assert "(time-limits.md)" in text


def test_every_agent_has_a_row_and_a_place_in_the_readme():
    rows = [cell.strip("`") for cell in cells("agents.md", 0)]
    assert sorted(rows) == sorted(AGENTS)
    readme = (ROOT / "README.md").read_text()
    assert [name for name in AGENTS if f"`{name}`" not in readme] == []


def test_every_sampler_has_a_row_and_the_loop_beside_them_runs(monkeypatch):
    assert sorted(cell.strip("`") for cell in cells("samplers.md", 0)) == sorted([AUTO, *SAMPLERS])
    monkeypatch.chdir(ROOT)
    (loop,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "samplers.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(loop, found)
    assert len(found["update"].td_error) == 32
