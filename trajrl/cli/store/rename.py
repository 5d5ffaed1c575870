"""`store rename`: other names for sources, columns and the environment of a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from trajrl.cli.option import silent
from trajrl.cli.store.editing import Editing


@dataclass(frozen=True, kw_only=True)
class Rename(Editing):
    """Give sources, per-step columns, table columns or the environment other names; no number changes."""

    sources: Annotated[tuple[str, ...], silent("OLD=NEW ...", "as they are")] = ()
    """Source labels of episodes; two may become one, and =NEW names those without."""
    extras: Annotated[tuple[str, ...], silent("OLD=NEW ...", "as they are")] = ()
    """Per-step columns under extras/."""
    labels: Annotated[tuple[str, ...], silent("OLD=NEW ...", "as they are")] = ()
    """Columns of the episode table."""
    env: Annotated[str, silent("ID", "as it is")] = ""
    """Environment that the episodes are said to be of; their action box stays."""

    def run(self) -> dict[str, Any]:
        """Rename, write, and say what went along."""
        from trajrl.store.edit.rename import pairs, renamed

        sources, extras, labels = (
            pairs(getattr(self, name), name) for name in ("sources", "extras", "labels")
        )
        return self.write(renamed(self.opened(), sources, extras, labels, self.env))
