"""The agent's own losses as criteria: TD error and cloning loss of held-out episodes, a mean of each.

They are those of an update that the agent computes and does not make.  A policy that steps every few updates
is asked at the first of these in which it clones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.rng import stream, torch_stream
from trajrl.nets.frozen import frozen
from trajrl.store.gather import gather
from trajrl.store.window import Anchors
from trajrl.training.ope.estimate import Estimates, joined, resampled
from trajrl.training.ope.question import Kept, Question, judged_data, measured_on, require_one_store, runs_of
from trajrl.training.run_dir.evaluations import BC_LOSS

if TYPE_CHECKING:
    from trajrl.agents.base.protocol import Agent, Update
    from trajrl.store.store import TrajectoryStore

MOST_EPISODES = 50  # that are measured, drawn from all
WINDOWS = 64  # of every episode, evenly spaced
LOOK_AHEAD = 16  # updates among which one clones, for agents that do so every few

Measure = Callable[["Agent", "TrajectoryStore", int, int], float]


def by_td(policies: Sequence[Kept], question: Question) -> Estimates:
    """Rank by the mean absolute TD error, the least first."""
    require_same_rewards(policies, "td")
    return _measured("td", policies, question, td_error)


def by_bc_loss(policies: Sequence[Kept], question: Question) -> Estimates:
    """Rank by the behaviour-cloning loss, the least first."""
    configs = [run.config for run in runs_of(policies)]
    if len(agents := {config.agent for config in configs}) > 1:
        raise ValueError(
            f"the cloning losses of {' and '.join(sorted(agents))} are not on one scale; select among the "
            "runs of one agent, or --by fqe"
        )
    if len({config.agent_options.get("predicts", "noise") for config in configs}) > 1:
        raise ValueError(
            "the cloning losses of networks of noise and of actions are not on one scale; select among runs "
            "that share agent.predicts, or --by fqe"
        )
    return _measured("bc_loss", policies, question, bc_loss)


def require_same_rewards(policies: Sequence[Kept], name: str) -> None:
    """Refuse to compare values of rewards that were transformed differently, or discounted differently."""
    scales = {(run.config.reward, run.config.agent_options.get("gamma")) for run in runs_of(policies)}
    if len(scales) > 1:
        raise ValueError(
            f"{name} of runs with other rewards or discounts is not on one scale; select among runs that "
            "share --reward and agent.gamma, or --by fqe"
        )


def td_error(agent: Agent, store: TrajectoryStore, episode: int, seed: int) -> float:
    """Return the mean absolute TD error of an episode; NaN without a critic."""
    return float(np.nanmean(_update(agent, store, episode, seed).td_error.float().cpu().numpy()))


def bc_loss(agent: Agent, store: TrajectoryStore, episode: int, seed: int) -> float:
    """Return the cloning loss of an episode; NaN where the agent logs none."""
    state = agent.state_dict()
    number = state.get("updates")
    for ahead in range(LOOK_AHEAD if isinstance(number, int) else 1):
        if isinstance(number, int):
            agent.load_state_dict({**state, "updates": number + ahead})
        found = _update(agent, store, episode, seed).metrics.get(BC_LOSS)
        if found is not None:
            return float(found)
    return float("nan")


def _update(agent: Agent, store: TrajectoryStore, episode: int, seed: int) -> Update:
    """Compute one update on windows of an episode."""
    step = np.linspace(0, store.table.length[episode] - 1, WINDOWS * agent.updates_per_batch).astype(np.int64)
    anchors = Anchors(np.full_like(step, episode), step, np.ones(len(step), np.float32))
    batch = gather(store, anchors, agent.spec, agent.device)
    with frozen():
        return agent.update(batch, torch_stream(seed, "ope/losses", episode))


def _measured(name: str, policies: Sequence[Kept], question: Question, measure: Measure) -> Estimates:
    """Measure every policy in episodes of its own run."""
    require_one_store(policies, question)
    parts, place = [], []
    for run in runs_of(policies):
        rows = [i for i, policy in enumerate(policies) if policy.run.folder == run.folder]
        judged = judged_data(run, question, shaped=True)
        ids = measured_on(run, judged, question)
        if len(ids) > MOST_EPISODES:
            ids = np.sort(stream(question.seed, "ope/episodes").choice(ids, MOST_EPISODES, replace=False))
        found = [_per_episode(policies[i], judged.store, ids, question.seed, measure) for i in rows]
        _require_known(name, policies[rows[0]], found[0])
        parts.append(resampled(name, np.stack(found)[:, None], question.seed, higher_is_better=False))
        place.append(rows)
    return joined(parts, place)


def _per_episode(
    policy: Kept, store: TrajectoryStore, ids: np.ndarray, seed: int, measure: Measure
) -> np.ndarray:
    """Return the measure of every episode (n,); the agent is the one that was kept each time."""
    agent = policy.agent()
    state = deepcopy(agent.state_dict())
    found = np.empty(len(ids))
    for i, episode in enumerate(ids):
        agent.load_state_dict(deepcopy(state))
        found[i] = measure(agent, store, int(episode), seed)
    return found


def _require_known(name: str, policy: Kept, found: np.ndarray) -> None:
    """Refuse a criterion that the agent does not have."""
    agent = policy.run.config.agent
    if np.isnan(found).all() or (name == "td" and not found.any()):
        what, other = ("behaviour-cloning loss", "td or fqe") if name == "bc_loss" else ("TD error", "fqe")
        raise ValueError(
            f"{policy.run.folder}: {agent} has no {what}; select --by another criterion, such as {other}"
        )
