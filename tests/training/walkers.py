"""A policy of toy:rooms that can be written down, and what it is worth."""

from __future__ import annotations

import numpy as np
import torch

from trajrl.envs import make_suite
from trajrl.rollout.collector import Collector, Streams, in_order
from trajrl.store.store import TrajectoryStore
from trajrl.store.window import WindowSpec


class Walker:
    """Goes to the door, through it, and to the goal, `pace` of the longest step at a time."""

    device, action_dim = torch.device("cpu"), 2

    def __init__(self, history: int = 1, chunk: int = 1, pace: float = 1.0) -> None:
        self.spec, self.pace = WindowSpec(history, chunk), pace

    def act(self, history, rng, explore):
        place, goal, chosen = history.obs[:, -1, :2], history.obs[:, -1, 2:], []
        for _ in range(self.spec.chunk):
            before, high = place[:, :1] < 0.05, place[:, 1:].abs() > 0.1
            door = torch.where(
                high & (place[:, :1] < 0), torch.tensor([-0.1, 0.0]), torch.tensor([0.12, 0.0])
            )
            step = (torch.where(before, door, goal) - place) / 0.08
            chosen.append(self.pace * step / step.abs().amax(1, keepdim=True).clamp(min=1))
            place = place + 0.08 * chosen[-1]
        return torch.stack(chosen, 1)


def walked(actor, episodes: int) -> TrajectoryStore:
    """Return episodes of toy:rooms that an actor ran."""
    collector = Collector(make_suite("toy:rooms"), actor, Streams(1, "test", ()), 10, num_episodes=episodes)
    try:
        return TrajectoryStore.of([finished.episode for finished in in_order(collector)])
    finally:
        collector.close()


def discounted_return(store: TrajectoryStore, gamma: float) -> float:
    """Return the mean discounted return of all episodes, summed by hand."""
    found = [np.asarray(e.rewards) @ gamma ** np.arange(len(e)) for e in store.episodes()]
    return float(np.mean(found))
