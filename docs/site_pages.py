"""What the site has beside docs/: options from the program's own help, the public names, the project's files,
and the notebooks as `make docs` executed them.

A hook of MkDocs.  Nothing it adds is kept in the repository, so that nothing can differ from the program.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path
from typing import Any
from unittest import mock

import notebook_pages  # beside this file
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from trajrl import _PUBLIC
from trajrl.cli.commands import COMMANDS, GROUPS
from trajrl.cli.main import dispatch

ROOT = Path(__file__).parents[1]
COLUMNS = "100"
SHOWN = (".md", ".png", ".svg")
ELSEWHERE = {  # files that the site shows under a name of its own
    "README.md": "index.md",
    "docs/README.md": "first-hour.md",
    "benchmarks/RESULTS.md": "project/RESULTS.md",
    "CHANGELOG.md": "project/CHANGELOG.md",
    "CONTRIBUTING.md": "project/CONTRIBUTING.md",
    "data/LICENSES.md": "project/LICENSES.md",
}
EXECUTED = Path(os.environ.get("SITE_NOTEBOOKS") or ROOT / "out" / "notebooks")
NOTEBOOKS = {f"analysis/{path.name}": path for path in sorted((ROOT / "analysis").glob("*.ipynb"))}
ELSEWHERE |= {source: f"notebooks/{path.stem}.md" for source, path in NOTEBOOKS.items()}
FENCE = re.compile(r"^```(\w+) (\S+)$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made."""
    files.remove(files.src_uris["README.md"])
    for source, name in ELSEWHERE.items():
        if source not in NOTEBOOKS:
            files.append(File.generated(config, name, content=(ROOT / source).read_text()))
    for path in NOTEBOOKS.values():
        add_notebook(files, config, EXECUTED / path.name)
    files.append(File.generated(config, "reference/options.md", content=options()))
    files.append(File.generated(config, "reference/python.md", content=public_names()))
    return files


def add_notebook(files: Files, config: Any, path: Path) -> None:
    """Add the page of an executed notebook, and its pictures."""
    if not path.exists():
        raise PluginError(f"{path} is not there; `make docs` executes the notebooks first")
    text, pictures = notebook_pages.page(path)
    files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
    for name, content in pictures.items():
        files.append(File.generated(config, f"notebooks/{name}", content=content))


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Give named blocks their titles, and links that leave docs/ a page of the site, or plain words."""
    own = page.file.src_uri
    place = Path({name: source for source, name in ELSEWHERE.items()}.get(own, f"docs/{own}")).parent

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        path = os.path.normpath(place / target)
        if ":" in target:
            return found[0]
        if path not in ELSEWHERE and not (path.startswith("docs/") and Path(path).suffix in SHOWN):
            return f"{words} (`{path}`)"
        new = ELSEWHERE.get(path, path.removeprefix("docs/"))
        return f"[{words}]({os.path.relpath(new, Path(own).parent)}{anchor})"

    if own == "index.md":
        markdown = markdown.replace('="docs/', '="')  # of the picture, which is HTML
    return LINK.sub(link, FENCE.sub(r'```\1 title="\2"', markdown))


def options() -> str:
    """Return the help of every command, as the program prints it."""
    parts = ["# Every option\n\nAs the program prints them: `python run.py COMMAND --help`.\n"]
    for name in COMMANDS:
        for words in [[name, inner] for inner in GROUPS.get(name, {})] or [[name]]:
            parts.append(f"## {' '.join(words)}\n\n```text\n{help_of(words)}\n```\n")
    return "\n".join(parts)


def help_of(words: list[str]) -> str:
    """Return what --help prints of a command."""
    printed = io.StringIO()
    plain = mock.patch.dict(os.environ, {"COLUMNS": COLUMNS, "NO_COLOR": "1"})
    with plain, contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        dispatch([*words, "--help"])
    return printed.getvalue().strip()


def public_names() -> str:
    """Return the page of the public names, which mkdocstrings fills from their docstrings."""
    lines = ["# In Python", "", "`from trajrl import ...`", ""]
    for name, module in sorted(_PUBLIC.items(), key=lambda pair: pair[0].lower()):
        lines += [f"::: {module}.{name}", ""]
    return "\n".join(lines)
