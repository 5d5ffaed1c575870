"""A question about episodes as text, read into a tree of Python's grammar; nothing of it is ever run as code.

    return > 100 and source == 'teleop'        column('20_percent') and not success

`return` is a word of Python and no name there: it is read as a name all the same.  What is wrong is one line,
with the text and a caret below it.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass

LONGEST = 2000  # letters of a question
SET_APART = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|\breturn\b")  # texts, and the word itself
KEYWORD = "return"
STAND_IN = "_" * len(KEYWORD)  # as long, so that every place stays what it is
DEEPEST = 60  # parts within parts
HINTS = {"=": "compare with ==", "&": "write `and`", "|": "write `or`", "!": "write `not`"}  # by the letter


class WhereError(ValueError):
    """A question that cannot be asked: why, and where in its text."""

    def __init__(self, reason: str, text: str, place: int) -> None:
        super().__init__(f"--where: {reason}")
        self.add_note(f"  {text}\n  {' ' * min(place, len(text))}^")


@dataclass(frozen=True)
class Expression:
    """A question and its tree."""

    text: str
    tree: ast.expr
    returns: frozenset[int]  # where the word `return` stands

    def place(self, node: ast.expr) -> int:
        """Return at which letter a part of the tree begins; Python counts bytes."""
        return len(self.text.encode()[: node.col_offset].decode())

    def name(self, node: ast.Name) -> str:
        """Return the name that a part of the tree is."""
        return KEYWORD if self.place(node) in self.returns else node.id

    def written(self, node: ast.expr) -> str:
        """Return a part of the text."""
        return self.text.encode()[node.col_offset : node.end_col_offset].decode()

    def wrong(self, node: ast.expr, reason: str) -> WhereError:
        """Return the error that a part of the tree is."""
        return WhereError(reason, self.text, self.place(node))


def parse(text: str) -> Expression:
    """Read a question; what is not one is refused at the letter where that shows."""
    text = re.sub(r"\s", " ", text).strip()
    if not text:
        raise ValueError("--where: the question is empty; one is return > 100 and source == 'teleop'")
    if len(text) > LONGEST:
        raise ValueError(f"--where: the question has {len(text)} letters; {LONGEST} are the most")
    words = [found for found in SET_APART.finditer(text) if found.group() == KEYWORD]
    read = SET_APART.sub(lambda found: STAND_IN if found.group() == KEYWORD else found.group(), text)
    try:
        with warnings.catch_warnings(action="ignore"):  # of strange escapes in texts
            tree = ast.parse(read, mode="eval").body
    except SyntaxError as error:
        place = min(max((error.offset or 1) - 1, 0), len(text))
        hint = HINTS.get(text[place : place + 1], error.msg)
        raise WhereError(f"this does not read as a question: {hint}", text, place) from None
    except (MemoryError, RecursionError, ValueError):
        raise ValueError("--where: the question is nested too deeply, or holds what is no text") from None
    _refuse_depth(tree)
    return Expression(text, tree, frozenset(found.start() for found in words))


def _refuse_depth(tree: ast.expr) -> None:
    """Refuse what walking would run out of room on."""
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [part for node in level for part in ast.iter_child_nodes(node)]
        if not level:
            return
    raise ValueError(f"--where: the question is nested too deeply; {DEEPEST} parts within parts are the most")
