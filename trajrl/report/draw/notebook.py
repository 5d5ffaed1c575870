"""Figures and answers as a notebook shows them: moving where it can draw plotly, else a picture, else words.

A reader of the page that nbconvert makes, of a preview or of the site sees the picture; nothing is fetched.
"""

from __future__ import annotations

import io
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trajrl.report.charts.chart import Figure
from trajrl.report.draw import interactive, paper

PLOTLY, PICTURE, WORDS = "application/vnd.plotly.v1+json", "image/png", "text/plain"
DOTS_PER_INCH = 130


@dataclass(frozen=True, eq=False)
class Shown:
    """A figure, and each of the forms in which a notebook may show it."""

    figure: Figure

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Return every form by its MIME type; Jupyter takes the richest that it knows."""
        picture = io.BytesIO()
        paper.write(self.figure, picture, "png", DOTS_PER_INCH)
        return {
            PLOTLY: plotly_json(self.figure),
            PICTURE: b64encode(picture.getvalue()).decode(),
            WORDS: self.figure.title,
        }


def show(figure: Figure) -> Shown:
    """Return a figure as the last line of a cell shows it."""
    return Shown(figure)


@dataclass(frozen=True)
class Answer:
    """Sentences, shown as a list."""

    sentences: tuple[str, ...]

    def _repr_markdown_(self) -> str:
        return "\n".join(f"- {escaped(one)}" for one in self.sentences)

    def __repr__(self) -> str:
        return "\n".join(self.sentences)


def answer(sentences: Sequence[str]) -> Answer:
    """Return sentences as the last line of a cell shows them."""
    return Answer(tuple(sentences))


def escaped(text: str) -> str:
    """Return a sentence that Markdown leaves as it is."""
    return "".join(f"\\{letter}" if letter in "\\*_<>`[]" else letter for letter in text)


def plotly_json(figure: Figure) -> dict[str, Any]:
    """Return a figure as plotly's own JSON, with plain lists in place of arrays."""
    return json.loads(interactive.draw(figure).to_json())
