"""Recorded updates: what the device does in an update, recorded once and replayed.  `--set graph=true` asks.

    batch and noise -> the tensors that the record reads -> replay -> the metrics and TD errors that it wrote

One CUDA graph serves a stage of the agent (what the host decides: does the slow copy move, does the policy
maximise) and the shapes of a batch.  A stage's first updates run as they are, and so does every update of an
agent whose stage is None.  Noise is drawn and rates are set outside: a record is one program for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.learner import Learner
from trajrl.training.tensor_trees import leaves, mapped

WARM = 3  # updates of a stage before it is recorded: libraries load and choose what they will use

Program = Callable[[], tuple[Tensor, ...]]


class Record(NamedTuple):
    """A program that reads its inputs, and the names of the metrics that it computes."""

    inputs: list[Tensor]
    run: Program  # -> metrics (M,), absolute TD error (B,)
    names: list[str]


class RecordedUpdates:
    """Stands for an agent's `learn`."""

    def __init__(self, agent: Any, record: Callable[[Program], Program]) -> None:
        """Record by `record`: it calls a program once, without effect, and returns what runs it again."""
        self.agent, self.learn, self.record = agent, agent.learn, record
        self.seen: Counter[Hashable] = Counter()
        self.records: dict[Hashable, Record] = {}

    def __call__(self, batch: Any, noise: Any) -> tuple[Mapping[str, Tensor], Tensor]:
        """Learn from a batch: by the record of the stage and shapes, once there is one."""
        stage, given = self.agent.stage(), list(leaves((batch, noise)))
        key = stage, tuple(part.shape for part in given)
        self.seen[key] += 1
        if stage is None or self.seen[key] <= WARM:
            return self.learn(batch, noise)
        if key not in self.records:
            self.records[key] = self.of(batch, noise)
        found = self.records[key]
        torch._foreach_copy_(found.inputs, given)
        metrics, td_error = (part.clone() for part in found.run())  # the next run writes over them
        return dict(zip(found.names, metrics.unbind())), td_error

    def of(self, batch: Any, noise: Any) -> Record:
        """Record the update that comes next."""
        batch, noise = mapped(Tensor.clone, batch), mapped(Tensor.clone, noise)
        names: list[str] = []

        def program() -> tuple[Tensor, ...]:
            metrics, td_error = self.learn(batch, noise)
            names[:] = metrics
            return torch.stack([value.detach() for value in metrics.values()]), td_error

        return Record(list(leaves((batch, noise))), self.record(program), names)


def record_updates(agent: Any, processes: int = 1) -> None:
    """Let a CUDA device run an agent's updates as graphs."""
    if processes > 1:
        raise ValueError(f"graph=true serves one process, and {processes} learn together here: leave it out")
    if getattr(type(agent), "update", None) is not Learner.update:
        raise ValueError(
            f"graph=true records `learn`, and {type(agent).__name__} has an `update` of its own: leave it out"
        )
    if agent.device.type != "cuda":
        raise ValueError(f"graph=true needs a CUDA device; this run is on {agent.device}: leave it out")
    agent.substitute("learn", RecordedUpdates(agent, as_cuda_graph))


def as_cuda_graph(program: Program) -> Program:
    """Capture a program; nothing runs yet."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = program()

    def again() -> tuple[Tensor, ...]:
        graph.replay()
        return found

    return again
