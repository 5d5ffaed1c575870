"""Recent: what was acted lately more often, as the policy of now would still act so.

    p(e, t) = (1 - floor) s_e / sum s_e T_e + floor / (n T_e)
    s_e = 2^-(a_e / (half_life N)),   a_e = steps of all later episodes, and half of e's own;   N = sum T

A stand-in for density ratios between the policy and the data, by age: nothing is fitted.  Offline episodes
are of one age, the greatest: their order in the store says nothing.

Paper: Wang & Ross 2019 (emphasising recent experience); Lee et al. 2021 (balanced replay) fit the ratio.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trajrl.samplers.base.distributions import check_share, with_floor
from trajrl.samplers.base.episode_law import EpisodeLaw
from trajrl.store.table import PHASES


@dataclass(frozen=True)
class Config:
    """How fast an episode is forgotten."""

    half_life: float = 0.2  # share of all steps behind which a step counts half; higher: nearer to uniform
    floor: float = 0.1  # share of draws that is uniform over all episodes; higher: more of the old is seen

    def validate(self) -> None:
        """Refuse what is not a share, and a half-life of nothing."""
        check_share("floor", self.floor)
        if not self.half_life > 0:
            raise ValueError(f"the sampler option 'half_life' is above 0; got {self.half_life}")


class RecentSampler(EpisodeLaw):
    """Episodes by their age, steps uniform."""

    config_type = Config

    def masses(self, ids: np.ndarray) -> np.ndarray:
        """Return T_e s_e with the floor mixed in."""
        length = self.store.table.length[ids].astype(np.float64)  # (n,)
        data = self.store.table.phase[ids] == PHASES.index("offline")
        new = np.where(data, 0.0, length)
        age = np.cumsum(new[::-1])[::-1] - length / 2  # (n,)
        age[data] = new.sum() + length[data].sum() / 2
        share = np.exp2(-age / (self.config.half_life * length.sum()))
        return with_floor(length * share, self.config.floor)
