"""`zoo`: the policies that ship with trajrl, and the published weights that it can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from trajrl.cli.common import Common, say
from trajrl.cli.import_agent import IMPORTS
from trajrl.cli.text_table import show_table, terminal_width
from trajrl.core.json_file import read_object
from trajrl.core.paths import POLICIES
from trajrl.core.program import program

WIDEST = 90  # columns that the table takes
HEADER = ("policy", "robot", "return", "where from", "licence")


@dataclass(frozen=True, kw_only=True)
class Zoo(Common):
    """List the policies that ship, what they return and where they are from, and what can be imported."""

    def run(self) -> dict[str, Any]:
        """Print both tables."""
        index = read_object(POLICIES / "index.json")
        rows = [(name, *row(one)) for name, one in index["policies"].items()]
        say(fill("Behaviour policies that ship: `collect --policy` takes their files", terminal_width()))
        show_policies(rows, terminal_width())
        made = ", ".join(f"{name} {number}" for name, number in index["versions"].items())
        say(fill(f"{index['about']}  Measured with {made}.  Files: {POLICIES}", terminal_width()))
        say()
        more = "Published weights that can be imported; trajrl ships none of them, and opens weights alone"
        say(fill(more, terminal_width()))
        layouts = [(name, *one) for name, one in IMPORTS.items()]
        show_table(("agent", "files", "layout"), layouts, width=terminal_width(), whole=("agent",))
        words = f"{program()} import-agent AGENT --actor FILE --critic FILE --env ID --out RUN"
        say(fill(words, terminal_width(), subsequent_indent="    ", break_on_hyphens=False))
        files = {name: str(POLICIES / f"{name}.npz") for name in index["policies"]}
        ships = {name: {**one, "file": files[name]} for name, one in index["policies"].items()}
        imports = {name: dict(zip(("files", "layout"), one)) for name, one in IMPORTS.items()}
        return {"ships": ships, "imports": imports}


def show_policies(rows: Sequence[tuple[str, ...]], width: int) -> None:
    """Say what ships as a table, or where that would be cut as a paragraph for each policy."""
    if width >= WIDEST:
        show_table(HEADER, rows, numbers=("return",), width=width, whole=HEADER[:3])
        return
    for name, robot, measured, origin, licence in rows:
        say(f"\n{name}")
        for line in (f"{robot}, returns {measured}", f"{origin}; {licence}"):
            say(fill(line, width, initial_indent="  ", subsequent_indent="  "))
    say()


def row(one: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return what the table says of a policy."""
    measured = f"{one['return_mean']:,.0f} +- {one['return_std']:,.0f}"
    return one["environment"], measured, f"{one['what']}, {one['origin']}", one["licence"]
