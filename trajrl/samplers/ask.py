"""Ask the agent what it thinks of rows of the data, in blocks that fit its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.samplers.protocol import Score

BLOCK_ROWS = 4096


def ask(score: Score, episode: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the agent's values (n, E) of the data's actions at (episode, step), E = 1 for a single value."""
    found = []
    for first in range(0, len(episode), BLOCK_ROWS):
        part = slice(first, first + BLOCK_ROWS)
        weight = np.ones(len(episode[part]), np.float32)
        values = np.asarray(score(Anchors(episode[part], step[part], weight)), np.float64)
        if len(values) != len(weight):
            raise ValueError(
                f"a score gives one row of values per anchor; {len(weight)} anchors gave {values.shape}"
            )
        found.append(values.reshape(len(values), -1))
    return np.concatenate(found) if found else np.zeros((0, 1))
