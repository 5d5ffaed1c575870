"""trajrl's own stores, plain or packed, as a source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trajrl.formats.base.options import Options
from trajrl.formats.base.source import Labelled, Source
from trajrl.store.action_box import box_origin, is_scaled
from trajrl.store.store import TrajectoryStore
from trajrl.store.table import PHASES


class Native(Source):
    """One store file."""

    format = "trajrl"

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options)
        self.store = TrajectoryStore.open(path)
        kept = self.store.attributes
        self.count = len(self.store.live)
        self.environment = options.environment or kept.get("environment")
        if "action_low" in kept and "action_high" in kept:
            self.set_box(kept["action_low"], kept["action_high"], box_origin(kept))
        self.scaled = is_scaled(kept)
        self.units = kept.get("units", {})
        self.versions = {"provenance": kept.get("provenance", {})}

    def stores(self) -> tuple[TrajectoryStore, ...]:
        """Return the store, which may be replaced by what is written of it."""
        return (self.store,)

    def read(self) -> Iterator[Labelled]:
        """Yield the episodes with their labels."""
        table = self.store.table
        for e in self.store.live.tolist():
            labels = {name: getattr(table, name)[e] for name in table.extra_names}
            yield self.store.episode(e), {**labels, "phase": PHASES[int(table.phase[e])]}
