"""One self-contained page: styles, numbers, plotly and the page's own script in a single file, no network.

A content policy in the page's head forbids every connection, so that nothing can be fetched by accident.
Words that come from files are escaped where they are put in, and what would steer a terminal or turn the
order of letters is written as its number, here where all of the page passes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from trajrl.core.atomic_files import write_text
from trajrl.core.console import harmless, harmless_json, progress
from trajrl.report.page.blocks import Room, findings_block, item_block, notes_block, section_block
from trajrl.report.page.contents import Clips, Contents, Filmstrips, Section
from trajrl.report.page.numbers import figure_numbers, style_numbers

MOST_BYTES = 10_000_000  # of a page; what would not fit is left out, with a line
MARGIN_BYTES = 60_000  # for headings, links and notes
MARK = ' - trajrl report</title><link rel="icon" href="data:,">'  # ends the title of every report
MARKED_BYTES = 1 << 16  # within which it stands
PLACE = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data:; font-src data:; worker-src blob:"
)
FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}{mark}
<style>{css}</style></head>
<body><a class="skip" href="#content">Skip to the report</a>
<header><h1>{title}</h1><button id="theme" type="button">Dark</button></header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="content">{notes}
<noscript><p class="notes">Figures need JavaScript; every table below is readable without it.</p></noscript>
{body}</main>
<script id="numbers" type="application/json">{numbers}</script>
<script>{plotly}</script>
<script>{script}</script>
</body></html>
"""


def write_page(contents: Contents, path: Path) -> list[str]:
    """Write the page, whole or not at all; returns what had to be left out of it."""
    left_out: list[str] = []
    text = render(contents, left_out)
    write_text(path, text, encoding="utf-8")
    return left_out


def is_report(path: Path) -> bool:
    """Say whether a file is a report that trajrl wrote, which a new one may replace."""
    with path.open("rb") as file:
        return MARK.encode() in file.read(MARKED_BYTES)


def render(contents: Contents, left_out: list[str]) -> str:
    """Return the page as text; panels, then videos, take what room is left, and others are mentioned."""
    from plotly.offline import get_plotlyjs

    fixed = {"plotly": get_plotlyjs(), "script": _part("page.js"), "css": _part("page.css")}
    room = Room(MOST_BYTES - sum(len(text.encode()) for text in fixed.values()) - len(FRAME) - MARGIN_BYTES)
    figures: dict[str, str] = {}
    shown = progress(contents.sections, "writing the page", len(contents.sections), "sections", even=False)
    sections = [_fitted(section, figures, room) for section in shown]
    body = "".join(section_block(section, room) for section in sections)
    left_out += [f"{what}: the page would pass {MOST_BYTES // 1_000_000} MB" for what in room.left_out]
    named = [("findings", "What was found")] if contents.findings else []
    named += [(section.key, section.title) for section in sections]
    links = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title in named)
    body = findings_block(contents.findings) + body
    numbers = ",".join(f"{_json(key)}:{text}" for key, text in figures.items())
    return FRAME.format(
        policy=POLICY, mark=MARK, title=harmless(escape(contents.title)), links=harmless(links), **fixed,
        body=harmless(body), notes=harmless(notes_block(contents.notes + left_out)),
        numbers=f'{{"figures":{{{numbers}}},"style":{_json(style_numbers())}}}',
    )  # fmt: skip


def _fitted(section: Section, figures: dict[str, str], room: Room) -> Section:
    """Collect the numbers of a section's figures; panels for which there is no room are left out."""
    kept = []
    for items, panel in [(section.items, None), *((panel.items, panel) for panel in section.panels)]:
        own = {item.key: _json(found) for item in items if (found := figure_numbers(item)) is not None}
        fixed = [
            item for item in items if not isinstance(item, Clips | Filmstrips)
        ]  # those take what is left
        blocks = {item.key: item_block(item, None) for item in fixed}
        room.blocks.update(blocks)
        size = sum(map(len, [*own.values(), *blocks.values()]))
        if panel is None:
            room.left -= size
        elif room.take(size, f"the inside of run {panel.run}"):
            kept.append(panel)
        else:
            continue
        figures.update(own)
    return replace(section, panels=kept)


def _json(value: Any) -> str:
    return _safe(harmless_json(json.dumps(value, separators=(",", ":"), allow_nan=False)))


def _part(name: str) -> str:
    return (PLACE / name).read_text(encoding="utf-8")


def _safe(text: str) -> str:
    """Keep a JSON text from ending the script element that holds it."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
