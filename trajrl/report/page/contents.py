"""What a report shows: sections of figures, tables and lines, before anybody decides how they look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trajrl.report.charts.chart import Figure
from trajrl.report.charts.filmstrips import Filmstrips
from trajrl.report.charts.qfunction import Explorer
from trajrl.report.draw.clips import Clip

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Table:
    """Rows to read, under a title."""

    key: str
    title: str
    caption: str
    rows: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Clips:
    """Videos side by side."""

    key: str
    title: str
    caption: str
    clips: list[Clip]


@dataclass(frozen=True)
class Listing:
    """Plain text that is best read as it is: a command, a config."""

    key: str
    title: str
    lines: dict[str, str]  # by name


Item = Figure | Table | Clips | Filmstrips | Explorer | Listing


@dataclass
class Panel:
    """Everything about one run."""

    run: str
    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what could not be shown, and why


@dataclass
class Section:
    """A heading, a word on what it answers, and its items; or panels of which one is shown at a time."""

    key: str
    title: str
    intro: str
    items: list[Item] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)


@dataclass(frozen=True)
class Finding:
    """A sentence, and the key of the figure or table that shows it."""

    text: str
    key: str


@dataclass
class Contents:
    """The whole report."""

    title: str
    notes: list[str]
    sections: list[Section]
    findings: list[Finding] = field(default_factory=list)

    def items(self) -> list[Item]:
        """Return every item of every section and panel."""
        found: list[Item] = []
        for section in self.sections:
            found += section.items
            for panel in section.panels:
                found += panel.items
        return found
