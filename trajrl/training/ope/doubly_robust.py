"""Weighted doubly robust: fitted values, corrected where rewards and next states differ from what they say.

    V = mean_i V(o_0^i) + sum_t gamma^t sum_i w_t^i d_t^i / sum_i w_t^i
    d_t = r_t + gamma V(o_{t+1}) - Q(o_t, a_t)

Weights are those of importance sampling; Q is fitted to the same distribution that has the density: the
policy's own sample, not the middle it acts by.  Right where either of the two is.

Papers: Jiang and Li 2016; Thomas and Brunskill 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trajrl.agents.base.protocol import Agent, History
from trajrl.store.window import Anchors
from trajrl.training.ope import importance
from trajrl.training.ope.behaviour import fitted_clone
from trajrl.training.ope.estimate import Estimates
from trajrl.training.ope.importance import Weighted, density_of, drawn, weighted
from trajrl.training.ope.question import Kept, Question, discount_of, require_one_store, rewarded_data
from trajrl.training.ope.start_values import Problem, StartValues, fitted
from trajrl.training.ope.windows import policy_windows


class Sampling:
    """An agent that acts by samples of its distribution."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.spec, self.action_dim, self.device = agent.spec, agent.action_dim, agent.device

    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Draw a chunk of actions (V, N, act)."""
        return self.agent.act(history, rng, True)


def by_doubly_robust(policies: Sequence[Kept], question: Question) -> Estimates:
    """Rank by the corrected values, the largest first."""
    require_one_store(policies, question)
    gamma = discount_of(policies, question)
    densities = [density_of(policy) for policy in policies]
    judged = rewarded_data(policies[0].run, question, "doubly_robust")
    problem = Problem(judged.store, judged.all, gamma, question.seed, 0, question.most)
    clone = fitted_clone(judged.store, judged.all, question.seed)
    counts = drawn(len(judged.all), question.seed)
    value, samples = [], []
    for policy, (log_prob, spec) in zip(policies, densities):
        actor = Sampling(policy.agent())
        weights = weighted(judged.store, judged.all, log_prob, spec, clone)
        first, corrected = corrections(problem, actor, fitted(problem, [actor], question.fitting), weights)
        found = estimate(first, corrected, gamma, counts)
        value.append(estimate(first, corrected, gamma, np.ones((1, len(judged.all))))[0])
        samples.append(found)
    return Estimates("doubly_robust", np.array(value), np.stack(samples), episodes=len(judged.all))


def corrections(
    problem: Problem, actor: Sampling, values: StartValues, weights: Weighted
) -> tuple[np.ndarray, Weighted]:
    """Return V at o_0 (n,), and r + gamma V' - Q of every step (n, T) with its weights."""
    store, ids = problem.store, problem.episodes
    length = store.table.length[ids]
    which = np.repeat(np.arange(len(ids)), length)
    step = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    anchors = Anchors(ids[which], step, np.ones(len(step), np.float32))
    windows = policy_windows(store, anchors, actor, problem.gamma, 0, problem.seed)
    both = [(windows.obs, windows.actions), (windows.next_obs, windows.next_actions)]
    # Row 0 of the fitted networks is the policy, row 1 the data's own: both are asked, the first is read.
    q, ahead = (
        values.fitted.values(obs.cpu(), acts.cpu().expand(2, -1, -1))[0].mean(0) for obs, acts in both
    )
    difference = (windows.rewards.cpu() + windows.discount.cpu() * ahead - q).double().numpy()
    found = np.zeros_like(weights.rewards)
    found[which, step] = difference
    return values.policies[0].mean(0), Weighted(found, weights.weights)


def estimate(first: np.ndarray, corrected: Weighted, gamma: float, counts: np.ndarray) -> np.ndarray:
    """Return V (R,) of resamples in which episodes were drawn `counts` (R, n) times."""
    return counts @ first / counts.sum(1) + importance.estimate(corrected, gamma, counts)
