"""The density of the data's own actions: a Gaussian per observation, by maximum likelihood.

    L = -mean log N(a; mu(o), sigma(o)^2),  sigma at least exp(-3)

It is a simple clone: data of several policies is one wide Gaussian to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trajrl.agents.base.protocol import History
from trajrl.core.rng import torch_stream
from trajrl.nets.gaussian import normal_density
from trajrl.nets.mlp import MLP
from trajrl.nets.optim import Optimiser
from trajrl.store.gather import gather
from trajrl.store.window import WindowSpec
from trajrl.training.ope.windows import context, here_of, steps_of

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

WIDTHS, UPDATES, ROWS, RATE, MOST = (64, 64), 800, 256, 2e-3, 50_000
SMALLEST, LARGEST = -3.0, 1.0  # of the log of sigma


def fitted_clone(
    store: TrajectoryStore, episodes: np.ndarray, seed: int, updates: int = UPDATES
) -> Callable[[History, Tensor], Tensor]:
    """Fit the density; returns log beta (V,) of actions (V, 1, act), by the last observation."""
    anchors = steps_of(store, episodes, MOST, seed)
    net = MLP(store.obs_dim, WIDTHS, 2 * store.action_dim, torch_stream(seed, "ope/clone"), activation="relu")
    optimiser = Optimiser(net.parameters(), RATE, decay="update", decay_steps=updates)
    batch, rng = gather(store, anchors, WindowSpec()), torch_stream(seed, "ope/clone", 1)
    obs, actions = context(store, here_of(batch)), batch.actions[:, 0]
    for update in range(updates):
        rows = torch.randint(len(obs), (ROWS,), generator=rng)
        optimiser.prepare(update)
        optimiser.step(-_density(net, obs[rows], actions[rows]).mean())

    def log_prob(history: History, actions: Tensor) -> Tensor:
        last = history.each(lambda part: part[:, -1:])
        with torch.no_grad():
            return _density(net, context(store, last), actions[:, 0])

    return log_prob


def _density(net: MLP, obs: Tensor, actions: Tensor) -> Tensor:
    """Return log beta (V,) of actions (V, act)."""
    mean, log_std = net(obs).chunk(2, -1)
    return normal_density(mean, log_std.clamp(SMALLEST, LARGEST), actions).sum(-1)
