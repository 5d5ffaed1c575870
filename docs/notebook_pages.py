"""Executed notebooks as pages of the site: the question, each figure as a picture, each table, the answer.

The code is there too, folded away.  Of the forms of an output the page takes the first that it can show.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from html import escape
from pathlib import Path
from typing import Any

STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
FRAME = re.compile(r' border="1" class="dataframe"| style="text-align: right;"')


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return an executed notebook as Markdown, and its pictures by the names that the page calls them."""
    pictures: dict[str, bytes] = {}
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(folded(source))
        parts += [shown(one, f"{path.stem}-{len(pictures)}.png", pictures) for one in cell["outputs"]]
    note = f"Made by executing `analysis/{path.name}`, which JupyterLab shows with figures that can be moved."
    return "\n\n".join([parts[0], note, *parts[1:]]) + "\n", pictures


def folded(source: str) -> str:
    """Return code that is read when it is asked for."""
    lines = "\n".join(f"    {line}".rstrip() for line in f"```python\n{source}\n```".splitlines())
    return f'??? quote "Code"\n\n{lines}'


def shown(output: dict[str, Any], picture: str, pictures: dict[str, bytes]) -> str:
    """Return one output as Markdown; a picture is put among the pictures."""
    if output["output_type"] == "stream":
        return quoted("".join(output["text"]))
    if output["output_type"] == "error":
        raise ValueError(f"{picture}: the notebook ended with {output['ename']}: {output['evalue']}")
    forms = {kind: text if isinstance(text, str) else "".join(text) for kind, text in plain(output["data"])}
    if "text/html" in forms:
        return FRAME.sub("", STYLE.sub("", forms["text/html"]))
    if "text/markdown" in forms:
        return forms["text/markdown"]
    if "image/png" in forms:
        pictures[picture] = b64decode(forms["image/png"])
        title = escape(forms.get("text/plain", "a figure"))
        return f'<p class="figure"><img src="{picture}" alt="{title}"></p>'
    return fenced(forms["text/plain"])


def plain(data: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the forms of an output that are text."""
    return [(kind, text) for kind, text in data.items() if not kind.endswith("+json")]


def quoted(text: str) -> str:
    """Return what was printed, which is sentences: a line a paragraph, and every sign as it is."""
    lines = [re.sub(r"([\\`*_<>\[\]#])", r"\\\1", line) for line in text.strip().splitlines()]
    return "\n>\n".join(f"> {line}" for line in lines)


def fenced(text: str) -> str:
    """Return a value as Python shows it."""
    return f"```text\n{text.strip()}\n```"
