"""Which rows are of good episodes: their merit against a split of the merits seen last.

good = merit above Otsu's split of the merits of the last `capacity` rows, or in the best `share` of them
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from trajrl.samplers.base.split import split


class MeritSplit:
    """The merits of rows as they come, and the limit of the last labelling; all of it is saved."""

    in_losses: ClassVar[tuple[str, ...]] = ()  # tensors that losses and acting read

    def __init__(self, capacity: int, share: float, device: torch.device) -> None:
        self.share, self.device = share, device
        self.merits = torch.full((capacity,), torch.nan, dtype=torch.float64)  # a ring; NaN: not there yet
        self.seen = self.labelled = 0  # rows, and how many they were at the last labelling
        self.limit = torch.full((), torch.inf, device=device)  # nothing is good before the first labelling

    def take(self, merit: Tensor, due: bool) -> None:
        """Add merits (n,); label anew where that is due, or twice as many were seen as at the last time."""
        merit = merit.double().cpu()[-len(self.merits) :]
        self.merits[(self.seen + torch.arange(len(merit))) % len(self.merits)] = merit
        self.seen += len(merit)
        if self.seen and (due or 2 * self.labelled <= self.seen < 2 * len(self.merits)):
            known = self.merits[~self.merits.isnan()]
            best = torch.quantile(known, 1 - self.share) if self.share else split(known.numpy()).limit
            self.limit = torch.as_tensor(best, dtype=torch.float32, device=self.device)
            self.labelled = self.seen

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
