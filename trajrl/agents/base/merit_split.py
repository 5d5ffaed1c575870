"""Which rows are of good episodes: their merit against a split of the merits seen last.

    good = merit above the split of the merits of the last `capacity` rows, or in the best `share` of them

Where no episode is better than another, all are good.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from trajrl.samplers.base.split import limit_of_best, split


class MeritSplit:
    """The merits of rows as they come, and the limit of the last labelling; all of it is saved."""

    in_losses: ClassVar[tuple[str, ...]] = ()  # tensors that losses and acting read

    def __init__(self, capacity: int, share: float, device: torch.device) -> None:
        self.share, self.device = share, device
        self.merits = torch.full((capacity,), torch.inf, device=device)  # a ring; infinite: no row
        self.seen = self.labelled = 0  # places filled, and how many they were at the last labelling
        self.limit = torch.full((), -torch.inf, device=device)

    def take(self, merit: Tensor, real: Tensor, due: bool) -> None:
        """Add merits (n,) of real rows; label anew where that is due, or twice as many are there as then."""
        merit = torch.where(real, merit, torch.inf)[-len(self.merits) :]
        place = (self.seen + torch.arange(len(merit), device=self.device)) % len(self.merits)
        self.merits[place] = merit.float()
        self.seen += len(merit)
        if due or 2 * self.labelled <= self.seen < 2 * len(self.merits):
            self.label()

    def label(self) -> None:
        """Set the limit from the merits that are there; the one time that they leave the device."""
        known = self.merits[self.merits.isfinite()].cpu().numpy()  # float32, as what is compared
        self.labelled = self.seen
        if not len(known):
            return
        weight = np.ones(len(known))
        limit = limit_of_best(known, weight, self.share) if self.share else split(known, weight).limit
        limit = limit if np.isfinite(limit) else -np.inf
        self.limit = torch.tensor(limit, dtype=torch.float32, device=self.device)

    def good(self, merit: Tensor) -> Tensor:
        """Return which of merits (n,) are good."""
        return merit > self.limit

    def state_dict(self) -> dict[str, Any]:
        """Return merits, counts and limit."""
        return {
            "merits": self.merits,
            "counts": torch.tensor([self.seen, self.labelled]),
            "limit": self.limit,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.merits.copy_(state["merits"])
        self.seen, self.labelled = state["counts"].tolist()
        self.limit = state["limit"].to(self.device)
