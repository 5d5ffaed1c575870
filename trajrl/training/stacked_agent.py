"""StackedAgent: R agents that differ in their seed alone, and learn as one.

    weights, moments     one tensor (R, ...) of each kind; every agent's own are views of its share
    learn                torch.vmap of the agent's own `learn`, whose code sees one seed
    noise                each agent draws its own, from its own stream

One of the agents is copied to be the program: its code runs, over the stack.  The agents themselves act, are
saved and are judged as ever, and never wait for one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from trajrl.agents.base.images import augmented
from trajrl.agents.base.learner import Learner
from trajrl.agents.base.protocol import Batches, Update, by_role
from trajrl.core.damage import first_line
from trajrl.nets.optim import Optimiser
from trajrl.nets.stacked import across, stacking
from trajrl.store.window import SequenceBatch
from trajrl.training.tensor_trees import leaves, mapped, stacked

Slot = tuple[dict[str, Any], str]  # where a module keeps a tensor


class StackedAgent:
    """Steps R agents at once; batches and noise are (R, ...)."""

    def __init__(self, agents: Sequence[Any]) -> None:
        """Stack the states of agents that have made as many updates; from now on they share them."""
        self.agents = list(agents)
        self.program = deepcopy(self.agents[0])
        self.slots: list[Slot] = []
        self.tensors: list[Tensor] = []  # (R, ...) in the order of the slots
        for name, part in self.program.parts.items():
            seeds = [agent.parts[name] for agent in self.agents]
            if isinstance(part, nn.Module):
                self._stack(part, seeds)
            elif isinstance(part, Optimiser):
                part.stack(seeds)
            else:
                for tensor in part.in_losses:
                    self._share(vars(part), [vars(one) for one in seeds], tensor)
        for name in self.program.apart:
            self.program.substitute(name, self._apart([getattr(agent, name) for agent in self.agents]))

    def _stack(self, net: nn.Module, seeds: Sequence[nn.Module]) -> None:
        """Give a network the weights of all seeds, and each seed a view of its own."""
        for module, *of_seeds in zip(net.modules(), *(one.modules() for one in seeds), strict=True):
            for kind in ("_parameters", "_buffers"):
                own = getattr(module, kind)
                tables = module._non_persistent_buffers_set if kind == "_buffers" else set()
                for name, tensor in own.items():
                    if tensor is not None and name not in tables:  # tables are the same for every seed
                        self._share(own, [getattr(one, kind) for one in of_seeds], name)

    def _share(self, own: dict[str, Any], seeds: Sequence[dict[str, Any]], name: str) -> None:
        """Let the program's tensor be the stack of the seeds', and theirs be views of it."""
        tensor, parts = own[name], [one[name] for one in seeds]
        tensor.data = torch.stack([part.data for part in parts])
        for part, share in zip(parts, tensor.data):
            part.data = share
        self.slots.append((own, name))
        self.tensors.append(tensor)

    def _apart(self, methods: Sequence[Callable[..., Tensor | None]]) -> Callable[..., Tensor | None]:
        """Return what stands for a method of one seed, and calls that of each with its own rows."""

        def call(*given: Any) -> Tensor | None:
            def every(*numbers: Tensor) -> Tensor | None:
                rows = [iter([part[r] for part in numbers]) for r in range(len(methods))]
                own = [mapped(lambda _, row=row: next(row), given) for row in rows]
                found = [method(*args) for method, args in zip(methods, own)]
                whole = [part for part in found if part is not None]
                return torch.stack(whole) if whole else None

            return across(every, *leaves(given))

        return call

    def draw(self, batch: SequenceBatch | Batches, rngs: Sequence[torch.Generator]) -> tuple[Any, Any]:
        """Return the batch, images cut at random, and the noise, each seed's drawn from its own generator."""
        rows = [mapped(lambda part, r=r: part[r], batch) for r in range(len(self.agents))]
        if self.program.images:
            rows = [augmented(own, self.program.config, rng) for own, rng in zip(rows, rngs)]
            batch = stacked(rows)
        noises = [agent.draw(by_role(own).values, rng) for agent, own, rng in zip(self.agents, rows, rngs)]
        return batch, stacked(noises)

    def update(self, batch: SequenceBatch | Batches, rngs: Sequence[torch.Generator]) -> list[Update]:
        """Do one step of learning with every seed; returns each seed's own metrics and TD errors."""
        batch, noise = self.draw(batch, rngs)
        self.program.prepare()
        try:
            metrics, td_error = self.learn(batch, noise)
        except RuntimeError as error:
            if "vmap" not in str(error):
                raise
            raise ValueError(refusal(type(self.program).__name__, first_line(error))) from error
        for agent in (self.program, *self.agents):
            agent.updates += 1
        each = zip(*(value.detach().unbind() for value in metrics.values()))
        return [Update(dict(zip(metrics, values)), td) for values, td in zip(each, td_error.unbind())]

    def learn(self, batch: SequenceBatch | Batches, noise: Any) -> tuple[dict[str, Tensor], Tensor]:
        """Step every part once: metrics (R,) and absolute TD errors (R, B)."""
        return self.call(lambda agent, given: agent.learn(*given), (batch, noise))

    def call(self, function: Callable[[Any, Any], Any], given: Any) -> Any:
        """Call a function of an agent and of nested tuples with every seed's, `given` (R, ...): (R, ...)."""

        def one(weights: list[Tensor], numbers: list[Tensor]) -> Any:
            rest = iter(numbers)
            with self._filled(weights):
                return function(self.program, mapped(lambda _: next(rest), given))

        with stacking():
            return torch.vmap(one)(self.tensors, list(leaves(given)))

    @contextmanager
    def _filled(self, weights: Sequence[Tensor]) -> Iterator[None]:
        """Let the program's networks hold one seed's weights for a while."""
        try:
            for (place, name), weight in zip(self.slots, weights):
                place[name] = weight
            yield
        finally:
            for (place, name), whole in zip(self.slots, self.tensors):
                place[name] = whole


def require_stackable(name: str, agent: Any) -> None:
    """Refuse an agent that cannot learn with others as one program, saying why."""
    why = ""
    if getattr(type(agent), "update", None) is not Learner.update:
        why = f"{type(agent).__name__} has an `update` of its own, in place of the common `learn`"
    for part_name, part in getattr(agent, "parts", {}).items():
        if not isinstance(part, nn.Module | Optimiser) and not hasattr(part, "in_losses"):
            why = why or f"its part '{part_name}' does not name, as `in_losses`, the tensors that losses read"
    if why:
        raise ValueError(refusal(name, why))


def refusal(name: str, why: str) -> str:
    """Say that an agent cannot, why, and what to do."""
    return f"{name} cannot learn several seeds as one program ({why}): run one --seed after another"
