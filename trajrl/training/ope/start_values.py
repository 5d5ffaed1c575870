"""What policies are worth at o_0 by fitted Q evaluation, and the same procedure on the data's own policy.

The value of the data's own policy is known: its discounted returns.  How far the same procedure is from them
says how far to trust it for the others.  All episodes are fitted to, held-out ones too: every member's
bootstrap leaves out a third of them, and a member is compared at the starts of these alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from trajrl.store.gather import gather
from trajrl.store.window import WindowSpec
from trajrl.training.ope import fqe
from trajrl.training.ope.windows import (
    data_windows,
    first_steps,
    policy_windows,
    start,
    steps_of,
    whole_windows,
)

if TYPE_CHECKING:
    from trajrl.rollout.history_queue import Actor
    from trajrl.store.store import TrajectoryStore

MOST_STEPS = 20_000  # that the networks are fitted to, drawn evenly from all


class Problem(NamedTuple):
    """What all policies are judged on."""

    store: TrajectoryStore  # rewards as the environment gives them, actions in [-1, 1]
    episodes: np.ndarray  # (n,) ids
    gamma: float  # discount per step
    seed: int = 0
    horizon: int = 0  # rewards before the bootstrap; 0: those of one chunk, none of the data's own policy
    most: int = MOST_STEPS


class StartValues(NamedTuple):
    """Values of M policies by E networks at the starts of n episodes."""

    policies: np.ndarray  # (M, E, n)
    data: np.ndarray  # (E, n) of the data's own policy, by the same procedure
    seen: np.ndarray  # (E, n) bool: the member's bootstrap drew the episode
    fitted: fqe.FittedQ  # the networks: M policies, then that of the data


def fitted(problem: Problem, actors: Sequence[Actor], config: fqe.Config | None = None) -> StartValues:
    """Fit the values of policies of one window, and of the data's own."""
    store, episodes, gamma, seed, horizon, most = problem
    config, spec = config or fqe.Config(), actors[0].spec
    anchors = whole_windows(store, steps_of(store, episodes, most, seed), spec.chunk)
    if not len(anchors.episode):
        raise ValueError(f"no episode holds a whole chunk of {spec.chunk} actions to evaluate a policy on")
    windows = [policy_windows(store, anchors, actor, gamma, horizon, seed) for actor in actors]
    windows = [w._replace(**{name: part.cpu() for name, part in w._asdict().items()}) for w in windows]
    windows.append(data_windows(store, anchors, spec, gamma))
    weight = fqe.bootstrap_weights(anchors.episode, config.members, seed)
    nets = fqe.fit(
        windows, fqe.returns_of(store, anchors, gamma), weight, fqe.value_bounds(store, episodes, gamma),
        config, seed,
    )  # fmt: skip
    begun = [start(store, episodes, actor, seed) for actor in actors]
    actions = [*(each.actions.cpu() for each in begun), _first_chunks(problem, spec.chunk)]
    values = nets.values(begun[0].obs.cpu(), torch.stack(actions)).double().numpy()
    return StartValues(values[:-1], values[-1], drawn_by(weight.numpy(), anchors.episode, episodes), nets)


def drawn_by(weight: np.ndarray, episode: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return which of the episodes (n,) each member learned from, (E, n), by the weights (E, S) of steps."""
    found = np.zeros((len(weight), len(ids)), bool)
    known, first = np.unique(episode, return_index=True)
    there = np.isin(ids, known)
    found[:, there] = weight[:, first[np.searchsorted(known, ids[there])]] > 0
    return found


def monte_carlo(problem: Problem) -> np.ndarray:
    """Return the discounted returns (n,) of the episodes, the value of the data's own policy at o_0."""
    return fqe.returns_of(problem.store, first_steps(problem.episodes), problem.gamma).double().numpy()


def _first_chunks(problem: Problem, chunk: int) -> torch.Tensor:
    """Return the data's first chunk of every episode (n, D), zero past its end."""
    return gather(problem.store, first_steps(problem.episodes), WindowSpec(chunk=chunk)).actions.flatten(1)
