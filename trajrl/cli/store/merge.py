"""`store merge`: all episodes of several stores in one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from trajrl.cli.common import Common, progress, refuse_existing, say
from trajrl.cli.store.editing import Stores


@dataclass(frozen=True, kw_only=True)
class Merge(Common):
    """Put all episodes of several stores into one; dims, box, extras, units and environment must agree."""

    stores: Stores
    """The store files, in the order of their episodes; a pattern stands for its files in order of name."""
    out: Annotated[Path, tyro.conf.arg(metavar="Y.h5")]
    """The store to write."""
    overwrite: bool = False
    """Replace a store that has this name."""

    def run(self) -> dict[str, Any]:
        """Compare, write, and say what came from where."""
        from trajrl.store.edit.merge import lines, write_merged
        from trajrl.store.edit.rewrite import open_to_edit
        from trajrl.store.places import expand
        from trajrl.store.remote.addresses import require_near

        refuse_existing(self.out, self.overwrite)
        places = expand(self.stores)
        for place in places:
            require_near(place)
        stores = [open_to_edit(Path(place).expanduser()) for place in places]
        found = write_merged(stores, self.out, lambda items: progress(items, "merge", unit="episodes"))
        for line in lines(found):
            say(line)
        say(f"wrote {self.out}")
        return found
