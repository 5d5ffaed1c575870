"""Windows: the store and the draws that benchmarks of `gather` share."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from trajrl.cli.bench.generated import generated
from trajrl.cli.common import Common
from trajrl.cli.option import silent

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import Anchors, WindowSpec


@dataclass(frozen=True, kw_only=True)
class Windows(Common):
    """What the benchmarks draw."""

    COUNTS: ClassVar[tuple[str, ...]] = ("transitions", "batch", "history", "chunk", "batches")

    transitions: int = 1_000_000
    """Transitions of the generated store."""
    batch: int = 256
    """Windows gathered at a time."""
    history: int = 8
    """Observations of a window's history, H."""
    chunk: int = 5
    """Actions of a window's chunk, N."""
    batches: int = 200
    """Batches of each measured round."""
    obs_dim: int = 17
    """Numbers in an observation of the generated store."""
    action_dim: int = 6
    """Numbers in an action."""
    scratch: Annotated[Path | None, silent("PATH", "a temporary folder")] = None
    """Folder for the generated store, which is removed at the end."""

    def file(self) -> AbstractContextManager[Path]:
        """Make the store, and remove it afterwards."""
        return generated(self.transitions, self.seed, self.scratch, self.obs_dim, self.action_dim)

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to gather."""
        from trajrl.store.window import WindowSpec

        return WindowSpec(self.history, self.chunk)

    def anchors(self, store: TrajectoryStore, name: str) -> list[Anchors]:
        """Draw every batch's anchors beforehand, uniform over steps."""
        import numpy as np

        from trajrl.core.rng import stream
        from trajrl.store.window import Anchors

        found = []
        for index in range(self.batches):
            row = stream(self.seed, f"bench {name}", index).integers(store.num_steps, size=self.batch)
            episode = np.searchsorted(store.table.start, row, side="right") - 1
            found.append(Anchors(episode, row - store.table.start[episode], np.ones(self.batch, np.float32)))
        return found
