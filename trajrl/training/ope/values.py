"""Values at o_0 as criteria: fitted Q evaluation, and the agent's own Q.

Every policy is judged at the starts of the same episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from trajrl.core.console import say
from trajrl.store.gather import gather
from trajrl.store.return_to_go import known_returns
from trajrl.training.ope import fqe
from trajrl.training.ope.estimate import Estimates, joined, resampled
from trajrl.training.ope.losses import require_same_rewards
from trajrl.training.ope.question import (
    Kept,
    Question,
    discount_of,
    judged_data,
    require_one_store,
    rewarded_data,
)
from trajrl.training.ope.start_values import Problem, fitted
from trajrl.training.ope.windows import chosen_actions, first_steps, here_of
from trajrl.training.run_dir.evaluations import bootstrap_mean

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

SMALLEST = 1e-9  # mean return that a share is taken of


def by_fqe(policies: Sequence[Kept], question: Question) -> Estimates:
    """Rank by the fitted value at o_0, the largest first."""
    return _by_fitted("fqe", policies, question, question.fitting)


def by_cautious_fqe(policies: Sequence[Kept], question: Question) -> Estimates:
    """Rank by the fitted value less what leaving the data's actions costs, the largest first."""
    return _by_fitted("cautious_fqe", policies, question, replace(question.fitting, caution=question.caution))


def _by_fitted(name: str, policies: Sequence[Kept], question: Question, config: fqe.Config) -> Estimates:
    require_one_store(policies, question)
    gamma = discount_of(policies, question)
    judged = rewarded_data(policies[0].run, question, name)
    problem = Problem(judged.store, judged.all, gamma, question.seed, question.horizon, question.most)
    groups: dict[tuple[int, int], list[int]] = {}
    agents = [policy.agent() for policy in policies]
    for i, agent in enumerate(agents):
        groups.setdefault((agent.spec.history, agent.spec.chunk), []).append(i)
    parts = []
    for rows in groups.values():
        found = fitted(problem, [agents[i] for i in rows], config)
        parts.append(replace(resampled(name, found.policies, question.seed), members=config.members))
        say(against_returns(problem, found.data, found.seen))
    return joined(parts, list(groups.values()))


def against_returns(problem: Problem, data: np.ndarray, seen: np.ndarray) -> str:
    """Say how the same procedure values the data's own policy (E, n), beside the returns that followed.

    An episode is valued by the members that did not learn from it, and left out where all did.  A value
    reaches past the end of a recording that was cut, a return does not: such an episode is left out
    unless what it hides counts for less than 5 %.

    Args:
        seen: (E, n) bool, the member learned from the episode
    """
    ids = problem.episodes
    returns, _, known = known_returns(problem.store, ids, np.zeros_like(ids), problem.gamma)
    unseen = ~seen.all(0)
    rows = known & unseen
    if not rows.any():
        why = "all episodes were cut too early" if not known.any() else "every network learned from all"
        return f"the data's own policy has no value to compare with: {why}"
    found = returns[rows].astype(np.float64)
    low, high = bootstrap_mean(found, problem.seed)
    value = np.average(data[:, rows], 0, weights=~seen[:, rows]).mean()
    off = f" ({abs(value / found.mean() - 1):.0%} off)" if abs(found.mean()) > SMALLEST else ""
    return (
        f"the data's own policy, {len(found)} episodes by networks that did not learn from them: value "
        f"{value:.4g}, discounted return {found.mean():.4g}, 95 % interval {low:.4g} to {high:.4g}{off}"
    )


def by_q_start(policies: Sequence[Kept], question: Question) -> Estimates:
    """Rank by the agent's own Q of its own action at o_0, the largest first."""
    require_one_store(policies, question)
    require_same_rewards(policies, "q_start")
    judged = judged_data(policies[0].run, question, shaped=True)
    values = [q_start(policy, judged.store, judged.all, question.seed) for policy in policies]
    return resampled("q_start", np.stack(values)[:, None], question.seed)


def q_start(policy: Kept, store: TrajectoryStore, ids: np.ndarray, seed: int) -> np.ndarray:
    """Return the agent's Q (n,) of what it does at the start of episodes."""
    agent = policy.agent()
    here = here_of(gather(store, first_steps(ids), agent.spec, agent.device))
    actions = chosen_actions(agent, here, seed, 0).unflatten(1, (agent.spec.chunk, agent.action_dim))
    try:
        with torch.no_grad():
            return agent.value(here, actions).double().cpu().numpy()
    except (NotImplementedError, ValueError) as error:
        name = policy.run.config.agent
        raise ValueError(
            f"{policy.run.folder}: {name} has no critic, so no Q at the start; select --by another, "
            "such as fqe"
        ) from error
