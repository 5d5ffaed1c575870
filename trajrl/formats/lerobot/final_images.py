"""What trajrl left of the images after the last action of each episode that it exported, read forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from trajrl.formats.base.options import Options
from trajrl.formats.lerobot.encoded import decoded
from trajrl.formats.lerobot.metadata import held
from trajrl.formats.lerobot.parquet import batches
from trajrl.formats.lerobot.write_images import FINAL
from trajrl.store.notes import Notes


class LastImages:
    """The rows of meta/trajrl_final.parquet, in the order of their episodes."""

    def __init__(
        self, folder: Path, shapes: Mapping[str, tuple[int, ...]], options: Options, notes: Notes
    ) -> None:
        place = folder / "meta" / FINAL
        self._shapes, self._options, self._notes = shapes, options, notes
        self._path = held(folder, place) if shapes and place.exists() else None
        self._rows = self._read()
        self._row: tuple[int, dict[str, np.ndarray]] | None = None

    def of(self, episode: int) -> dict[str, np.ndarray] | None:
        """Return the images (1, h, w, c) of an episode; None where none are there.  Episodes rise."""
        while self._row is None or self._row[0] < episode:
            if (row := next(self._rows, None)) is None:
                return None
            self._row = row
        return self._row[1] if self._row[0] == episode else None

    def _read(self) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        if self._path is None:
            return
        for first, block in enumerate(batches(self._path, ["episode_index"], 8, 1, list(self._shapes))):
            images = {
                name: decoded(
                    block[name], f"{self._path}: '{name}'", first, shape, self._options, self._notes
                )
                for name, shape in self._shapes.items()
            }
            yield int(block["episode_index"].flat[0]), images
