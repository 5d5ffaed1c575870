"""Agent: an algorithm.  It learns from windows and acts on histories; it sees no store and no environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from trajrl.core.one_line import one_line
from trajrl.store.window import SequenceBatch, WindowSpec

MOST = 4  # metrics that an update prints of itself


class Update(NamedTuple):
    """What one gradient step returns; everything stays on the device."""

    metrics: dict[str, Tensor]  # scalars, named 'critic/q_mean', 'actor/bc_loss', ...
    td_error: Tensor  # (B,) absolute TD error, ensemble mean; NaN where unused; zeros without a critic

    def __repr__(self) -> str:
        """Return the first metrics and the mean TD error: this reads them off the device."""
        shown = [f"{name} {float(self.metrics[name].mean()):.4g}" for name in sorted(self.metrics)[:MOST]]
        more = len(self.metrics) - len(shown)
        td_error = f"td_error {float(self.td_error.nanmean()):.4g} of {self.td_error.numel()}"
        return one_line(self, *shown, f"{more} more metrics" if more else "", td_error)


class Batches(NamedTuple):
    """Windows by role, as many for each: two draws, or twice the same batch where one draw serves both."""

    policy: SequenceBatch  # what the policy learns from
    values: SequenceBatch  # what the critics and their baselines learn from; TD errors are of these rows


def by_role(batch: SequenceBatch | Batches) -> Batches:
    """Return the batch of each role; a single batch is that of both."""
    return batch if isinstance(batch, Batches) else Batches(batch, batch)


class History(NamedTuple):
    """The last H observations of V environments, as a window shows them: padding first, zero and masked."""

    obs: Tensor  # (V, H, obs)
    prev_actions: Tensor  # (V, H, act)
    mask: Tensor  # (V, H) bool
    images: tuple[Tensor, ...] = ()  # (V, H, height, width, channels) uint8, one for each key

    def each(self, change: Callable[[Tensor], Tensor]) -> History:
        """Return the history with every tensor changed."""
        obs, prev_actions, mask = map(change, self[:3])
        return History(obs, prev_actions, mask, tuple(map(change, self.images)))

    def rows(self, index: Tensor | slice) -> History:
        """Return some of the rows."""
        return self.each(lambda part: part[index])


def history_of(batch: SequenceBatch) -> History:
    """Return the history at the anchors of a batch."""
    return History(batch.obs, batch.prev_actions, batch.history_mask, batch.images_here)


def next_history_of(batch: SequenceBatch) -> History:
    """Return the history that ends where the bootstrap is taken."""
    return History(batch.next_obs, batch.next_prev_actions, batch.next_history_mask, batch.images_next)


class Agent(Protocol):
    """One algorithm in one file; `spec` says which windows it learns from."""

    spec: WindowSpec
    action_dim: int
    device: torch.device
    updates_per_batch: int  # update-to-data ratio: the loop draws this many times its batch size per update
    roles: tuple[str, ...]  # kinds of terms it has: policy, values; with both it takes a batch for each

    def update(self, batch: SequenceBatch | Batches, rng: torch.Generator) -> Update:
        """Do one step of learning; `rng` is a CPU generator and the only source of randomness."""

    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Choose a chunk of actions (V, N, act) in [-1, 1].

        `rng` has one CPU generator per row: what one row draws does not depend on the rows beside it.
        """

    def value(self, history: History, actions: Tensor) -> Tensor:
        """Return Q (V,) of actions (V, N, act); an agent without a critic raises ValueError."""

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V), of which `value` is the agent's own reduction."""

    def state_dict(self) -> dict[str, Any]:
        """Return networks, targets, optimisers, counters and normaliser: tensors and plain numbers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state; the next update is the one that would have come."""
