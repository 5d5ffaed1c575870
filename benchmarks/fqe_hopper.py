"""Fitted Q evaluation of known policies in Hopper: values against discounted returns, and their intervals.

    python benchmarks/fqe_hopper.py            # two minutes of one core

Data: episodes of the expert's and the medium policy, each without noise and with N(0, 0.3^2) on its actions
(`all`), and of the other policy alone.  True is the mean discounted return of episodes of the policy itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from trajrl.core.paths import POLICIES
from trajrl.envs import make_suite
from trajrl.rollout.collector import Collector, Streams, in_order
from trajrl.rollout.policies import FilePolicy, NoisyPolicy
from trajrl.store.store import TrajectoryStore
from trajrl.training.ope import fqe
from trajrl.training.ope.estimate import resampled
from trajrl.training.ope.start_values import Problem, fitted, monte_carlo

GAMMA, NOISE = 0.99, 0.3
NAMES = ("expert", "medium")
COLUMNS = "policy", "data", "steps", "its return", "true", "fitted", "off", "95 % interval", "width"


def main() -> None:
    """Record, fit, and print one line per policy and data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=15, help="of each kind of data")
    parser.add_argument("--updates", type=int, default=fqe.Config.updates)
    options = parser.parse_args()
    actors = {name: FilePolicy(POLICIES / f"hopper-{name}.npz") for name in NAMES}
    plain = {name: recorded(actors[name], options.episodes, i) for i, name in enumerate(NAMES)}
    noisy = [
        recorded(NoisyPolicy(actors[name], NOISE), options.episodes, 2 + i) for i, name in enumerate(NAMES)
    ]
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    for name, other in (NAMES, NAMES[::-1]):
        truth = known(recorded(actors[name], 2 * options.episodes, 9))
        every = [episode for store in (*plain.values(), *noisy) for episode in store.episodes()]
        for data, store in (("all", TrajectoryStore.of(every)), (f"{other} alone", plain[other])):
            print(row(name, data, store, actors[name], truth, options.updates), flush=True)


def row(name: str, data: str, store: TrajectoryStore, actor: FilePolicy, truth: float, updates: int) -> str:
    """Fit the value of a policy on one store, as a line of the table."""
    problem = Problem(store, np.arange(len(store)), GAMMA)
    found = resampled("fqe", fitted(problem, [actor], fqe.Config(updates=updates)).policies, 0)
    value, low, high = found.value[0], found.low[0], found.high[0]
    cells = name, data, f"{store.num_steps:,}", f"{known(store):.0f}", f"{truth:.0f}", f"{value:.0f}"
    return f"| {' | '.join(cells)} | {value / truth - 1:+.0%} | {low:.0f} to {high:.0f} | {high - low:.0f} |"


def recorded(actor: FilePolicy | NoisyPolicy, episodes: int, number: int) -> TrajectoryStore:
    """Run episodes of an actor."""
    suite = make_suite("Hopper-v4")
    collector = Collector(suite, actor, Streams(number, "fqe", ()), 5, num_episodes=episodes)
    try:
        return TrajectoryStore.of([one.episode for one in in_order(collector) if one.episode is not None])
    finally:
        collector.close()


def known(store: TrajectoryStore) -> float:
    """Return the mean discounted return of a store's episodes."""
    return float(monte_carlo(Problem(store, np.arange(len(store)), GAMMA)).mean())


if __name__ == "__main__":
    main()
