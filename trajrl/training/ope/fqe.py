"""Fitted Q evaluation: the value of policies at o_0, by an ensemble of Q networks of each.

    y = R_k + gamma^k Q'(o_{t+k}, pi(o_{t+k})),  kept within what rewards of the data can sum to
    L = mean w_e (Q(o, a) - y)^2,  w_e = how often a bootstrap of member e drew the step's episode

A cautious value pays for each action that is not the data's, where nobody knows what would have come:

    y = R_k + gamma^k (Q' - caution (1 - gamma^k) rms(G) |pi(o_{t+k}) - a_{t+k}|^2)

so that a policy whose actions are always at squared distance 1 loses caution times the typical return.

All policies are fitted in one batched product.  The networks begin as a regression on the data's own returns
(the value of its policy), once for all policies: what is left to learn is the difference, and a value that
reaches far ahead need not travel back step by step.

Papers: Le et al. 2019; Hao et al. 2021 (bootstrap over episodes); Wu et al. 2019 (value penalties).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trajrl.core.console import progress
from trajrl.core.rng import stream, torch_stream
from trajrl.nets.ensemble import EnsembleMLP
from trajrl.nets.optim import Optimiser
from trajrl.nets.targets import follow
from trajrl.store.return_to_go import returns_to_go, stops

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import Anchors
    from trajrl.training.ope.windows import Windows


@dataclass(frozen=True)
class Config:
    """How networks are fitted."""

    members: int = 5  # networks per policy; raising it: steadier intervals, slower
    width: int = 64  # of the networks; raising it: finer, slower
    depth: int = 2  # hidden layers; raising it: finer, slower
    first_updates: int = 500  # of the regression on the data's returns
    updates: int = 1500  # of every policy's own; raising it: nearer to the fixed point, slower
    batch_size: int = 128  # steps per update; raising it: smoother, slower
    lr: float = 2e-3  # learning rate, which falls to 0 over the updates
    tau: float = 0.05  # speed of the target networks; raising it: values travel faster, less stable
    caution: float = 0.0  # price of leaving the data's actions; raising it: the nearer to them, the better

    def validate(self) -> None:
        """Check that counts are such."""
        for name in ("members", "width", "depth", "first_updates", "updates", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"fqe.{name} must be at least 1; got {getattr(self, name)}")
        if not 0 <= self.caution < float("inf"):
            raise ValueError(f"caution is a number of at least 0; got {self.caution}")


class FittedQ:
    """Q networks of M policies, E each, fitted together."""

    def __init__(self, nets: EnsembleMLP, policies: int, scale: float) -> None:
        self.nets, self.policies, self.scale = nets, policies, scale

    @torch.no_grad()
    def values(self, obs: Tensor, actions: Tensor) -> Tensor:
        """Return Q (M, E, n) of contexts (n, ctx) and of each policy's own actions (M, n, D)."""
        members = self.nets.members // self.policies
        rows = torch.cat((obs.expand(self.policies, -1, -1), actions), -1)  # (M, n, in)
        q = self.nets.own_rows(rows.repeat_interleave(members, 0))[..., 0]  # (M E, n)
        return q.unflatten(0, (self.policies, members)) * self.scale


def fit(
    windows: Sequence[Windows], returns: Tensor, weight: Tensor, bounds: tuple[float, float],
    config: Config, seed: int,
) -> FittedQ:  # fmt: skip
    """Fit the networks of M policies to their windows of the same steps.

    Args:
        returns: (S,) discounted rewards to the end of the episode, of the data's own policy
        weight: (E, S) how much every member counts a step
        bounds: least and largest value that there can be
    """
    config.validate()
    rng, first = torch_stream(seed, "ope/fqe"), windows[0]
    scale = max(float(returns.square().mean().sqrt()), 1e-6)
    here = torch.cat((first.obs, first.actions), 1)  # (S, in)
    start = _networks(config.members, here.shape[1], config, rng)
    optimiser = Optimiser(start.parameters(), config.lr)
    for _ in range(config.first_updates):
        rows = torch.randint(len(here), (config.batch_size,), generator=rng).to(here.device)
        q = start(here[rows])[..., 0]  # (E, B)
        optimiser.step((weight[:, rows] * (q - returns[rows] / scale).square()).mean(1).sum())
    nets, target = (_copies(start, here.shape[1], len(windows), config, seed) for _ in range(2))
    own = weight.repeat(len(windows), 1)  # (M E, S)
    discount = torch.stack([w.discount for w in windows])  # (M, S)
    rewards = torch.stack([w.rewards for w in windows]) / scale - config.caution * _prices(windows)  # (M, S)
    known = torch.stack([w.known for w in windows])  # (M, S)
    low, high = -torch.inf if config.caution else bounds[0] / scale, bounds[1] / scale
    optimiser = Optimiser(nets.parameters(), config.lr, decay="update", decay_steps=config.updates)
    for update in progress(range(config.updates), "fitting values", config.updates, "updates"):
        rows = torch.randint(len(here), (config.batch_size,), generator=rng).to(here.device)
        with torch.no_grad():
            there = torch.stack([torch.cat((w.next_obs[rows], w.next_actions[rows]), 1) for w in windows])
            ahead = target.own_rows(there.repeat_interleave(config.members, 0))[..., 0]  # (M E, B)
            ahead = ahead.unflatten(0, (len(windows), -1))
            y = rewards[:, None, rows] + discount[:, None, rows] * ahead
            y = y.clamp(low, high).flatten(0, 1)  # (M E, B)
        share = own[:, rows] * known[:, rows].repeat_interleave(config.members, 0)
        optimiser.prepare(update)
        optimiser.step((share * (nets(here[rows])[..., 0] - y).square()).mean(1).sum())
        follow(target.parameters(), nets.parameters(), config.tau)
    return FittedQ(target, len(windows), scale)


def _prices(windows: Sequence[Windows]) -> Tensor:
    """Return d (1 - d) |pi - a|^2 (M, S), d the discount; a step without the data's action has the mean."""
    parts = []
    for w in windows:
        mean = w.apart.nanmean().nan_to_num()  # no step has one: there is nothing to compare with
        parts.append(w.discount * (1 - w.discount) * torch.where(w.apart.isnan(), mean, w.apart))
    return torch.stack(parts)


def returns_of(store: TrajectoryStore, anchors: Anchors, gamma: float) -> Tensor:
    """Return the discounted rewards (S,) from every step to its episode's end or first solved step."""
    row = store.table.start[anchors.episode] + anchors.step
    return returns_to_go(store, row, stops(store, anchors.episode, row)[0], gamma, "cpu")


def bootstrap_weights(episode: np.ndarray, members: int, seed: int) -> Tensor:
    """Return how often each member's bootstrap drew the episode of every step, (E, S), of mean 1."""
    ids, which = np.unique(episode, return_inverse=True)
    rng = stream(seed, "ope/members")
    counts = rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), size=members)  # (E, episodes)
    weight = counts[:, which].astype(np.float32)
    return torch.from_numpy(weight / np.maximum(weight.mean(1, keepdims=True), 1e-6))


def value_bounds(store: TrajectoryStore, episodes: np.ndarray, gamma: float) -> tuple[float, float]:
    """Return the least and largest discounted sum of rewards such as the data has."""
    least, most = 0.0, 0.0
    for episode in episodes:
        first, count = int(store.table.start[episode]), int(store.table.length[episode])
        rewards = store.shape_reward(torch.as_tensor(store.rewards.slice(first, first + count)))
        least, most = min(least, float(rewards.min())), max(most, float(rewards.max()))
    length = float(store.table.length[episodes].max())
    steps = min(1 / (1 - gamma), 1e6) if gamma < 1 else length
    return least * steps, most * steps


def _networks(members: int, size: int, config: Config, rng: torch.Generator) -> EnsembleMLP:
    hidden = (config.width,) * config.depth
    return EnsembleMLP(members, size, hidden, 1, rng, activation="relu", layer_norm="before")


def _copies(start: EnsembleMLP, size: int, policies: int, config: Config, seed: int) -> EnsembleMLP:
    """Return the networks of every policy, all of which begin as the same E."""
    rng = torch_stream(seed, "ope/copies")  # of its own: no other draw depends on their number
    nets = _networks(policies * config.members, size, config, rng)
    known = start.state_dict().items()
    state = {name: part.repeat(policies, *[1] * (part.dim() - 1)) for name, part in known}
    nets.load_state_dict(state)
    return nets
