"""Queues: what an actor needs between steps, the history it sees and the chunk it has still to execute.

history   the last H observations and the action before each; padding first, zero and masked, as in `gather`
chunk     the actor is asked only where the queue is empty, once for all environments that need it
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from trajrl.agents.base.protocol import History
from trajrl.core.products import exactly
from trajrl.store.images import Seen, Shapes, parts_of
from trajrl.store.window import WindowSpec

TOLERANCE = 1e-4  # how far an action may leave [-1, 1] by rounding


class Actor(Protocol):
    """What acts: an agent, or anything else that has a window and chooses chunks for histories."""

    spec: WindowSpec
    action_dim: int  # one that sees images has `images` as well: their shapes by key, in its order

    @property
    def device(self) -> torch.device:
        """Return where histories must lie."""

    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> torch.Tensor:
        """Choose a chunk of actions (V, N, act) in [-1, 1]."""


class HistoryQueue:
    """The last H observations of V environments and the action before each."""

    def __init__(
        self, num_envs: int, history: int, obs_dim: int, action_dim: int, images: Shapes | None = None
    ) -> None:
        self.images = {
            name: np.zeros((num_envs, history, *shape), np.uint8) for name, shape in (images or {}).items()
        }
        self.obs = np.zeros((num_envs, history, obs_dim), np.float32)
        self.prev_actions = np.zeros((num_envs, history, action_dim), np.float32)
        self.mask = np.zeros((num_envs, history), bool)

    def reset(self, row: int) -> None:
        """Forget everything: an episode begins."""
        self.obs[row], self.prev_actions[row], self.mask[row] = 0, 0, False
        for frames in self.images.values():
            frames[row] = 0

    def push(self, row: int, action: np.ndarray | float, obs: Seen) -> None:
        """Add what was done (0 at the start) and what was seen then; the oldest entry leaves."""
        vector, images = parts_of(obs)
        shown = [(frames, images[name]) for name, frames in self.images.items()]
        for queue, value in ((self.obs, vector), (self.prev_actions, action), (self.mask, True), *shown):
            queue[row, :-1] = queue[row, 1:]
            queue[row, -1] = value

    def show(self, rows: Sequence[int], device: str | torch.device = "cpu") -> History:
        """Copy the histories of some environments to tensors, (len(rows), H, ...)."""
        index = np.asarray(rows, np.int64)
        obs, prev_actions, mask, *images = (
            torch.from_numpy(queue[index]).to(device)
            for queue in (self.obs, self.prev_actions, self.mask, *self.images.values())
        )
        return History(obs, prev_actions, mask, tuple(images))


class Queues:
    """History and chunk of V environments; `act` is one step of the actor in some or all of them."""

    def __init__(self, actor: Actor, num_envs: int) -> None:
        self.actor, self.num_envs = actor, num_envs
        self.history: HistoryQueue | None = None  # made when the first observation shows its width
        self.chunks: list[deque[np.ndarray]] = [deque() for _ in range(num_envs)]
        self.last: list[np.ndarray | None] = [None] * num_envs  # the action before the next observation

    def reset(self, row: int) -> None:
        """Begin an episode in one environment: no history, and what was left of a chunk is dropped."""
        if self.history is not None:
            self.history.reset(row)
        self.chunks[row].clear()
        self.last[row] = None

    def see(self, row: int, obs: Seen) -> None:
        """Take in the observation that followed the last action."""
        if self.history is None:
            self.history = HistoryQueue(
                self.num_envs, self.actor.spec.history, len(parts_of(obs)[0]), self.actor.action_dim,
                getattr(self.actor, "images", None),
            )  # fmt: skip
        before = self.last[row]
        self.history.push(row, 0.0 if before is None else before, obs)

    def act(
        self,
        obs: Sequence[Seen] | np.ndarray,
        rng: Sequence[torch.Generator],
        rows: Sequence[int] | None = None,
        explore: bool = False,
    ) -> np.ndarray:
        """See one observation per row and return one action per row: (V, obs) -> (V, act)."""
        rows = range(self.num_envs) if rows is None else rows
        for row, seen in zip(rows, obs):
            self.see(row, seen)
        self.ask(self.waiting(rows), dict(zip(rows, rng)), explore)
        return np.stack([self.take(row) for row in rows])

    def waiting(self, rows: Sequence[int]) -> list[int]:
        """Return the rows whose chunk is used up."""
        return [row for row in rows if not self.chunks[row]]

    def ask(
        self,
        rows: Sequence[int],
        rng: Mapping[int, torch.Generator],
        explore: bool,
        actor: Actor | None = None,
    ) -> None:
        """Ask the actor, or the one that stands in for it, for a new chunk in each of `rows`, at once."""
        if not rows:
            return
        asked = actor or self.actor
        with torch.no_grad(), exactly():
            chosen = asked.act(self.show(rows, asked.device), [rng[row] for row in rows], explore)
        self.put(rows, chosen)

    def show(self, rows: Sequence[int], device: str | torch.device = "cpu") -> History:
        """Copy the histories of some environments to tensors."""
        assert self.history is not None, "an observation comes before the first action"
        return self.history.show(rows, device)

    def put(self, rows: Sequence[int], chosen: torch.Tensor) -> None:
        """Queue the chunks (len(rows), N, act) that an actor chose."""
        chunk = chosen.cpu().numpy().astype(np.float32, copy=False)  # (len(rows), N, act)
        if not (np.abs(chunk) <= 1 + TOLERANCE).all():
            worst = "NaN" if np.isnan(chunk).any() else f"{np.abs(chunk).max():.3g} in size"
            raise ValueError(f"the policy chose an action outside [-1, 1]: {worst}")
        for row, actions in zip(rows, np.clip(chunk, -1, 1)):
            self.chunks[row].extend(actions)

    def take(self, row: int) -> np.ndarray:
        """Return the next action of a chunk and remember it."""
        action = self.last[row] = self.chunks[row].popleft()
        return action

    def left(self, row: int) -> np.ndarray:
        """Return the actions of the chunk that are still to come, (m, act)."""
        return np.array(self.chunks[row], np.float32).reshape(-1, self.actor.action_dim)
