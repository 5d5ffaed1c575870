"""Policies that are no agents: uniform random actions, and a two-layer network from an npz file.

h = relu(w0 o + b0)   h = relu(w1 h + b1)   mu = w_mean h + b_mean            weights (out, in)
without w_logstd: a = tanh(mu)    with it: a = tanh(mu + exp(clip(w_logstd h + b_logstd, -20, 2)) noise)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from trajrl.agents.base.protocol import History
from trajrl.core.paths import DATA
from trajrl.formats.base.source import undamaged
from trajrl.formats.npz.npy import open_npz
from trajrl.rollout.history_queue import Actor
from trajrl.store.window import WindowSpec

NEEDED = ("w0", "b0", "w1", "b1", "w_mean", "b_mean")
OPTIONAL = ("w_logstd", "b_logstd")


class Seen(Protocol):
    """What these policies read of a history."""

    @property
    def obs(self) -> torch.Tensor:
        """Return the last observations of V environments, (V, H, obs)."""


class RandomPolicy:
    """Actions drawn uniformly from [-1, 1]."""

    spec = WindowSpec()
    device = torch.device("cpu")

    def __init__(self, action_dim: int) -> None:
        self.action_dim = action_dim

    def act(self, history: Seen, rng: Sequence[torch.Generator], explore: bool) -> torch.Tensor:
        """Draw one action per row from the row's own generator: (V, 1, act)."""
        return torch.stack([torch.rand(1, self.action_dim, generator=row) * 2 - 1 for row in rng])


class FilePolicy:
    """The network of a policy file; rows are computed one by one, so that none depends on its neighbours."""

    spec = WindowSpec()
    device = torch.device("cpu")

    def __init__(self, path: str | Path) -> None:
        self.weights = read_policy(Path(path))
        self.obs_dim, self.action_dim = self.weights["w0"].shape[1], self.weights["w_mean"].shape[0]
        self.stochastic = "w_logstd" in self.weights

    def act(self, history: Seen, rng: Sequence[torch.Generator], explore: bool) -> torch.Tensor:
        """Act on the last observation of each row: (V, 1, act)."""
        chosen = [self._one(obs.numpy(), row) for obs, row in zip(history.obs[:, -1], rng)]
        return torch.from_numpy(np.stack(chosen)[:, None])

    def _one(self, obs: np.ndarray, rng: torch.Generator) -> np.ndarray:
        w = self.weights
        hidden = np.maximum(w["w0"] @ obs + w["b0"], 0)
        hidden = np.maximum(w["w1"] @ hidden + w["b1"], 0)
        mean = w["w_mean"] @ hidden + w["b_mean"]
        if self.stochastic:
            std = np.exp(np.clip(w["w_logstd"] @ hidden + w["b_logstd"], -20, 2))
            mean = mean + std * torch.randn(self.action_dim, generator=rng).numpy()
        return np.tanh(mean).astype(np.float32)


class NoisyPolicy:
    """Another policy or agent with N(0, scale^2) added to its actions, then cut to [-1, 1]."""

    def __init__(self, policy: Actor, scale: float) -> None:
        self.policy, self.scale = policy, scale
        self.spec, self.action_dim = policy.spec, policy.action_dim
        self.images = getattr(policy, "images", None)

    @property
    def device(self) -> torch.device:
        """Return where histories must lie."""
        return self.policy.device

    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> torch.Tensor:
        """Let the policy act, then add each row's own noise: (V, N, act)."""
        chunk = self.policy.act(history, rng, explore)
        noise = torch.stack([torch.randn(chunk.shape[1:], generator=row) for row in rng])
        return (chunk + self.scale * noise.to(chunk.device)).clamp(-1, 1)


class MixedPolicy:
    """Another policy that, with probability epsilon at each query, acts uniformly in [-1, 1] instead."""

    def __init__(self, policy: Any, epsilon: float) -> None:
        self.policy, self.epsilon = policy, epsilon
        self.spec, self.device, self.action_dim = policy.spec, policy.device, policy.action_dim
        self.images = getattr(policy, "images", None)

    def act(self, history: Seen, rng: Sequence[torch.Generator], explore: bool) -> torch.Tensor:
        """Let the policy act, then replace some rows, each by its own draw: (V, N, act)."""
        chosen = self.policy.act(history, rng, explore)
        drawn = [(torch.rand((), generator=row), torch.rand(chosen.shape[1:], generator=row)) for row in rng]
        instead = torch.stack([coin < self.epsilon for coin, _ in drawn])[:, None, None]
        uniform = torch.stack([action for _, action in drawn]) * 2 - 1
        return torch.where(instead.to(chosen.device), uniform.to(chosen.device), chosen)


def read_policy(path: Path) -> dict[str, np.ndarray]:
    """Read a policy file, without pickle, and check that its layers fit together."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such policy file")
    with undamaged(path), open_npz(path) as (columns, objects):
        if objects:
            raise ValueError(
                f"{path} is not an npz file of plain arrays: '{objects[0]}' holds pickled objects"
            )
        known = [name for name in (*NEEDED, *OPTIONAL) if name in columns]
        weights = {name: _numbers(columns[name].whole(), f"{path}: {name}") for name in known}
    missing = [name for name in NEEDED if name not in weights]
    if missing:
        raise ValueError(
            f"{path} is no policy file: it lacks {', '.join(missing)}; {DATA / 'README.md'} has the layout"
        )
    shapes = {name: weight.shape for name, weight in weights.items()}
    fit = all(len(shapes[name]) == 2 for name in ("w0", "w1", "w_mean"))
    if fit:
        (hidden, obs), (last, _), (act, _) = (shapes[name] for name in ("w0", "w1", "w_mean"))
        fit = shapes.items() <= {
            "w0": (hidden, obs), "b0": (hidden,), "w1": (last, hidden), "b1": (last,), "w_mean": (act, last),
            "b_mean": (act,), "w_logstd": (act, last), "b_logstd": (act,),
        }.items()  # fmt: skip
    if not fit or ("w_logstd" in shapes) != ("b_logstd" in shapes):
        raise ValueError(f"{path} has layers that do not fit together: {shapes}, weights as (out, in)")
    return weights


def _numbers(weight: np.ndarray, name: str) -> np.ndarray:
    """Return finite float32 numbers; nothing else is taken for a number."""
    if weight.dtype.kind not in "fiu":
        raise ValueError(f"{name} holds {weight.dtype}, not real numbers")
    with np.errstate(over="ignore"):
        numbers = weight.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} holds NaN or infinity, or numbers too large for float32")
    return numbers
