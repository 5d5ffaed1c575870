"""The items of a report as HTML: figures with caption and table, tables, videos, listings, sections."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from trajrl.report.charts import captions
from trajrl.report.charts.chart import Chart, Cloud, Heat
from trajrl.report.charts.filmstrips import Filmstrips
from trajrl.report.charts.qfunction import Explorer
from trajrl.report.page.contents import Clips, Finding, Item, Listing, Panel, Section, Table
from trajrl.report.page.controls import cloud_controls, explorer_controls, options
from trajrl.report.page.strips import strips_block

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 200  # of a table on the page


class Room:
    """How many bytes are left for videos, and what found none."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.left_out: list[str] = []
        self.blocks: dict[str, str] = {}  # what was written to know its size, by key

    def take(self, size: int, what: str) -> bool:
        """Take room for something, or note that it was left out."""
        if size > self.left:
            self.left_out.append(f"{what} was left out")
            return False
        self.left -= size
        return True


def section_block(section: Section, room: Room | None) -> str:
    """Return a section; without room there are no videos."""
    items = grid(section.items, room)
    panels = "".join(_panel(panel, place, room) for place, panel in enumerate(section.panels))
    picker = ""
    if len(section.panels) > 1:
        runs = options({panel.run: panel.run for panel in section.panels})
        picker = f'<div class="controls"><label>Run<select id="pick-run">{runs}</select></label></div>'
    return (
        f'<section id="{section.key}" aria-labelledby="h-{section.key}"><h2 id="h-{section.key}">'
        f'{escape(section.title)}</h2><p class="intro">{escape(section.intro)}</p>{picker}'
        f"{items}{panels}</section>"
    )


def notes_block(notes: list[str]) -> str:
    """Return what could not be shown, if there is anything."""
    if not notes:
        return ""
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f'<div class="notes" role="note"><strong>Not everything could be shown</strong><ul>{lines}</ul></div>'
    )


def findings_block(findings: list[Finding]) -> str:
    """Return what the report opens with, each sentence with a link to what shows it."""
    if not findings:
        return ""
    lines = "".join(f'<li>{escape(one.text)} <a href="#{anchor(one.key)}">Show</a></li>' for one in findings)
    return (
        '<section id="findings" aria-labelledby="h-findings"><h2 id="h-findings">What was found</h2>'
        f'<ul class="findings">{lines}</ul></section>'
    )


def anchor(key: str) -> str:
    """Return the id of a figure or table within the page."""
    return "f-" + re.sub(r"[^A-Za-z0-9_-]", "-", key)


def grid(items: Sequence[Item], room: Room | None) -> str:
    """Return items two in a row; a chart that is left alone in its row has it whole."""
    blocks, run = [], 0  # charts of the row under way
    for place, item in enumerate(items):
        block, single = item_block(item, room), isinstance(item, Chart | Heat)
        run = run + 1 if single and block else 0
        following = next((isinstance(one, Chart | Heat) for one in items[place + 1 :]), False)
        if single and run % 2 and not following:
            block = block.replace('data-kind="chart"', 'data-kind="chart" class="alone"', 1)
        blocks.append(block)
    return f'<div class="grid">{"".join(blocks)}</div>' if blocks else ""


def item_block(item: Item, room: Room | None) -> str:
    """Return one item; what was written before is taken as it is."""
    if room and item.key in room.blocks:
        return room.blocks[item.key]
    if isinstance(item, Table):
        return _block(item.title, item.caption, table_block(item.rows, item.title), item.key)
    if isinstance(item, Listing):
        lines = [f"<p>{escape(k)}</p><pre tabindex=0>{escape(text)}</pre>" for k, text in item.lines.items()]
        return _block(item.title, "", "".join(lines))
    if isinstance(item, Clips):
        return _clips(item, room) if room else ""
    if isinstance(item, Filmstrips):
        return _filmstrips(item, room) if room else ""
    if isinstance(item, Explorer):
        words = "Q over two action dimensions", captions.Q_HEAT
        return _figure(item.key, "explorer", *words, item.table(), explorer_controls(item))
    kind, controls = ("cloud", cloud_controls(item)) if isinstance(item, Cloud) else ("chart", "")
    return _figure(item.key, kind, item.title, item.caption, item.table(), controls)


def table_block(rows: pd.DataFrame, title: str) -> str:
    """Return a table that scrolls by itself, with numbers to the right; long ones end with a line."""
    shown = rows.head(MOST_ROWS)
    number = [kind.kind in "iuf" for kind in shown.dtypes]
    kinds = (' class="number"' if one else "" for one in number)
    head = "".join(
        f'<th scope="col"{kind}>{escape(str(name))}</th>' for name, kind in zip(shown.columns, kinds)
    )
    lines = ["".join(map(_cell, row, number)) for row in shown.itertuples(index=False)]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    more = f"<p>The first {MOST_ROWS} of {len(rows)} rows.</p>" if len(rows) > len(shown) else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}, table"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"
    )


def _panel(panel: Panel, place: int, room: Room | None) -> str:
    hidden = " hidden" if place else ""
    return (
        f'<div class="panel" data-run="{escape(panel.run)}"{hidden}><h3>{escape(panel.run)}</h3>'
        f"{notes_block(panel.notes)}{grid(panel.items, room)}</div>"
    )


def _figure(key: str, kind: str, title: str, caption: str, rows: pd.DataFrame, controls: str) -> str:
    wide = "" if kind == "chart" else ' class="wide"'
    rows_in_words = f"{len(rows)} row{'' if len(rows) == 1 else 's'}"
    said = escape(f"{title}. {caption} The numbers are in the table below.")
    return (
        f'<figure data-key="{escape(key)}" id="{anchor(key)}" data-kind="{kind}"{wide}>'
        f"<h3>{escape(title)}</h3>"
        f'<div class="controls">{controls}</div><div class="plot" role="img" aria-label="{said}"></div>'
        f"<figcaption>{escape(caption)}</figcaption><details><summary>Numbers as a table ({rows_in_words})"
        f"</summary>{table_block(rows, title)}</details></figure>"
    )


def _block(title: str, caption: str, inside: str, key: str = "") -> str:
    text = f'<p class="caption">{escape(caption)}</p>' if caption else ""
    place = f' id="{anchor(key)}"' if key else ""
    return f'<div{place} class="block wide"><h3>{escape(title)}</h3>{text}{inside}</div>'


def _clips(item: Clips, room: Room) -> str:
    shown = []
    for clip in item.clips:
        if not room.take(len(clip.mp4) * 4 // 3 + 1000, f"the video of the {clip.role} episode"):
            continue
        source, text = b64encode(clip.mp4).decode(), escape(clip.text)
        shown.append(
            f'<figure><video controls muted loop playsinline preload="auto" aria-label="{text}" '
            f'src="data:video/mp4;base64,{source}"></video><figcaption>{text}</figcaption></figure>'
        )
    return _block(item.title, item.caption, f'<div class="clips">{"".join(shown)}</div>') if shown else ""


def _filmstrips(item: Filmstrips, room: Room) -> str:
    inside = strips_block(item)
    if not room.take(len(inside), f"'{item.title}'"):
        return ""
    return _block(item.title, item.caption, inside, item.key)


def _cell(value: Any, is_number: bool) -> str:
    if not is_number:
        return f"<td>{escape(str(value))}</td>"
    missing = value != value
    text = "" if missing else f"{value:.4g}" if isinstance(value, float) else str(value)
    return f'<td class="number">{text}</td>'
