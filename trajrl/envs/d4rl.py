"""d4rl:NAME: D4RL's data by its own name, in D4RL's own environment where the original stack is installed.

Elsewhere the Gymnasium successor stands in.  It has other dynamics (MuJoCo 3, not 2), so a score on D4RL's
scale always names what it was measured in.

Paper: Fu et al. 2020 (D4RL).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from trajrl.core.registry import unknown
from trajrl.envs import d4rl_original
from trajrl.envs.base.protocol import NoEnvironmentError, Score
from trajrl.envs.base.reference_scores import normalised, table
from trajrl.envs.base.suite import Suite
from trajrl.envs.base.wrappers import EnvOptions
from trajrl.envs.gymnasium import make_registered
from trajrl.formats import open_source
from trajrl.store.episode import Episode

SUCCESSORS = {
    "ant": "Ant-v4",
    "halfcheetah": "HalfCheetah-v4",
    "hopper": "Hopper-v4",
    "walker2d": "Walker2d-v4",
}
ANT_WIDTH = 111  # D4RL's ant observations; those from 27 on, the contact forces, are zero throughout its data


class D4rlSuite(Suite):
    """One of D4RL's names, such as d4rl:hopper-medium-v2."""

    prefix = "d4rl"

    def __init__(self, name: str, options: EnvOptions | None = None) -> None:
        references = table("d4rl_reference_scores")
        if name not in references:
            raise ValueError(unknown("D4RL name", name, references))
        self.dataset, self.family = name, name.split("-")[0]
        self.low, self.high = references[name]
        self.original = self.family in d4rl_original.MODULES and d4rl_original.installed()
        super().__init__(name, options)

    @classmethod
    def data_name(cls, name: str) -> str:
        """Return the name of the data set, which is the environment's too."""
        return name

    @classmethod
    def knows(cls, name: str) -> bool:
        """Return whether D4RL has the name."""
        return name in table("d4rl_reference_scores")

    def build(self, seed: int, render: bool) -> gymnasium.Env:
        """Return the original environment, or the Gymnasium successor."""
        if self.original:
            return d4rl_original.make_original(self.dataset, self.family, seed)
        if self.family in d4rl_original.NEEDS_MJRL:
            raise NoEnvironmentError(
                f"{self.name} needs mjrl, which no package registry has; it can be trained on "
                "(without --env) but not acted in"
            )
        if self.family not in SUCCESSORS:
            known = ", ".join(sorted(SUCCESSORS))
            raise NoEnvironmentError(
                f"{self.name} has no Gymnasium successor of the same shape; only {known} have one. "
                "Its own environment comes with make legacy; without it, train without --env"
                if self.family in d4rl_original.MODULES
                else f"{self.name} has no environment here; it can be trained on (without --env)"
            )
        env = make_registered(SUCCESSORS[self.family], render)
        return Padded(env, ANT_WIDTH) if self.family == "ant" else env

    def episodes(self) -> Iterator[Episode]:
        """Yield the data set of this name, from the cache D4RL uses or by download."""
        yield from open_source(self.dataset).episodes()

    def score(self, episode_return: float) -> Score:
        """Put a return on D4RL's scale, named as what it is."""
        if self.low is None or self.options.alters_returns:
            return Score(None, "none")
        value = normalised(episode_return, self.low, self.high)
        if self.original:
            return Score(value, f"{self.dataset}@{d4rl_original.stack()}")
        version = SUCCESSORS[self.family].rpartition("-")[2]
        return Score(value, f"{self.family}@gymnasium-{version} (D4RL-scaled, other dynamics)")


class Padded(gymnasium.ObservationWrapper):
    """Zeros behind an observation, where the data has columns of zeros."""

    def __init__(self, env: gymnasium.Env, width: int) -> None:
        super().__init__(env)
        assert env.observation_space.shape is not None
        self._more = width - env.observation_space.shape[0]
        self.observation_space = Box(-np.inf, np.inf, (width,), np.float32)

    def observation(self, observation: Any) -> np.ndarray:
        """Add the zeros."""
        return np.pad(observation, (0, self._more))
