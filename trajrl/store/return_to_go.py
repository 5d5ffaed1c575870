"""Return to go: the discounted rewards from a step to its episode's end, or to its first solved step.

    G_t = r_t + gamma (1 - mark_t) G_{t+1},   G_T = 0

Rewards are those that training sees.  Of a store of S steps G is kept at every 32nd row, S / 4 bytes; a batch
reads the rewards from its anchors to the next of these.  The table is filled in one pass, block by block, and
grows with the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from trajrl.store.store import TrajectoryStore

STRIDE = 32  # rows from one kept return to the next
BLOCK = 1 << 14  # kept returns that are computed at once
MOST_HIDDEN = 0.05  # of the return that a cut recording may hide


class ReturnTable:
    """G at the action rows 0, 32, 64 ... of a store, for one gamma."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma
        self.kept = np.empty(0)  # (ceil(S / 32),)

    def extend(self, store: TrajectoryStore) -> None:
        """Add what the store took in since the last call: whole episodes, which change no earlier return."""
        first, last = len(self.kept), -(-len(store.rewards) // STRIDE)
        if first == last:
            return
        found, value, carried = np.empty(last - first), 0.0, self.gamma**STRIDE
        for stop in range(last, first, -BLOCK):
            start = max(first, stop - BLOCK)
            row = np.arange(start, stop) * STRIDE
            end, _ = stops(store, np.searchsorted(store.table.start, row, side="right") - 1, row)
            near = discounted(store, row, np.clip(end - row, 0, STRIDE), self.gamma).tolist()
            goes_on = (end - row > STRIDE).tolist()
            for i in range(stop - start - 1, -1, -1):
                value = near[i] + carried * value if goes_on[i] else near[i]
                found[start - first + i] = value
        self.kept = np.concatenate([self.kept, found])


def returns_to_go(
    store: TrajectoryStore, row: np.ndarray, stop: np.ndarray, gamma: float, device: str | torch.device
) -> torch.Tensor:
    """Return G (B,) float32 at action rows (B,), summed up to the rows `stop` (B,) that `stops` gives."""
    import torch

    table: ReturnTable = store.derived.setdefault((ReturnTable, gamma), ReturnTable(gamma))
    table.extend(store)
    count = np.minimum(STRIDE - row % STRIDE, stop - row)  # (B,) rewards up to the next kept return
    kept = table.kept[np.minimum((row + count) // STRIDE, len(table.kept) - 1)]
    far = np.where(row + count < stop, gamma**count * kept, 0.0)
    near = discounted(store, row, count, gamma, device)
    return (near + torch.from_numpy(far).to(device, non_blocking=True)).float()


def stops(store: TrajectoryStore, episode: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where returns from action rows (B,) stop, (B,), and whether nothing follows there, (B,) bool.

    They stop after the first solved step, else at the episode's end; only a truncated end has a future.
    """
    end, marks = store.table.start[episode] + store.table.length[episode], store.marks()
    solved = marks[np.searchsorted(marks, row)] + 1  # (B,) the row after the next mark
    return np.minimum(end, solved), (solved <= end) | store.table.terminated[episode]


def known_returns(
    store: TrajectoryStore, episode: np.ndarray, step: np.ndarray, gamma: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return G (n,) at any steps, the steps (n,) it sums over, and whether it is known (n,).

    It is where nothing follows the last of them, or what a cut recording hides counts for less than 5 %.
    """
    row = store.table.start[episode] + step
    stop, ended = stops(store, episode, row)
    found = returns_to_go(store, row, stop, gamma, "cpu").numpy()
    return found, stop - row, ended | (stop - row > steps_that_count(gamma))


def steps_that_count(gamma: float) -> float:
    """Return the steps after which discounted rewards count for less than 5 % of the whole."""
    return float(np.ceil(np.log(MOST_HIDDEN) / np.log(np.clip(gamma, 1e-9, 1 - 1e-9))))


def discounted(
    store: TrajectoryStore,
    row: np.ndarray,
    count: np.ndarray,
    gamma: float,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Return the sum of gamma^j r_{row + j} over j < count (B,), in double precision."""
    import torch

    ahead = np.arange(max(1, count.max(initial=0)))  # (n,)
    index = row[:, None] + np.minimum(ahead, np.maximum(count[:, None] - 1, 0))  # (B, n)
    rewards = store.shape_reward(store.rewards.take(index, device)).double()
    real = torch.from_numpy(ahead < count[:, None]).to(device, non_blocking=True)
    weight = torch.from_numpy(gamma ** ahead.astype(np.float64)).to(device, non_blocking=True)
    return torch.where(real, rewards, 0.0) @ weight
