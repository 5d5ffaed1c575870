"""Weighted importance sampling, per decision: returns of the data, weighed by how likely a policy makes them.

    w_t = prod_{s <= t} pi(a_s | h_s) / beta(a_s | o_s)
    V = sum_t gamma^t sum_i w_t^i r_t^i / sum_i w_t^i

For policies that have a density; pi is then the policy's distribution, not the middle it acts by.  beta is a
Gaussian fitted to the data.  The weights of long episodes fall on few of them: `effective` says on how many.

Paper: Precup et al. 2000.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trajrl.agents.base.protocol import History
from trajrl.core.console import say
from trajrl.core.rng import stream
from trajrl.store.gather import gather
from trajrl.store.window import Anchors, WindowSpec
from trajrl.training.ope.behaviour import fitted_clone
from trajrl.training.ope.estimate import RESAMPLES, Estimates
from trajrl.training.ope.question import Kept, Question, discount_of, require_one_store, rewarded_data
from trajrl.training.ope.windows import BLOCK, here_of

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

LARGEST = 30.0  # bound of |log w_t|, far beyond which one episode holds all the weight

LogProb = Callable[[History, Tensor], Tensor]


class Weighted(NamedTuple):
    """Recorded episodes, padded to the longest of them, with the weights of one policy."""

    rewards: np.ndarray  # (n, T) zero past the end
    weights: np.ndarray  # (n, T) w_t; past the end that of the last step


def by_wis(policies: Sequence[Kept], question: Question) -> Estimates:
    """Rank by the weighted returns, the largest first."""
    require_one_store(policies, question)
    gamma = discount_of(policies, question)
    densities = [density_of(policy) for policy in policies]
    judged = rewarded_data(policies[0].run, question, "wis")
    store, ids = judged.store, judged.all
    clone = fitted_clone(store, ids, question.seed)
    found = [weighted(store, ids, log_prob, spec, clone) for log_prob, spec in densities]
    effective = min(ess(one.weights) for one in found)
    say(f"importance weights lie on {effective:.1f} of {len(ids)} episodes, at the step where on fewest")
    value = np.array([estimate(one, gamma, np.ones((1, len(ids))))[0] for one in found])
    counts = drawn(len(ids), question.seed)
    samples = np.stack([estimate(one, gamma, counts) for one in found])
    return Estimates("wis", value, samples, episodes=len(ids))


def density_of(policy: Kept) -> tuple[LogProb, WindowSpec]:
    """Return a policy's log density and its window; one that has none is refused."""
    agent = policy.agent()
    found = getattr(agent, "log_prob", None)
    if found is None:
        raise ValueError(
            f"{policy.run.folder}: a policy of {policy.run.config.agent} has no likelihood, which importance "
            "sampling needs; select --by fqe"
        )
    return found, agent.spec


def weighted(
    store: TrajectoryStore, ids: np.ndarray, log_prob: LogProb, spec: WindowSpec, clone: LogProb
) -> Weighted:
    """Return rewards and weights of whole episodes for one policy."""
    length = store.table.length[ids]
    which = np.repeat(np.arange(len(ids)), length)
    step = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    log_ratio, rewards = np.zeros((len(ids), length.max())), np.zeros((len(ids), length.max()))
    for first in range(0, len(step), BLOCK):
        rows = slice(first, first + BLOCK)
        anchors = Anchors(ids[which[rows]], step[rows], np.ones(len(step[rows]), np.float32))
        batch = gather(store, anchors, WindowSpec(spec.history))
        here = here_of(batch)
        with torch.no_grad():
            ratio = log_prob(here, batch.actions) - clone(here, batch.actions)
        log_ratio[which[rows], step[rows]] = ratio.double().cpu().numpy()
        rewards[which[rows], step[rows]] = batch.rewards[:, 0].double().cpu().numpy()
    total = np.cumsum(log_ratio, axis=1)
    shift = total.max(axis=0, keepdims=True)  # the weights of a step count by their ratios alone
    return Weighted(rewards, np.exp(np.clip(total - shift, -LARGEST, 0.0)))


def estimate(episodes: Weighted, gamma: float, counts: np.ndarray) -> np.ndarray:
    """Return V (R,) of resamples in which episodes were drawn `counts` (R, n) times."""
    discount = gamma ** np.arange(episodes.rewards.shape[1])
    top, bottom = counts @ (episodes.weights * episodes.rewards), counts @ episodes.weights  # (R, T)
    return (np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 0.0) * discount).sum(1)


def drawn(episodes: int, seed: int) -> np.ndarray:
    """Draw how often each episode is taken: (R, n)."""
    rng = stream(seed, "ope/wis", episodes)
    return rng.multinomial(episodes, np.full(episodes, 1 / episodes), size=RESAMPLES).astype(np.float64)


def ess(weights: np.ndarray) -> float:
    """Return the least effective number of episodes of any step: (sum w)^2 / sum w^2."""
    return float((weights.sum(0) ** 2 / np.square(weights).sum(0)).min())
