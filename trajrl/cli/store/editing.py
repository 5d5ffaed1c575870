"""What commands share that write an edited copy of one store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from trajrl.cli.common import Common, UsageError, progress, refuse_existing, say
from trajrl.store.notes import counted

if TYPE_CHECKING:
    from trajrl.store.edit.rewrite import Edit
    from trajrl.store.store import TrajectoryStore


Stores = Annotated[
    tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="X.h5 ...", help_behavior_hint="")
]


@dataclass(frozen=True, kw_only=True)
class Editing(Common):
    """A store, and where the edited one goes."""

    stores: Stores
    """The store file; several, and patterns such as 'shards/*.h5', are read as one store."""
    out: Annotated[Path, tyro.conf.arg(metavar="Y.h5")]
    """The store to write; with --overwrite it may be X.h5 itself, whole at any moment, old or new."""
    overwrite: bool = False
    """Replace a store that has this name."""

    def opened(self) -> TrajectoryStore:
        """Open the store, where the place of the new one is free."""
        refuse_existing(self.out, self.overwrite)
        return open_stores(self.stores, self.out)

    def write(self, edit: Edit) -> dict[str, Any]:
        """Write the new store, and say what was kept and what was not."""
        from trajrl.store.edit.rewrite import spoken, write_edit

        found = write_edit(edit, self.out, lambda ids: progress(ids, edit.name, unit="episodes"))
        for line in spoken(found):
            say(line)
        return found


def open_stores(words: tuple[str, ...], out: Path) -> TrajectoryStore:
    """Open one store file, or several as one, of which `out` may be none: what was read would change."""
    from trajrl.store.edit.rewrite import open_places_to_edit
    from trajrl.store.places import expand
    from trajrl.store.remote.addresses import is_far

    if not words:
        raise UsageError("name a store file")
    places = [Path(place).expanduser() for place in expand(words) if not is_far(place)]
    if len(places) > 1 and out.exists() and any(place.exists() and out.samefile(place) for place in places):
        raise ValueError(f"{out} is one of the {len(places)} files that are read; --out takes another name")
    return open_places_to_edit(words)


def say_unknown(count: int, what: str) -> None:
    """Say of how many episodes a question has no answer, and what becomes of them."""
    if count:
        say(f"the answer is not known of {counted('episode[s]', count)}, {what} (`success is None` asks)")
