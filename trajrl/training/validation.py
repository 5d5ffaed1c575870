"""Validation: an agent's own losses and values on fixed windows of episodes that it never learned from.

    bc_loss         the cloning term that the agent trains, its metric actor/bc_loss
    log_likelihood  of the data's actions under the policy that acts, nats per number of the action
    td_abs          mean |Q - y| against the agent's own target
    q_bias          mean (Q - G)       q_rmse  sqrt(mean (Q - G)^2)
    q_spearman      rank correlation of Q and G

G is the discounted return that followed in the data: what the data's policy earned, which a critic of a
better policy may rightly exceed.  Losses are those of an update that a copy of the agent computes and does
not make: the agent's weights, optimisers and random streams stay as they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from copy import deepcopy
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from trajrl.agents import make_agent
from trajrl.agents.base.learner import Learner
from trajrl.agents.base.likelihood import log_likelihood
from trajrl.core.console import say
from trajrl.core.rng import torch_stream
from trajrl.nets.frozen import frozen
from trajrl.samplers.base.distributions import average_ranks
from trajrl.store.gather import gather
from trajrl.store.window import Anchors, WindowSpec
from trajrl.training.held_out_windows import TRAINING, Windows, fixed_windows
from trajrl.training.q_values import blocks, part_of, value_at
from trajrl.training.run_dir.evaluations import BC_LOSS

if TYPE_CHECKING:
    from trajrl.agents.base.protocol import Agent, Update
    from trajrl.store.store import TrajectoryStore
    from trajrl.training.config import RunConfig

BLOCK = 256  # windows of one update of the copy
LOOK_AHEAD = 16  # updates among which one clones, for agents that do so every few


class Rows(NamedTuple):
    """What was measured on windows (n,); NaN where there is nothing."""

    bc_loss: np.ndarray  # of the block that the window was in
    log_likelihood: np.ndarray  # nats per real number of the window's chunk
    td_error: np.ndarray
    q: np.ndarray
    returns: np.ndarray


class Validation:
    """Measures a run's agent on the same windows at every evaluation."""

    def __init__(self, config: RunConfig, store: TrajectoryStore, held: np.ndarray) -> None:
        self.config, self.store, self.held = config, store, held
        self.parts: dict[str, Windows] = {}
        self.copy: Agent | None = None  # made at the first evaluation
        self.seconds = 0.0  # of the last one
        self.latest: tuple[int, dict[str, float]] = (-1, {})

    def __call__(self, agent: Agent, clock: int) -> dict[str, float]:
        """Measure the agent; returns metrics by short name."""
        began, first = perf_counter(), self.copy is None
        if first:
            gamma = float(self.config.agent_options.get("gamma", 1.0))
            self.parts = fixed_windows(self.store, self.held, self.config.seed, gamma)
            self.copy = copy_of(agent, self.config, self.store)
        state, values = deepcopy(agent.state_dict()), has_values(agent, self.store, self.parts)
        number = self.cloning_update(state)
        rows = {name: self.rows(agent, numbered(state, number), name, values) for name in self.parts}
        self.seconds = perf_counter() - began
        if first:
            count = sum(len(found.q) for found in rows.values())
            say(f"measured on {count} windows in {self.seconds:.2f} s; so at every evaluation")
        self.latest = clock, metrics(rows)
        return self.latest[1]

    def at(self, clock: int) -> dict[str, float]:
        """Return what was measured at a step; nothing of any other."""
        return {f"validation/{n}": v for n, v in self.latest[1].items()} if self.latest[0] == clock else {}

    def rows(self, agent: Agent, state: Mapping[str, Any], name: str, values: bool) -> Rows:
        """Measure one kind of windows, in blocks; `values`: the agent has a critic."""
        anchors, returns = self.parts[name]
        count, unit = len(anchors.step), rows_at_once(agent)
        bc_loss, td_error = np.full(count, np.nan), np.full(count, np.nan)
        whole, size = count - count % unit, max(1, BLOCK // unit) * unit
        for first in range(0, whole, size):
            block = slice(first, min(first + size, whole))
            update = self.update(state, name, block)
            bc_loss[block] = float(update.metrics.get(BC_LOSS, torch.tensor(torch.nan)).detach())
            td_error[block] = update.td_error.float().cpu().numpy()
        q = value_at(self.store, agent, anchors) if values else np.full(count, np.nan)
        likely = likelihood_at(self.store, agent, anchors, self.config.seed, list(self.parts).index(name))
        return Rows(bc_loss, likely, td_error if values else q, q, returns)

    def update(self, state: Mapping[str, Any], name: str, block: slice) -> Update:
        """Let the copy compute one update of a block, and learn nothing from it.

        One of one's own may step by an optimiser of its own: the next block begins with the state anew.
        """
        assert self.copy is not None
        self.copy.load_state_dict(dict(state))
        batch = gather(self.store, part_of(self.parts[name].anchors, block), self.copy.spec, self.copy.device)
        rng = torch_stream(self.config.seed, "validation", list(self.parts).index(name), block.start)
        half = self.config.dtype == "bfloat16"
        with frozen(), torch.autocast(self.copy.device.type, torch.bfloat16, enabled=half):
            return self.copy.update(batch, rng)

    def cloning_update(self, state: Mapping[str, Any]) -> int:
        """Return the number of the first update to come in which the agent clones; of the next if none does.

        Some step their policy only every few updates: those of another stage are tried.
        """
        number, seen = int(state.get("updates", 0)), set[Hashable]()
        if not isinstance(self.copy, Learner):
            return number
        name = max(self.parts, key=lambda name: len(self.parts[name].returns))
        few = slice(0, rows_at_once(self.copy))
        if len(self.parts[name].returns) < few.stop:
            return number
        for ahead in range(number, number + LOOK_AHEAD):
            self.copy.load_state_dict(numbered(state, ahead))
            stage = self.copy.stage()
            if stage not in seen and BC_LOSS in self.update(numbered(state, ahead), name, few).metrics:
                return ahead
            seen.add(stage)
        return number


def rows_at_once(agent: Agent) -> int:
    """Return what the rows of an update are a multiple of; an agent of one's own need not say."""
    return getattr(agent, "updates_per_batch", 1)


def numbered(state: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return an agent's state as if it had made so many updates; one that does not count them as it is."""
    return {**state, "updates": number} if "updates" in state else dict(state)


def copy_of(agent: Agent, config: RunConfig, store: TrajectoryStore) -> Agent:
    """Build an agent like another, whose state it will be given; nothing of it is compiled or recorded."""
    size = store.seen_dim
    zero = {"obs_mean": np.zeros(size), "obs_std": np.ones(size)}  # the state has the real
    return make_agent(
        config.agent, size, store.action_dim, device=str(agent.device), seed=config.seed,
        statistics=zero, images=store.image_shapes, **config.agent_options,
    )  # fmt: skip


def likelihood_at(
    store: TrajectoryStore, agent: Agent, anchors: Anchors, seed: int, place: int
) -> np.ndarray:
    """Return the log likelihood of the data's actions at anchors (n,); NaN if the policy has none.

    Args:
        place: number of the stream that a bound's noise is from
    """
    found, spec = np.full(len(anchors.step), np.nan), WindowSpec(agent.spec.history, agent.spec.chunk)
    for block in blocks(len(found)):
        batch = gather(store, part_of(anchors, block), spec, agent.device)
        rows = log_likelihood(agent, batch, torch_stream(seed, "validation/likelihood", place, block.start))
        if rows is not None:
            found[block] = rows.float().cpu().numpy()
    return found


def has_values(agent: Agent, store: TrajectoryStore, parts: Mapping[str, Windows]) -> bool:
    """Say whether the agent has a critic: one without refuses to value anything."""
    one = part_of(next(iter(parts.values())).anchors, slice(0, 1))
    try:
        value_at(store, agent, one)
    except (NotImplementedError, ValueError):
        return False
    return True


def metrics(rows: Mapping[str, Rows]) -> dict[str, float]:
    """Return the figures of all held-out windows, of each third and of training windows, where known."""
    held = [found for name, found in rows.items() if name != TRAINING]
    named = {"": Rows(*map(np.concatenate, zip(*held)))}
    named |= {f"{name}/": part for name, part in rows.items()}
    found = {f"{name}{key}": value for name, part in named.items() for key, value in figures(part).items()}
    return {name: value for name, value in found.items() if not np.isnan(value)}


def figures(rows: Rows) -> dict[str, float]:
    """Return the six figures of some windows; NaN where there is nothing to say."""
    known = ~np.isnan(rows.returns) & ~np.isnan(rows.q)
    q, returns = rows.q[known].astype(np.float64), rows.returns[known]
    error = q - returns
    return {
        "bc_loss": mean(rows.bc_loss), "log_likelihood": mean(rows.log_likelihood),
        "td_abs": mean(rows.td_error), "q_bias": mean(error),
        "q_rmse": float(np.sqrt(mean(np.square(error)))), "q_spearman": spearman(q, returns),
    }  # fmt: skip


def mean(values: np.ndarray) -> float:
    """Return the mean of the values (n,) that are known; NaN if none is."""
    known = values[~np.isnan(values)].astype(np.float64)
    return float(known.mean()) if len(known) else np.nan


def spearman(left: np.ndarray, right: np.ndarray) -> float:
    """Return the rank correlation of two arrays (n,), ties sharing their rank; NaN where one is constant."""
    if len(left) < 2 or not np.isfinite(left).all():
        return np.nan
    a, b = (average_ranks(values) - (len(left) - 1) / 2 for values in (left, right))
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else np.nan
