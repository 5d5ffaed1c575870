"""Pool: the environments of several collectors, stepped in turn; all that wait for an actor ask at once.

ask(histories, rngs) -> chunks     one entry per collector; None of one whose environments need nothing
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trajrl.agents.base.protocol import History
from trajrl.rollout.collector import Collector
from trajrl.rollout.episode_recorder import Finished

Ask = Callable[
    [Sequence[History | None], Sequence[Sequence[torch.Generator]]], Sequence[Tensor | None]
]  # (V, N, act) each


def run_pool(collectors: Sequence[Collector], ask: Ask) -> list[list[Finished]]:
    """Run the episodes of every collector; returns each one's, by number."""
    found: list[list[Finished]] = [[] for _ in collectors]
    while not all(collector.done for collector in collectors):
        rows: list[list[int]] = []
        for collector, ended in zip(collectors, found):
            failed, own = collector.begin()
            ended += failed
            rows.append(own)
        answer(collectors, rows, ask)
        for collector, ended, own in zip(collectors, found, rows):
            ended += collector.advance(own)
    return [sorted(ended, key=lambda one: one.number) for ended in found]


def answer(collectors: Sequence[Collector], rows: Sequence[Sequence[int]], ask: Ask) -> None:
    """Fill the queues of all environments among `rows` that need a new chunk."""
    waiting = [collector.queues.waiting(own) for collector, own in zip(collectors, rows)]
    if not any(waiting):
        return
    pairs = list(zip(collectors, waiting))
    histories = [one.queues.show(own, one.actor.device) if own else None for one, own in pairs]
    rngs = [[one.rngs[row] for row in own] for one, own in pairs]
    for (collector, own), chosen in zip(pairs, ask(histories, rngs)):
        if chosen is not None:
            collector.queues.put(own, chosen)
