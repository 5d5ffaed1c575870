"""`store split`: share the episodes of a store out to several, evenly over source, cluster and return."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from trajrl.cli.common import Common, progress, say
from trajrl.cli.store.editing import Stores, open_stores
from trajrl.cli.text_table import show_table, terminal_width


@dataclass(frozen=True, kw_only=True)
class Split(Common):
    """Share whole episodes out to several stores, each spread evenly over source, cluster and return."""

    stores: Stores
    """The store file, which stays as it is; several, and patterns such as 'shards/*.h5', are one store."""
    parts: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME:SHARE ...", help_behavior_hint="")]
    """Parts and their shares of the episodes, which add up to 1: train:0.8 val:0.2."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the parts, DIR/NAME.h5; it appears with all of them, and one that exists is not replaced."""

    def run(self) -> dict[str, Any]:
        """Share out, write, and say what each part got."""
        from trajrl.store.edit.parts import shares_of, write_parts

        shares = shares_of(self.parts)
        if os.path.lexists(self.out):
            raise FileExistsError(f"{self.out} exists; a split makes a folder of its own")
        store = open_stores(self.stores, self.out)
        found = write_parts(
            store, shares, self.out, self.seed, lambda ids: progress(ids, "split", unit="episodes")
        )
        rows = [
            (name, part["out"], str(part["kept"]["episodes"]), str(part["kept"]["transitions"]))
            for name, part in found["parts"].items()
        ]
        header = ("part", "file", "episodes", "steps")
        show_table(header, rows, numbers=header[2:], width=terminal_width(), whole=header[:2])
        for what in next(iter(found["parts"].values()))["left_out"]:
            say(f"not carried: {what}")
        return found
