"""Windows for policy evaluation: flat tensors of steps (o, a) -> R_k, gamma^k, o', and the histories at o_0.

A chunked policy is judged in chunks: its action is a_t .. a_{t+N-1} and the bootstrap is taken N steps on, so
that nothing of a window is the data's own policy.  A longer horizon takes in rewards that the data's policy
earned; it ends at the first chunk that differs from the policy's own by more than `cut` in any dimension.

A chunk that a recording cut short is no action of the policy and is left out; one that the MDP's end cut
short stays, with zeros after the end, where nothing that is done matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trajrl.agents.base.protocol import History, history_of, next_history_of
from trajrl.core.products import exactly
from trajrl.core.rng import stream, torch_stream
from trajrl.nets.targets import masked_return
from trajrl.store.gather import gather
from trajrl.store.window import Anchors, SequenceBatch, WindowSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trajrl.rollout.history_queue import Actor
    from trajrl.store.store import TrajectoryStore

BLOCK = 4096  # rows gathered, or asked of a policy, at once
CUT = 0.1  # in units of the action box [-1, 1]: how far a data's action may be from the policy's own


class Windows(NamedTuple):
    """Steps of recorded episodes, for one policy."""

    obs: Tensor  # (S, ctx) what a Q network sees
    actions: Tensor  # (S, D) the data's chunk, flattened
    rewards: Tensor  # (S,) R_k
    discount: Tensor  # (S,) gamma^k, 0 after a termination
    next_obs: Tensor  # (S, ctx)
    next_actions: Tensor  # (S, D) of the policy, at the bootstrap
    known: Tensor  # (S,) bool: the next action is known
    apart: Tensor  # (S,) squared distance of next_actions from the data's there, mean over steps; NaN unknown


class Start(NamedTuple):
    """Where episodes begin."""

    episode: np.ndarray  # (n,)
    obs: Tensor  # (n, ctx)
    actions: Tensor  # (n, D) of the policy


def steps_of(store: TrajectoryStore, episodes: np.ndarray, most: int, seed: int) -> Anchors:
    """Return every step of some episodes, or `most` of them drawn without repetition."""
    length = store.table.length[episodes]
    row = np.arange(length.sum())
    if len(row) > most:
        row = np.sort(stream(seed, "ope/steps").choice(len(row), most, replace=False))
    which = np.searchsorted(np.cumsum(length), row, side="right")
    step = row - (np.cumsum(length) - length)[which]
    return Anchors(episodes[which], step, np.ones(len(row), np.float32))


def first_steps(episodes: np.ndarray) -> Anchors:
    """Return the first step of episodes (n,)."""
    return Anchors(episodes, np.zeros_like(episodes), np.ones(len(episodes), np.float32))


def whole_windows(store: TrajectoryStore, anchors: Anchors, chunk: int) -> Anchors:
    """Leave out the steps whose chunk a recording cut short."""
    short = anchors.step + chunk > store.table.length[anchors.episode]
    return rows_of(anchors, ~(short & ~store.table.terminated[anchors.episode]))


def policy_windows(
    store: TrajectoryStore, anchors: Anchors, actor: Actor, gamma: float, horizon: int = 0, seed: int = 0,
    cut: float = CUT,
) -> Windows:  # fmt: skip
    """Gather the windows and ask the policy for its action at every bootstrap.

    Args:
        horizon: rewards before the bootstrap; 0: those of one chunk, none of which the data's policy earned
    """
    reach = _reach(store, anchors, actor, horizon or actor.spec.chunk, seed, cut)
    parts: list[Windows] = []
    place: list[np.ndarray] = []
    for n in np.unique(reach):
        chosen = np.flatnonzero(reach == n)
        spec = WindowSpec(actor.spec.history, actor.spec.chunk, int(n), next_actions=True)
        for rows, batch in _batches(store, rows_of(anchors, chosen), spec, actor.device):
            there = next_history_of(batch)
            own = chosen_actions(actor, there, seed, int(chosen[rows][0]))
            known = torch.ones(len(batch.steps), dtype=torch.bool, device=own.device)
            parts.append(_windows(store, batch, gamma, own, known))
            place.append(chosen[rows])
    return _in_order(parts, np.concatenate(place))


def data_windows(store: TrajectoryStore, anchors: Anchors, spec: WindowSpec, gamma: float) -> Windows:
    """Gather the windows with the data's own next action, for the value of its own policy."""
    own = WindowSpec(spec.history, spec.chunk, spec.chunk, next_actions=True)
    parts = []
    for _, batch in _batches(store, anchors, own, "cpu"):
        assert batch.next_actions is not None
        assert batch.next_mask is not None
        known = batch.next_mask.all(1) | batch.terminated
        parts.append(_windows(store, batch, gamma, batch.next_actions.flatten(1), known))
    return _in_order(parts, np.arange(len(anchors.episode)))


def start(store: TrajectoryStore, episodes: np.ndarray, actor: Actor, seed: int) -> Start:
    """Return where episodes begin, and what the policy does there."""
    obs, actions = [], []
    for rows, batch in _batches(store, first_steps(episodes), actor.spec, actor.device):
        here = here_of(batch)
        obs.append(context(store, here))
        actions.append(chosen_actions(actor, here, seed, rows.start))
    return Start(episodes, torch.cat(obs), torch.cat(actions))


def chosen_actions(actor: Actor, history: History, seed: int, index: int) -> Tensor:
    """Return the chunk that the policy chooses at histories (V, ...), as when it is evaluated: (V, D)."""
    rng = torch_stream(seed, "ope/act", index)
    with torch.no_grad(), exactly():
        chosen = actor.act(history, [rng] * len(history.obs), False)
    return chosen.clamp(-1, 1).flatten(1).float()


def context(store: TrajectoryStore, history: History) -> Tensor:
    """Return what a Q network sees of a history (V, ...): the observation, or all of them where H > 1."""
    if store.images:
        raise ValueError(
            "this estimate learns from vectors, and the data has images as well; judge by bc_loss, td or "
            "q_start, or a run on vectors that `store embed` wrote"
        )
    if store.goals:
        raise ValueError(
            "this estimate follows one task to its end, and the run learned to reach any goal; judge by "
            "bc_loss, td or q_start"
        )
    mean, scale = (torch.as_tensor(part, device=history.obs.device) for part in _moments(store))
    seen = torch.where(history.mask[..., None], (history.obs - mean) * scale, 0.0)  # (V, H, obs)
    if seen.shape[1] == 1:
        return seen[:, 0]
    return torch.cat((seen.flatten(1), history.prev_actions.flatten(1), history.mask.float()), 1)


def here_of(batch: SequenceBatch) -> History:
    """Return the history at the anchor."""
    return history_of(batch)


def rows_of(anchors: Anchors, rows: np.ndarray | slice) -> Anchors:
    """Return some rows of anchors."""
    return Anchors(*(column[rows] for column in anchors))


def _reach(
    store: TrajectoryStore, anchors: Anchors, actor: Actor, horizon: int, seed: int, cut: float
) -> np.ndarray:
    """Return how many rewards (S,) are taken before the bootstrap: whole chunks, until the data leaves."""
    chunk, length = actor.spec.chunk, store.table.length[anchors.episode]
    reach = np.full(len(anchors.episode), chunk)
    following = np.ones(len(reach), bool)
    for ahead in range(chunk, horizon - horizon % chunk, chunk):
        following &= anchors.step + ahead + chunk <= length
        rows = np.flatnonzero(following)
        there = Anchors(anchors.episode[rows], anchors.step[rows] + ahead, anchors.weight[rows])
        for part, batch in _batches(store, there, actor.spec, actor.device):
            own = chosen_actions(actor, here_of(batch), seed, int(rows[part][0]))
            near = (own - batch.actions.flatten(1)).abs().amax(1) <= cut
            following[rows[part]] = near.cpu().numpy()
        reach[following] = ahead + chunk
    return reach


def _windows(
    store: TrajectoryStore, batch: SequenceBatch, gamma: float, next_actions: Tensor, known: Tensor
) -> Windows:
    there = next_history_of(batch)
    return Windows(
        obs=context(store, here_of(batch)), actions=batch.actions.flatten(1),
        rewards=masked_return(batch.rewards, batch.mask, gamma),
        discount=torch.where(batch.terminated, 0.0, gamma**batch.steps), next_obs=context(store, there),
        next_actions=next_actions, known=known, apart=_apart(batch, next_actions),
    )  # fmt: skip


def _apart(batch: SequenceBatch, actions: Tensor) -> Tensor:
    """Return |a - a_data|^2 (B,) at the bootstrap, mean over recorded steps of the chunk; NaN without one."""
    assert batch.next_actions is not None
    assert batch.next_mask is not None
    distance = (actions.view_as(batch.next_actions) - batch.next_actions).square().sum(-1)  # (B, N)
    return (distance * batch.next_mask).sum(1) / batch.next_mask.sum(1)  # 0 / 0 is NaN


def _in_order(parts: list[Windows], place: np.ndarray) -> Windows:
    """Join parts and put their rows where they belong."""
    order = torch.from_numpy(np.argsort(place, kind="stable"))
    joined = (torch.cat(column) for column in zip(*parts))
    return Windows(*(column[order.to(column.device)] for column in joined))


def _batches(
    store: TrajectoryStore, anchors: Anchors, spec: WindowSpec, device: str | torch.device
) -> Iterator[tuple[slice, SequenceBatch]]:
    for first in range(0, len(anchors.episode), BLOCK):
        rows = slice(first, first + BLOCK)
        yield rows, gather(store, rows_of(anchors, rows), spec, device)


def _moments(store: TrajectoryStore) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and 1 / std of the store's observations, float32; a constant column is only centred."""
    from trajrl.nets.normaliser import SMALLEST_STD
    from trajrl.store.normalize import statistics

    key = "ope/moments"
    if key not in store.derived:
        found = statistics(store)
        std = np.asarray(found["obs_std"], np.float32)
        scale = np.where(std < SMALLEST_STD, 1.0, 1 / np.maximum(std, SMALLEST_STD)).astype(np.float32)
        store.derived[key] = np.asarray(found["obs_mean"], np.float32), scale
    return store.derived[key]
