"""Gather: anchors expanded to windows, as window.py says what those are, a whole batch at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trajrl.store.frames import gather_frames
from trajrl.store.goals import Goals, cost, rewards_until
from trajrl.store.merit import merits
from trajrl.store.return_to_go import returns_to_go, stops
from trajrl.store.window import AnchorError, Anchors, SequenceBatch, WindowSpec
from trajrl.store.window_rows import begins, chunk_of, histories, marked, on_device, rewards_of

if TYPE_CHECKING:
    import torch

    from trajrl.store.store import TrajectoryStore


class Placed(NamedTuple):
    """Where windows lie in their episodes; (B,) int64 each."""

    episode: np.ndarray
    step: np.ndarray  # of the anchor
    start: np.ndarray  # the episode's first row
    length: np.ndarray  # T
    k: np.ndarray  # real steps in the horizon

    @property
    def first(self) -> np.ndarray:
        """Return the anchor's row of actions (B,)."""
        return self.start + self.step

    @property
    def reach(self) -> np.ndarray:
        """Return the real steps from the anchor on (B,)."""
        return self.length - self.step

    @property
    def bootstrap(self) -> np.ndarray:
        """Return the step (B,) of the observation at which the bootstrap is taken."""
        return self.step + self.k


def gather(
    store: TrajectoryStore, anchors: Anchors, spec: WindowSpec, device: str | torch.device = "cpu",
    goals: Goals | None = None,
) -> SequenceBatch:  # fmt: skip
    """Expand anchors to windows, without a loop over the batch.

    Args:
        goals: of each window, where the store has a law of goals; None: its episode's last observation
    """
    at = _placed(store, anchors, spec.n)
    batch = _rows(store, at, np.array(anchors.weight, np.float32), spec, device)
    if spec.merit:
        batch = batch._replace(merit=on_device(merits(store)[at.episode].astype(np.float32), device))
    if store.goals:
        return _towards(store, batch, at, spec, goals or Goals(at.episode, at.length))
    if not store.images:
        return batch
    frames = gather_frames(store, at.start + at.episode, at.step, at.k, (spec.history, spec.n), device)
    return batch._replace(images=frames[0], next_image=frames[1])


def _placed(store: TrajectoryStore, anchors: Anchors, n: int) -> Placed:
    """Copy the anchors' episodes and steps and look up where those episodes lie."""
    episode, step = np.array(anchors.episode, np.int64), np.array(anchors.step, np.int64)
    if len(episode) and (episode.min() < 0 or episode.max() >= len(store)):
        bad = episode[(episode < 0) | (episode >= len(store))][0]
        raise AnchorError(f"an anchor is in episode {bad}; the store has {len(store)}")
    start, length = store.table.start[episode], store.table.length[episode]
    outside = (step < 0) | (step >= length)
    if outside.any():
        bad = int(outside.argmax())
        raise AnchorError(f"step {step[bad]} is outside episode {episode[bad]} of length {length[bad]}")
    return Placed(episode, step, start, length, np.minimum(length - step, n))


def _rows(
    store: TrajectoryStore, at: Placed, weight: np.ndarray, spec: WindowSpec, device: str | torch.device
) -> SequenceBatch:
    """Gather the rows of windows: observations, actions, rewards, ends, and what a spec wants beside."""
    obs_place, action_place, reward_place = begins(store, at.episode, at.start)
    terminated = (at.bootstrap == at.length) & store.table.terminated[at.episode]
    terminated |= marked(store, at.first, at.k)
    stop, returns = _returns(store, at, spec, device)
    last = np.stack([at.step, at.bootstrap, *stop])  # where the histories end
    obs, prev_actions, mask = histories(store, action_place, obs_place, last, spec.history, device)
    batch = SequenceBatch(
        obs[0], prev_actions[0], mask[0],
        *chunk_of(store, action_place + at.step, at.reach, spec.num_actions, device),
        *rewards_of(store, reward_place + at.step, at.k, spec.n, device),
        on_device(at.k, device), on_device(terminated, device), obs[1], prev_actions[1], mask[1],
        on_device(weight, device), on_device(at.episode, device), on_device(at.step, device),
    )  # fmt: skip
    if spec.next_actions:
        left = np.where(terminated, 0, at.reach - at.k)
        following = chunk_of(store, action_place + at.bootstrap, left, spec.chunk, device)
        batch = batch._replace(next_actions=following[0], next_mask=following[1])
    if returns:
        batch = batch._replace(
            returns=returns[0], end_discount=returns[1],
            end_obs=obs[2], end_prev_actions=prev_actions[2], end_history_mask=mask[2],
        )  # fmt: skip
    return batch


def _returns(
    store: TrajectoryStore, at: Placed, spec: WindowSpec, device: str | torch.device
) -> tuple[list[np.ndarray], tuple[torch.Tensor, ...]]:
    """Return the step (B,) at which returns to go end, and these (B,) with what discounts a value there."""
    if spec.return_gamma is None:
        return [], ()
    stop, ended = stops(store, at.episode, at.first)
    discount = np.where(ended, 0.0, spec.return_gamma ** (stop - at.first)).astype(np.float32)
    returns = returns_to_go(store, at.first, stop, spec.return_gamma, device)
    return [stop - at.start], (returns, on_device(discount, device))


def _towards(
    store: TrajectoryStore,
    batch: SequenceBatch,
    at: Placed,
    spec: WindowSpec,
    goals: Goals,
) -> SequenceBatch:
    """Show goals beside the observations of windows, which are paid and ended by them."""
    ahead, device = goals.steps_to(at.episode, at.step), batch.obs.device  # (B,)
    row = store.table.start[goals.episode] + goals.episode + goals.step
    goal = store.obs.take(row, device)[:, None]  # (B, 1, obs)
    batch = batch._replace(
        obs=_beside(batch.obs, goal, batch.history_mask),
        next_obs=_beside(batch.next_obs, goal, batch.next_history_mask),
        rewards=on_device(rewards_until(np.minimum(ahead, at.k), spec.n), device),
        terminated=on_device(ahead <= at.k, device),
    )
    if spec.return_gamma is None or batch.end_obs is None or batch.end_history_mask is None:
        return batch
    steps = np.minimum(ahead, at.reach)
    discount = np.where(ahead <= at.reach, 0.0, spec.return_gamma**steps).astype(np.float32)
    return batch._replace(
        returns=on_device(cost(steps, spec.return_gamma), device), end_discount=on_device(discount, device),
        end_obs=_beside(batch.end_obs, goal, batch.end_history_mask),  # read where no goal was met
    )  # fmt: skip


def _beside(obs: torch.Tensor, goal: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Lay goals (B, 1, obs) beside every real observation of histories (B, H, obs): (B, H, 2 obs)."""
    import torch

    return torch.cat((obs, goal * mask[..., None]), -1)
