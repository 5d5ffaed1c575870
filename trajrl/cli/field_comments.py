"""What the source says of the fields of a dataclass: the comment beside each, or the text below it."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any


def field_comments(kind: Any) -> dict[str, str]:
    """Return the comment of every field, by name; a base class speaks where its heir is silent."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if is_dataclass(base):
            found.update({name: text for name, text in _own_comments(base) if text})
    return {f.name: found.get(f.name, "") for f in fields(kind)}


def _own_comments(kind: Any) -> Iterator[tuple[str, str]]:
    """Yield name and comment of the fields that a class defines itself; nothing without its source."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):
        return
    comments = _comments(source)
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    for node, after in pairwise([*definition.body, None]):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            beside = " ".join(comments[line] for line in lines if line in comments)
            yield node.target.id, beside or _text(after)


def _comments(source: str) -> dict[int, str]:
    """Return the comments that stand beside code, by their line."""
    return {
        token.start[0]: token.string.lstrip("# ").rstrip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip()
    }


def _text(node: ast.stmt | None) -> str:
    """Return a text that stands alone, as the help of an option does below it."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""
