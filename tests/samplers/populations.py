"""Small stores that describe themselves, and every sampler with the options that its tests use."""

from typing import Any

import numpy as np

from trajrl.core.rng import stream
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore
from trajrl.store.window import Anchors

# name -> (expression, options): every sampler of the registry, and every way of starting inside a trajectory.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "advantage": ("advantage", {"temperature": 0.5, "floor": 0.05}),
    "cluster": ("cluster", {"clusters": 3, "floor": 0.1}),
    "cluster-auto": ("cluster", {"refit_every": 3}),
    "cluster-tilt": ("cluster", {"clusters": 3, "tilt": 0.5, "tilt_ramp": 8}),
    "density": ("density", {"kl": 0.4, "floor": 0.1, "refit_every": 1}),
    "density-ess": ("density", {"ess": 0.8, "refit_every": 1}),
    "episode": ("episode", {}),
    "mixture": ("mixture", {"fraction": 0.3, "online": "priority", "offline": "cluster", "clusters": 2}),
    "mixture-scheduled": ("mixture", {"fraction": 0.8, "fraction_end": 0.2, "over_steps": 4}),
    "onpolicy": ("onpolicy", {"recent": 0.5, "refit_every": 1, "score_steps": 4, "width": 8}),
    "onpolicy-ess": ("onpolicy", {"recent": 0.3, "refit_every": 3, "ess": 0.5, "floor": 0.0, "width": 4}),
    "priority-cursor": ("priority", {"start": "backward_cursor", "refresh_every": 2}),
    "priority-last": ("priority", {"metric": "return", "start": "last", "window": 1, "beta": 0.5}),
    "priority-q": ("priority", {"metric": "q_uncertainty", "refresh_every": 2, "score_episodes": 5}),
    "priority-td": ("priority", {"refresh_every": 2, "beta": 0.2, "beta_end": 1.0, "beta_steps": 6}),
    "product": ("cluster*priority", {"clusters": 3, "refresh_every": 2, "beta": 1.0}),
    "product-cursor": ("cluster*priority", {"clusters": 2, "start": "backward_cursor"}),
    "product-density": ("cluster*density", {"clusters": 2, "kl": 0.3, "refit_every": 1}),
    "progress": ("progress", {"clusters": 2, "begin": 0.5, "temperature": 0.1, "refresh_every": 2}),
    "progress-success": (
        "progress",
        {"by": "success", "clusters": 1, "window": 16, "ess": 0.6, "refresh_every": 1},
    ),
    "quality": ("quality", {"over_steps": 6, "low_end": 0.1}),
    "quality-critic": (
        "quality",
        {"judge": "critic", "states": 2, "refresh_every": 2, "over_steps": 5, "score_rows": 60},
    ),
    "recent": ("recent", {"half_life": 0.3, "floor": 0.2}),
    "roles": ("roles", {"policy": "weighted", "values": "uniform", "temperature": 0.5}),
    "roles-late": (
        "roles",
        {
            "policy": "top",
            "values": "priority",
            "policy.share": 0.4,
            "refresh_every": 2,
            "narrow_at": 0.5,
            "narrow_ramp": 1.0,
            "updates": 4,
        },
    ),
    "top": ("top", {"share": 0.4, "floor": 0.1}),
    "uniform": ("uniform", {}),
    "weighted": ("weighted", {"temperature": 0.5, "floor": 0.05}),
    "weighted-rw": ("weighted", {"law": "rw", "max_share": 0.2, "exponent": 0.0}),
}


def episode(length: int, reward: float = 1.0, success: bool | None = None, seed: int = 0) -> Episode:
    """Return an episode of one reward throughout; observations drift with it, so that kinds differ."""
    rng = stream(seed, "test", length)
    obs = np.cumsum(rng.normal(size=(length + 1, 3)), axis=0) + 5 * reward
    return Episode(obs, rng.normal(size=(length, 2)), np.full(length, reward), False, success, f"r{reward:g}")


def population(count: int = 24, online: bool = True) -> TrajectoryStore:
    """Return a store of three kinds of episodes, lengths 2 to 8, every third one online."""
    store = TrajectoryStore()
    for i in range(count):
        phase = "online" if online and i % 3 == 2 else "offline"
        store.append(episode(2 + i % 7, float(i % 3), success=i % 3 == 2, seed=i), phase)
    return store


def returns_store(returns: list[float], lengths: list[int]) -> TrajectoryStore:
    """Return a store of given returns and lengths."""
    return TrajectoryStore.of(episode(t, g / t, seed=i) for i, (g, t) in enumerate(zip(returns, lengths)))


def score(anchors: Anchors) -> np.ndarray:
    """Stand in for two critics that differ more in later episodes."""
    mean = np.sin(anchors.episode * 1.7 + anchors.step)
    return np.stack([mean, mean + 0.1 * anchors.episode], axis=1)


def fixed_anchors(episodes: list[int], steps: list[int] | None = None) -> Anchors:
    """Return anchors with weight 1."""
    drawn = np.array(episodes)
    return Anchors(drawn, np.array(steps or [0] * len(episodes)), np.ones(len(episodes), np.float32))
