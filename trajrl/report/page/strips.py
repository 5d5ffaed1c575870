"""Strips of frames as HTML: groups beside one another, every picture inside the page, with its words."""

from __future__ import annotations

from base64 import b64encode
from html import escape

from trajrl.report.charts.filmstrips import Filmstrips, Picture, Strip


def strips_block(item: Filmstrips) -> str:
    """Return the groups of a set of strips; on a narrow screen they stand below one another."""
    groups = []
    for name, strips in item.groups.items():
        heading = f"<h4>{escape(name)}</h4>" if name else ""
        groups.append(f"<div>{heading}{''.join(map(_strip, strips))}</div>")
    return f'<div class="strips">{"".join(groups)}</div>'


def _strip(strip: Strip) -> str:
    shown = "".join(map(_picture, strip.pictures))
    return f"<figure><div>{shown}</div><figcaption>{escape(strip.text)}</figcaption></figure>"


def _picture(one: Picture) -> str:
    source = b64encode(one.png).decode()
    return (
        f'<img alt="{escape(one.alt)}" width="{one.width}" height="{one.height}" '
        f'src="data:image/png;base64,{source}">'
    )
