"""Windows towards goals: the goal beside every observation, rewards and ends those of the goal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trajrl.store.goals import Goals, cost, rewards_until
from trajrl.store.window_rows import on_device

if TYPE_CHECKING:
    import torch

    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import SequenceBatch, WindowSpec


def towards(
    store: TrajectoryStore,
    batch: SequenceBatch,
    placed: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    spec: WindowSpec,
    goals: Goals,
) -> SequenceBatch:
    """Show goals beside the observations of windows, which are paid and ended by them.

    Args:
        placed: episode and step, real steps from there on, and those of them in the horizon, (B,) each
    """
    (episode, step, reach, k), device = placed, batch.obs.device
    ahead = goals.steps_to(episode, step)  # (B,)
    row = store.table.start[goals.episode] + goals.episode + goals.step
    goal = store.obs.take(row, device)[:, None]  # (B, 1, obs)
    batch = batch._replace(
        obs=_beside(batch.obs, goal, batch.history_mask),
        next_obs=_beside(batch.next_obs, goal, batch.next_history_mask),
        rewards=on_device(rewards_until(np.minimum(ahead, k), spec.n), device),
        terminated=on_device(ahead <= k, device),
    )
    if spec.return_gamma is None or batch.end_obs is None or batch.end_history_mask is None:
        return batch
    steps = np.minimum(ahead, reach)
    discount = np.where(ahead <= reach, 0.0, spec.return_gamma**steps).astype(np.float32)
    return batch._replace(
        returns=on_device(cost(steps, spec.return_gamma), device), end_discount=on_device(discount, device),
        end_obs=_beside(batch.end_obs, goal, batch.end_history_mask),  # read where no goal was met
    )  # fmt: skip


def _beside(obs: torch.Tensor, goal: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Lay goals (B, 1, obs) beside every real observation of histories (B, H, obs): (B, H, 2 obs)."""
    import torch

    return torch.cat((obs, goal * mask[..., None]), -1)
