"""RankCheck: the processes of a team learn from the same data and draw the same anchors, or the run ends.

    d_0 = crc32 of what the data is;    d_s = crc32 of the anchors and weights of update s, from d_(s-1) on

Every process keeps d, and all compare it before a row, a score or a checkpoint is written: what is written
comes from processes that had drawn alike.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from trajrl.core.console import SilentExitError
from trajrl.core.distributed import Team

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import Anchors


class RankCheck:
    """The digest of what this process has drawn since it began."""

    def __init__(self, team: Team, store: TrajectoryStore) -> None:
        self.team = team
        self.checked = 0  # the update up to which all are known to have drawn alike
        self.digest = data_digest(store) if team.size > 1 else 0

    def note(self, anchors: Anchors) -> None:
        """Take in the anchors of one update, those of the whole batch."""
        if self.team.size > 1:
            for column in anchors:
                self.digest = crc32(column.tobytes(), self.digest)

    def require(self, step: int, resume_hint: Callable[[], str] = str) -> None:
        """Compare with the others after update `step`, 0: before any; the first says which differs.

        Args:
            resume_hint: says what can be done then
        """
        others = [rank for rank, digest in enumerate(self.team.all(self.digest)) if digest != self.digest]
        if not others:
            self.checked = step
            return
        if not self.team.leads:
            with suppress(ConnectionError):
                self.team.wait()  # until the first has reported: a launcher ends all when one has left
            raise SilentExitError(1)
        named = f"process {others[0]}" if len(others) == 1 else f"processes {', '.join(map(str, others))}"
        if not step:
            raise ValueError(f"{named} read other data than process 0: all must see the same files")
        raise ValueError(
            f"{named} drew other windows than process 0 in updates {self.checked + 1} to {step}, so they no "
            f"longer learn one run (machines or library versions that differ do this); {resume_hint()}"
        )


def data_digest(store: TrajectoryStore) -> int:
    """Return a digest of what tells data apart without reading it all."""
    named = str(store.attributes.get("fingerprint", "")).encode()
    ids = store.live
    for column in (store.table.length[ids], store.table.returns[ids]):
        named += np.ascontiguousarray(column).tobytes()
    return crc32(named, crc32(f"{store.obs_dim} {store.action_dim}".encode()))
