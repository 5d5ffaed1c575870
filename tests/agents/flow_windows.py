"""Windows, histories and agents for the tests of the flow and Gaussian agents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajrl import Anchors, Episode, SequenceBatch, TrajectoryStore, WindowSpec, gather
from trajrl.agents import make_agent
from trajrl.agents.base.protocol import History
from trajrl.core.rng import stream, torch_stream

OBS, ACT = 3, 2


def random_store(num_episodes: int = 12, longest: int = 9) -> TrajectoryStore:
    """Make a store of short random episodes, every second one terminated, actions inside the box."""
    rng = stream(0, "test")
    lengths = rng.integers(1, longest + 1, num_episodes)
    return TrajectoryStore.of(
        Episode(
            rng.standard_normal((length + 1, OBS)), np.tanh(rng.standard_normal((length, ACT))),
            rng.standard_normal(length), terminated=bool(index % 2),
        )
        for index, length in enumerate(lengths)
    )  # fmt: skip


def random_windows(spec: WindowSpec, rows: int = 48, seed: int = 0) -> SequenceBatch:
    """Draw windows at random steps, with random weights; many are cut by their episode's end."""
    store, rng = random_store(), stream(seed, "anchors")
    episode = rng.integers(len(store), size=rows)
    step = rng.integers(store.table.length[episode])
    weight = rng.uniform(0.5, 1.5, rows).astype(np.float32)
    return gather(store, Anchors(episode, step, weight), spec)


def small(name: str, **fields: Any) -> Any:
    """Build an agent of few weights."""
    return make_agent(name, OBS, ACT, seed=3, **{"width": 24, "depth": 2, **fields})


def at_anchor(batch: SequenceBatch, rows: int | None = None) -> History:
    """Return the histories at the anchors of the first rows."""
    return History(batch.obs[:rows], batch.prev_actions[:rows], batch.history_mask[:rows])


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    """Return a generator per row."""
    return [torch_stream(seed, "act", row) for row in range(count)]


def weights_of(agent: Any) -> dict[str, Tensor]:
    """Return a copy of every tensor of every network, by 'part.name'."""
    return {
        f"{part}.{name}": value.clone()
        for part, net in agent.parts.items()
        if isinstance(net, torch.nn.Module)
        for name, value in net.state_dict().items()
    }


def poisoned(batch: SequenceBatch) -> SequenceBatch:
    """Put NaN wherever a mask says that nothing is there."""
    fields = batch._asdict()
    for values, mask in (
        ("actions", "action_mask"), ("rewards", "mask"), ("next_actions", "next_mask"),
        ("obs", "history_mask"), ("next_obs", "next_history_mask"), ("end_obs", "end_history_mask"),
    ):  # fmt: skip
        if fields[values] is not None:
            outside = ~fields[mask]
            outside = outside[..., None] if fields[values].ndim == 3 else outside
            fields[values] = fields[values].masked_fill(outside, float("nan"))
    return SequenceBatch(**fields)


def bandit_windows(spec: WindowSpec, rows: int, seed: int, reward: Any) -> SequenceBatch:
    """Draw one-step episodes with actions uniform in the box, and reward(actions (B, act)) (B,)."""
    rng = torch_stream(seed, "bandit")
    actions = torch.rand(rows, spec.num_actions, ACT, generator=rng) * 2 - 1
    shape, one = (rows, spec.history), torch.ones(rows, spec.n, dtype=torch.bool)
    none = torch.zeros(rows, dtype=torch.int64)
    after = torch.zeros(rows, spec.chunk, ACT), torch.zeros(rows, spec.chunk, dtype=torch.bool)
    end = reward(actions[:, 0]), torch.zeros(rows), torch.zeros(*shape, OBS), torch.zeros(*shape, ACT)
    return SequenceBatch(
        torch.zeros(*shape, OBS), torch.zeros(*shape, ACT), torch.ones(shape, dtype=torch.bool),
        actions, torch.ones(rows, spec.num_actions, dtype=torch.bool), reward(actions[:, 0])[:, None], one,
        none + 1, none == 0, torch.zeros(*shape, OBS), torch.zeros(*shape, ACT),
        torch.ones(shape, dtype=torch.bool), torch.ones(rows), none, none,
        *(after if spec.next_actions else (None, None)),
        *((*end, torch.ones(shape, dtype=torch.bool)) if spec.return_gamma is not None else ()),
    )  # fmt: skip


def reward_after(agent: Any, updates: int, reward: Any, rows: int = 128, explore: bool = True) -> float:
    """Train on the bandit and return the mean reward of 256 actions."""
    for step in range(updates):
        agent.update(bandit_windows(agent.spec, rows, step, reward), torch_stream(0, "agent", step))
    history = at_anchor(bandit_windows(agent.spec, 256, 0, reward))
    return float(reward(agent.act(history, generators(256), explore)[:, 0]).mean())


def corner(actions: Tensor) -> Tensor:
    """Reward 1 at the action (0.5, -0.5), falling with the distance; about -0.2 on average over the box."""
    return 1 - (actions - torch.tensor([0.5, -0.5])).abs().sum(-1)
