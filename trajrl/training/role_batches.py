"""What one update learns from: a draw and a batch for each role, or one of both that serves the two.

    stream(seed, "sampler", step)          the values' draw, and that of a sampler without roles
    stream(seed, "policy_sampler", step)   the policy's

    stream(seed, "goal", step)             where the store has a law of goals: those of the values' windows
    stream(seed, "policy_goal", step)      and of the policy's, which has its own law: two batches of one draw

So a sampler that serves the values alone draws for them what it would draw for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trajrl.agents.base.protocol import Batches
from trajrl.core.rng import stream
from trajrl.samplers.roles import RolesSampler, draws_by_role, role_sampler
from trajrl.store.hindsight import draw_goals
from trajrl.training.checked_calls import draw, windows
from trajrl.training.q_values import part_of

if TYPE_CHECKING:
    from trajrl.agents.base.protocol import Agent
    from trajrl.samplers.base.protocol import Sampler
    from trajrl.store.goals import Goals
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import Anchors, SequenceBatch


class Drawn(NamedTuple):
    """The anchors of one update."""

    values: Anchors  # their TD errors come back
    policy: Anchors | None  # None: the values' serve both roles
    goals: Goals | None = None  # of the values' windows; None: there are none
    policy_goals: Goals | None = None

    @property
    def episode(self) -> np.ndarray:
        """Return the episodes of all rows: (B,), or (2 B,) of two draws."""
        return np.concatenate([anchors.episode for anchors in self.each()])

    def each(self) -> Iterator[Anchors]:
        """Yield the draws that were made."""
        yield self.values
        if self.policy is not None:
            yield self.policy


def draw_update(sampler: Sampler, seed: int, step: int, rows: int) -> Drawn:
    """Draw the anchors of an update, for each role from a stream of its own."""
    values = draw(role_sampler(sampler, "values"), stream(seed, "sampler", step), rows)
    if not draws_by_role(sampler):
        return Drawn(values, None)
    return Drawn(values, draw(role_sampler(sampler, "policy"), stream(seed, "policy_sampler", step), rows))


def with_goals(drawn: Drawn, store: TrajectoryStore, agent: Agent, seed: int, step: int) -> Drawn:
    """Draw a goal for every window, by the law of its role; an agent of one kind of terms has theirs."""
    if not store.goals:
        return drawn
    roles = getattr(agent, "roles", ())
    one = "policy" if tuple(roles) == ("policy",) else "values"
    goals = draw_goals(store, drawn.values, one, stream(seed, "goal", step))
    if not {*RolesSampler.PARTS} <= {*roles}:
        return drawn._replace(goals=goals)
    policy = drawn.values if drawn.policy is None else drawn.policy
    aims = draw_goals(store, policy, "policy", stream(seed, "policy_goal", step))
    return Drawn(drawn.values, policy, goals, aims)


def batches_of(
    store: TrajectoryStore, drawn: Drawn, own: slice, agent: Agent, sampler: Sampler
) -> SequenceBatch | Batches:
    """Gather this process's rows of what was drawn."""

    def of(anchors: Anchors, role: str, goals: Goals | None) -> SequenceBatch:
        drawer, aims = role_sampler(sampler, role), goals and goals.rows(own)
        return windows(store, part_of(anchors, own), agent.spec, agent.device, drawer, aims)

    values = of(drawn.values, "values", drawn.goals)
    if drawn.policy is None:
        return values
    return Batches(of(drawn.policy, "policy", drawn.policy_goals), values)


def require_roles(name: str, agent: Any, sampler: Sampler) -> None:
    """Refuse a draw for each role where the agent has terms of one kind, or does not take two batches."""
    lacking = [role for role in RolesSampler.PARTS if role not in getattr(agent, "roles", ())]
    if not draws_by_role(sampler) or not lacking:
        return
    why = "does not say that it takes two batches" if len(lacking) > 1 else f"learns no {lacking[0]}"
    raise ValueError(f"{name} {why}, so one draw serves it: give --sampler a single name")
