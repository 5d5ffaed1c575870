"""How well clusters tell apart who acted: information shared with the source, by features and count.

    python benchmarks/cluster_purity.py --stores A.h5 B.h5  # labelled mixtures, as of gauntlet.py data
    python benchmarks/cluster_purity.py --scripted          # seven robots under three controllers each

Controllers are gaits, pose and balance control of different strength, written here; 120 episodes of a robot,
a quarter of the first controller.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np

from trajrl.core.rng import stream
from trajrl.samplers.clustering.explained import explained
from trajrl.samplers.clustering.fit import ClusterSpec, cluster_store
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore

COUNTS, SEEDS, EPISODES = (2, 3, 4, 6), (0, 1), 120
Controller = Callable[[np.ndarray, int, np.random.Generator, float], np.ndarray]  # o, t, rng, phase -> action


def gait(size: float, speed: float, lags: list[float], noise: float) -> Controller:
    """Swing every joint at one speed, each behind the first by its lag."""
    return lambda o, t, rng, phase: (
        size * np.sin(speed * t + phase + np.array(lags)) + noise * rng.normal(size=len(lags))
    )


def balance(gains: list[float], noise: float) -> Controller:
    """Push a cart by a weighted sum of what is seen."""
    return lambda o, t, rng, phase: o[: len(gains)] @ np.array(gains) + noise * rng.normal(size=1)


def pose(target: list[float], stiffness: float, damping: float, noise: float) -> Controller:
    """Hold joints at a pose; the first numbers seen are their angles, the next their speeds."""
    n = len(target)
    return lambda o, t, rng, phase: (
        stiffness * (np.array(target) - o[:n]) - damping * o[n : 2 * n] + noise * rng.normal(size=n)
    )


def reach(stiffness: float, damping: float, noise: float) -> Controller:
    """Pull the tip of an arm of two joints to its target, through the transposed Jacobian."""

    def act(o: np.ndarray, t: int, rng: np.random.Generator, phase: float) -> np.ndarray:
        first, both = np.arctan2(o[2], o[0]), np.arctan2(o[2], o[0]) + np.arctan2(o[3], o[1])
        far = 0.11 * np.array([-np.sin(both), np.cos(both)])
        jacobian = np.stack([0.1 * np.array([-np.sin(first), np.cos(first)]) + far, far], axis=1)
        return 10 * stiffness * jacobian.T @ -o[8:10] - damping * o[6:8] + noise * rng.normal(size=2)

    return act


LEGS, HALF = [0, 1.5, 3.1, 4.6] * 2, [0, 1, 2, 1.5, 2.5, 3.5]
POSES = [0.3, 0.2, -0.4, -0.8, 0.2, -0.3, 0.1], [-0.3, 0.4, 0.2, -1.2, -0.2, -0.6, 0.0]
CART, DOUBLE = [0.3, 8, 0.6, 1.2], [0.2, 6, 4, 0, 0, 0.6, 0.9, 0.5]
SCRIPTED: dict[str, tuple[int, list[Controller]]] = {  # environment -> longest episode, controllers
    "Swimmer-v4": (300, [
        gait(1, 0.25, [0, -1.3], 0.2), gait(1, 0.25, [0, 0.3], 0.2), gait(0.5, 0.25, [0, 1.5], 0.5),
    ]),
    "Reacher-v4": (50, [reach(2, 0.05, 0.05), reach(0.6, 0, 0.2), reach(2, 0, 0.4)]),
    "InvertedPendulum-v4": (300, [
        balance(CART, 0.05), balance([0.6 * g for g in CART], 0.6), balance([0.8 * g for g in CART], 1),
    ]),
    "Ant-v4": (200, [gait(0.6, 0.4, LEGS, 0.2), gait(0.15, 0.4, LEGS, 0.5), gait(0, 0.4, LEGS, 0.6)]),
    "Pusher-v5": (100, [
        pose(POSES[0], 2, 0.5, 0.1), pose(POSES[1], 2, 0.5, 0.1), pose(POSES[0], 0.5, 0, 0.5),
    ]),
    "InvertedDoublePendulum-v4": (200, [
        balance(DOUBLE, 0.05), balance([0.4 * g for g in DOUBLE], 0.05), balance(DOUBLE, 0.6),
    ]),
    "HalfCheetah-v4": (200, [
        gait(0.8, 0.6, HALF, 0.1), gait(0.8, 0.9, HALF, 0.1), gait(0.4, 0.6, HALF, 0.4),
    ]),
}  # fmt: skip


def main() -> None:
    """Print a row for each store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--stores", nargs="*", type=Path, default=[], help="stores whose episodes have sources"
    )
    parser.add_argument("--scripted", action="store_true", help="the robots of this script")
    print(
        "| data | "
        + " | ".join(f"{d}, C = 2, 3, 4, 6; mean" for d in ("shape", "behaviour"))
        + " | shuffled |"
    )
    print("|---|---|---|---|")
    for name, store in stores(parser.parse_args()):
        rows = {describe: shared(store, describe) for describe in ("shape", "behaviour")}
        cells = [", ".join(f"{s:.2f}" for s in own) + f"; {own.mean():.2f}" for own, _ in rows.values()]
        print(f"| {name} | " + " | ".join(cells) + f" | {rows['behaviour'][1]:.2f} |", flush=True)


def stores(asked: argparse.Namespace) -> Iterator[tuple[str, TrajectoryStore]]:
    """Yield what was asked for, by name."""
    for path in asked.stores:
        yield path.stem, TrajectoryStore.open(path)
    for env in SCRIPTED if asked.scripted else ():
        yield env, recorded(env)


def shared(store: TrajectoryStore, describe: str) -> tuple[np.ndarray, float]:
    """Return the mean over seeds of the information for each number of clusters, and what is chance."""

    def of(count: int, seed: int) -> tuple[float, float]:
        return explained(store, cluster_store(store, ClusterSpec(count, describe=describe), seed).labels)[
            "source"
        ]

    found = np.array([[of(count, seed) for count in COUNTS] for seed in SEEDS])  # (seeds, counts, 2)
    return found[..., 0].mean(0), float(found[..., 1].mean())


def recorded(name: str) -> TrajectoryStore:
    """Record the controllers of an environment."""
    longest, controllers = SCRIPTED[name]
    env, store = gym.make(name, max_episode_steps=longest), TrajectoryStore()
    for i in range(EPISODES):
        k = (0, 1, 1, 2)[i % 4]
        store.append(episode(env, controllers[k], i, f"controller {k}"), "offline")
    return store


def episode(env: gym.Env, controller: Controller, seed: int, source: str) -> Episode:
    """Act until the end."""
    rng = stream(seed, "scripted")
    phase, over, rows = float(rng.uniform(0, 2 * np.pi)), False, []
    obs = [env.reset(seed=seed)[0]]
    while not over:
        action = np.clip(
            controller(obs[-1], len(rows), rng, phase), env.action_space.low, env.action_space.high
        )
        o, reward, terminated, truncated, _ = env.step(action.astype(np.float32))
        obs.append(o)
        rows.append((action, reward))
        over = terminated or truncated
    actions, rewards = (np.array(column) for column in zip(*rows))
    return Episode(np.array(obs), actions, rewards, bool(terminated), None, source)


if __name__ == "__main__":
    main()
