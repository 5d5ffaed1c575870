"""What training sees of a store: rewards of the suite and the transform asked for, actions in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from trajrl.config import RunConfig

if TYPE_CHECKING:
    import torch

    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.store.store import TrajectoryStore


def shape(store: TrajectoryStore, config: RunConfig, suite: EnvSuite | None) -> None:
    """Set what training sees of rewards and actions; the store itself keeps them as found."""
    from trajrl.core.console import say
    from trajrl.store.normalize import REWARD_TRANSFORMS

    if suite and (changed := suite.relabel(store)):
        say(f"{suite.name} gives the data its own rewards: {changed} steps changed")
    if config.after_success == "cut":
        say(f"--after-success cut: {store.cut_after_success()} steps after a success are not trained on")
    scale, shift = REWARD_TRANSFORMS[config.reward](store)
    of_suite = suite.shape_reward if suite else (lambda rewards: rewards)
    store.shape_reward = lambda rewards: of_suite(rewards) * scale + shift
    store.shape_action = action_shape(store, config.actions)


def action_shape(store: TrajectoryStore, mode: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function that brings recorded actions into [-1, 1]; actions outside need the user's word."""
    low, high = store.action_range()
    if mode == "clip":
        return lambda actions: actions.clamp(-1, 1)
    if mode == "scale":
        import torch

        box = torch.from_numpy(np.stack(action_box(store)))

        def scaled(actions: torch.Tensor) -> torch.Tensor:
            nonlocal box
            box = box.to(actions.device)  # stays where it was used last
            return ((actions - box[0]) / box[1]).clamp(-1, 1)

        return scaled
    if (low < -1 - 1e-6).any() or (high > 1 + 1e-6).any():
        raise ValueError(
            f"actions lie outside [-1, 1] (from {low.min():.3g} to {high.max():.3g}); choose --actions clip, "
            "as an environment that clips would, or --actions scale, by the recorded box"
        )
    return lambda actions: actions


def action_box(store: TrajectoryStore) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle and the half width of the box that actions were recorded in, else of those found."""
    box = store.attributes.get("action_low"), store.attributes.get("action_high")
    lower, upper = (
        np.asarray(bound if bound is not None else found, np.float32)
        for bound, found in zip(box, store.action_range())
    )
    return (upper + lower) / 2, np.maximum((upper - lower) / 2, np.float32(1e-6))


def recorded_actions(store: TrajectoryStore, mode: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that brings actions in [-1, 1] into the units of the store."""
    if mode != "scale":
        return lambda actions: actions
    middle, half = action_box(store)
    return lambda actions: middle + half * actions
