"""ExponentialSampler: an exponential law over episodes by a worth that a subclass states."""

from __future__ import annotations

from typing import Any

import numpy as np

from trajrl.samplers.base.episode_law import EpisodeLaw
from trajrl.samplers.base.exponential_law import ExponentialConfig, effective_share, exponential_law


class ExponentialSampler(EpisodeLaw):
    """Draws episodes by exp(worth), and their steps uniformly."""

    config: ExponentialConfig
    temperature = 0.0  # of the law in force

    def worth(self, ids: np.ndarray) -> np.ndarray:
        """Return how good each episode is (n,), in any unit."""
        raise NotImplementedError(f"{type(self).__name__} does not say its worth")

    def masses(self, ids: np.ndarray) -> np.ndarray:
        """Return the law of the worths."""
        length, asked = self.store.table.length[ids], self.config.ess
        p, self.temperature = exponential_law(self.worth(ids), length, self.config)
        reached = effective_share(p, length)
        if asked and reached < asked * (1 - 1e-6):
            self.note(
                f"an effective share of {asked} is reached at no temperature, {reached:.3f} at the highest: "
                "exponent, floor and max_share weigh so"
            )
        return p

    def stats(self) -> dict[str, float]:
        """Return the law's figures, and the temperature that gave it."""
        return {**super().stats(), "temperature": self.temperature}

    def state_dict(self) -> dict[str, Any]:
        """Return the law in force and its temperature."""
        return {**super().state_dict(), "temperature": self.temperature}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the law as it was."""
        super().load_state_dict(state)
        self.temperature = float(state.get("temperature", self.config.temperature))  # 0.1 kept none
