"""`list`: what can be chosen, one row each, read from the plug-ins themselves.

What a thing is comes from the first line of its module's docstring, its paper from the paragraph that begins
with "Paper:", what it supports from the fields of its Config and from attributes of its class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from textwrap import fill
from typing import Annotated, Any, NamedTuple

import tyro

from trajrl.agents import AGENTS
from trajrl.cli.common import Common, say
from trajrl.cli.text_table import show_table, terminal_width
from trajrl.core.program import program
from trajrl.core.registry import find, unknown
from trajrl.envs import ENVS, ORACLES
from trajrl.formats import EXPORTS, FORMATS
from trajrl.samplers import SAMPLERS
from trajrl.samplers.auto import AUTO
from trajrl.training.presets import ONLINE, PRESETS

GAP = 3  # columns between two columns of a table


class Entry(NamedTuple):
    """One thing that can be chosen."""

    name: str
    what: str
    paper: str  # empty where none is named
    supports: tuple[str, ...]


class Kind(NamedTuple):
    """One kind of things: where they are chosen, what the last column holds, and how they are found."""

    option: str
    column: str
    entries: Callable[[], list[Entry]]
    note: str


@dataclass(frozen=True, kw_only=True)
class List(Common):
    """Show what can be chosen: what each is, the paper, and what it supports."""

    kind: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(
            metavar="agents|samplers|metrics|envs|formats|presets",
            help_behavior_hint="(default: the kinds themselves)",
        ),
    ] = ""
    """What to list."""

    def check(self) -> None:
        """Refuse an unknown kind."""
        super().check()
        if self.kind and self.kind not in KINDS:
            raise ValueError(unknown("list of", self.kind, KINDS))

    def run(self) -> dict[str, Any]:
        """Print one row for each thing of a kind, or for each kind."""
        if not self.kind:
            rows = [(name, kind.option) for name, kind in KINDS.items()]
            show_table((f"{program()} list", "what is chosen by"), rows, width=terminal_width())
            return {"kinds": dict(rows)}
        kind = KINDS[self.kind]
        found = kind.entries()
        show(found, kind.column)
        say()
        say(fill(f"Chosen by {kind.option}.  {kind.note}", terminal_width()))
        return {self.kind: {entry.name: entry._asdict() for entry in found}}


def show(entries: list[Entry], column: str) -> None:
    """Print a row for each entry; where four columns are too wide, the last two stand below the second."""
    rows = [[entry.name, entry.what, entry.paper, ", ".join(entry.supports)] for entry in entries]
    header = ["name", "what it is", "paper", column]
    used = [i for i in range(len(header)) if any(row[i] for row in rows)]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in used]
    if len(used) < len(header) or sum(widths) + GAP * len(widths) <= terminal_width():
        show_table(
            [header[i] for i in used], [[row[i] for i in used] for row in rows], width=terminal_width()
        )
        return
    room = terminal_width() - widths[0] - 2 * GAP
    for row in rows:
        below = [f"{header[i]}: {row[i]}" for i in used[2:] if row[i]]
        row[1] += "".join(f"\n{line}" for line in joined(below, room))
    show_table(header[:2], [row[:2] for row in rows], width=terminal_width())


def joined(parts: list[str], room: int) -> list[str]:
    """Return parts as one line where that fits into `room` columns, else each as a line."""
    line = "   ".join(parts)
    return [line] if len(line) <= room and line else parts


def agents() -> list[Entry]:
    """Return the algorithms; lengths that their Config has are free."""
    found = []
    for name, target in AGENTS.items():
        kind = find(AGENTS, name, "agent")
        known = {f.name for f in fields(kind.Config)}
        lengths = {"history": "history", "chunks": "chunk", "horizon": "horizon"}
        supports = [word for word, field in lengths.items() if field in known]
        supports += ["online"] if kind.learns_online else []
        found.append(described(name, target, (*supports, *_images(kind))))
    return found


def samplers() -> list[Entry]:
    """Return the samplers."""
    found = []
    for name, target in SAMPLERS.items():
        kind = find(SAMPLERS, name, "sampler")
        known = {f.name for f in fields(kind.config_type)}
        parts = getattr(kind, "PARTS", ())
        supports = [f"parts {' and '.join(parts)}"] if parts else []
        supports += ["TD errors"] if not parts and kind.reads_td_errors else []
        supports += [
            word for word, field in (("importance weights", "beta"), ("start", "start")) if field in known
        ]
        found.append(described(name, target, (*supports, *_images(kind))))
    return [described(AUTO, "trajrl.samplers.auto:decide", ("one of these",)), *found]


def metrics() -> list[Entry]:
    """Return what the priority sampler can rank by."""
    from trajrl.samplers.metrics import METRICS

    return [
        Entry(name, first_line(metric.of.__doc__), "", (metric.evidence,)) for name, metric in METRICS.items()
    ]


def envs() -> list[Entry]:
    """Return the suites of environments, and how a user's own are named."""
    from trajrl.envs.base.suite import Suite

    found = []
    for name, target in {**ENVS, "module:callable": "trajrl.envs.custom:CustomSuite"}.items():
        kind = find({name: target}, name, "environment suite")
        supports = ["scripted oracle"] if name in ORACLES else []
        supports += ["data of its own"] if kind.episodes is not Suite.episodes else []
        supports += ["own scores"] if kind.score is not Suite.score else []
        found.append(described(name, target, (*supports, *_images(kind))))
    return found


def formats() -> list[Entry]:
    """Return the formats of data."""
    return [
        described(name, target, ("import", "export") if name in EXPORTS else ("import",))
        for name, target in FORMATS.items()
    ]


def presets() -> list[Entry]:
    """Return the presets of every agent, then those that one agent alone has."""
    found = []
    for name, preset in PRESETS.items():
        what = (
            f"{preset['steps']:,} updates, {preset['eval_episodes']} episodes every {preset['eval_every']:,}"
        )
        found.append(Entry(name, f"{what}; online {ONLINE[name]['env_steps']:,} steps", "", ("all",)))
    for agent, target in AGENTS.items():
        table = getattr(import_module(target.split(":")[0]), "PRESETS", {})
        own = {name: table[name] for name in table if name not in PRESETS}
        found += [Entry(name, text, "", (agent,)) for name, text in apart(own).items()]
    return found


def apart(table: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return for each preset of an agent the settings that not all of them share."""
    found = {}
    for preset, own in table.items():
        others = [other for name, other in table.items() if name != preset]
        shared = {name for name in own if others and all(other.get(name) == own[name] for other in others)}
        found[preset] = ", ".join(
            f"{name.removeprefix('run.')}={value}" for name, value in own.items() if name not in shared
        )
    return {preset: text or "what all presets of this agent share" for preset, text in found.items()}


def described(name: str, target: str, supports: tuple[str, ...]) -> Entry:
    """Return a plug-in with what its module's docstring says of it."""
    text = import_module(target.split(":")[0]).__doc__ or ""
    paper = re.search(r"^Paper: (.+?)\.?\s*(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    return Entry(name, first_line(text), " ".join(paper[1].split()) if paper else "", supports)


def first_line(text: str | None) -> str:
    """Return the first sentence of a docstring's first line without its full stop."""
    return (text or "").strip().partition("\n")[0].partition(".  ")[0].removesuffix(".")


def _images(kind: Any) -> tuple[str, ...]:
    """Return the word for a plug-in that takes images."""
    return ("images",) if getattr(kind, "images", False) else ()


KINDS: dict[str, Kind] = {
    "agents": Kind("--agent", "supports", agents, "--help-config lists the fields of one."),
    "samplers": Kind(
        "--sampler", "has", samplers,
        "All draw for any history, chunk and horizon, offline and online; A*B is a product of two, "
        "policy=A values=B a draw for each role of an agent's terms.",
    ),
    "metrics": Kind("--metric", "measured from", metrics, "store: the data; feedback: TD errors; score: Q."),
    "envs": Kind("--env SUITE:NAME", "has", envs, "A registered Gymnasium id needs no suite."),
    "formats": Kind("--format", "supports", formats, "auto finds the format by content."),
    "presets": Kind(
        "--preset", "agents", presets,
        "An agent's own preset is shown by what sets it apart; --help-config shows all that it sets.",
    ),
}  # fmt: skip
