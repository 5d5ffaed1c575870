"""`store filter`: keep the episodes of a store that a question is true of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from trajrl.cli.store.editing import Editing, say_unknown

QUESTION = tyro.conf.arg(metavar="QUESTION")


@dataclass(frozen=True, kw_only=True)
class Filter(Editing):
    """Keep episodes by a question about the episode table, such as "return > 100 and source == 'teleop'"."""

    where: Annotated[str, QUESTION]
    """What is kept: episode, length, return, success, terminated, truncated, source, phase, cluster and the
    table's own columns; and, or, not, comparisons, in, is None, sums; mean, median, std, min, max, quantile
    over all episodes, as in "return > quantile(return, 0.9)"; column('name') for names of other letters."""

    def run(self) -> dict[str, Any]:
        """Ask, write, and say what was kept."""
        from trajrl.store.edit.choose import kept_where

        edit, unknown = kept_where(self.opened(), self.where)
        say_unknown(unknown, "dropped")
        return self.write(edit)
