"""`store delete`: leave episodes or columns of a store out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from trajrl.cli.option import silent
from trajrl.cli.store.editing import Editing, say_unknown


@dataclass(frozen=True, kw_only=True)
class Delete(Editing):
    """Leave episodes out, by id or by a question, or per-step and table columns, by name."""

    episodes: Annotated[tuple[str, ...], silent("ID|FROM:TO ...", "none")] = ()
    """Ids of episodes and half-open ranges of them: 3 17 20:30 is 3, 17 and 20 to 29."""
    where: Annotated[str, tyro.conf.arg(metavar="QUESTION")] = ""
    """Episodes that this is true of, in the language of `store filter`."""
    extras: Annotated[tuple[str, ...], silent("NAME ...", "none")] = ()
    """Per-step columns under extras/."""
    labels: Annotated[tuple[str, ...], silent("NAME ...", "none")] = ()
    """Columns of the episode table, such as cluster."""

    def run(self) -> dict[str, Any]:
        """Choose, write, and say what was dropped."""
        from trajrl.store.edit.choose import without

        edit, unknown = without(self.opened(), self.episodes, self.where, self.extras, self.labels)
        say_unknown(unknown, "kept")
        return self.write(edit)
