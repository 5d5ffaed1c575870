"""SlowLearner: the base of agents whose target actor follows the policy every few updates."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from trajrl.agents.learner import AgentConfig, Learner
from trajrl.nets.targets import ema_speed


class Config(AgentConfig, Protocol):
    """What is read for a slow average besides."""

    @property
    def ema_decay(self) -> float:
        """Return its share that stays."""

    @property
    def ema_every(self) -> int:
        """Return the updates between two moves."""

    @property
    def ema_start(self) -> int:
        """Return the updates before it averages."""

    @property
    def ema_before(self) -> str:
        """Say whether it copies until then."""


class SlowLearner(Learner):
    """Base of agents whose target actor follows every few updates, by config.ema_*."""

    config: Config

    @property
    def speed(self) -> float:
        """Return how far the target actor moves at the next update."""
        config = self.config
        return ema_speed(
            self.updates, config.ema_decay, config.ema_every, config.ema_start, config.ema_before
        )

    def stage(self) -> Hashable:
        """Return whether and how far the target actor moves."""
        return self.speed
