"""What commands share that write an edited copy of one store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from trajrl.cli.common import Common, progress, refuse_existing, say
from trajrl.store.notes import counted

if TYPE_CHECKING:
    from trajrl.store.edit.rewrite import Edit
    from trajrl.store.store import TrajectoryStore


@dataclass(frozen=True, kw_only=True)
class Editing(Common):
    """A store, and where the edited one goes."""

    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="X.h5")]
    """The store file."""
    out: Annotated[Path, tyro.conf.arg(metavar="Y.h5")]
    """The store to write; with --overwrite it may be X.h5 itself, whole at any moment, old or new."""
    overwrite: bool = False
    """Replace a store that has this name."""

    def opened(self) -> TrajectoryStore:
        """Open the store, where the place of the new one is free."""
        from trajrl.store.edit.rewrite import open_to_edit

        refuse_existing(self.out, self.overwrite)
        return open_to_edit(self.store.expanduser())

    def write(self, edit: Edit) -> dict[str, Any]:
        """Write the new store, and say what was kept and what was not."""
        from trajrl.store.edit.rewrite import spoken, write_edit

        found = write_edit(edit, self.out, lambda ids: progress(ids, edit.name, unit="episodes"))
        for line in spoken(found):
            say(line)
        return found


def say_unknown(count: int, what: str) -> None:
    """Say of how many episodes a question has no answer, and what becomes of them."""
    if count:
        say(f"the answer is not known of {counted('episode[s]', count)}, {what} (`success is None` asks)")
