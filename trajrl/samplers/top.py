"""Top: uniform over the steps of the best episodes by return.

    p(e, t) = (1 - floor) s_e / sum s_e T_e + floor / (n T_e)
    s_e = 1 for the best floor(share n) episodes, else 0

Episodes tied at the border share the places that are left there: all returns equal is uniform over steps.

Paper: Hong et al. 2023 (Top-p, arXiv 2306.13085).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trajrl.samplers.base.distributions import check_share, with_floor
from trajrl.samplers.base.episode_law import EpisodeLaw
from trajrl.samplers.base.returns import best, returns_of


@dataclass(frozen=True)
class Config:
    """How much is kept."""

    share: float = 0.1  # of the episodes that is kept; higher: more data, worse on average
    floor: float = 0.0  # share of draws that is uniform over all episodes; higher: more of the rest is seen

    def validate(self) -> None:
        """Refuse what is not a share."""
        check_share("share", self.share)
        check_share("floor", self.floor)


class TopSampler(EpisodeLaw):
    """The steps of the best episodes, each equally likely."""

    config_type = Config

    def masses(self, ids: np.ndarray) -> np.ndarray:
        """Return T_e s_e with the floor mixed in."""
        places = int(self.config.share * len(ids) + 1e-9)
        if not places:
            self.note(
                f"top: a share of {self.config.share} of {len(ids)} episodes is none; the best one is kept"
            )
        kept = best(returns_of(self.store, ids), max(1, places))
        return with_floor(kept * self.store.table.length[ids], self.config.floor)
