"""Acting of several seeds at once: torch.vmap of the agent's own `act`, whose code sees one seed's rows.

Every row of every seed draws from its own generator.  The code is given those of one seed; each stands for
the generators in its place, and a draw from it is one from each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from trajrl.agents.base.protocol import History
from trajrl.core.products import exactly
from trajrl.nets.stacked import of_every_seed
from trajrl.training.stacked_agent import StackedAgent
from trajrl.training.tensor_trees import mapped, stacked

Rngs = Sequence[torch.Generator]


@torch.no_grad()
def act(
    stack: StackedAgent, histories: Sequence[History | None], rngs: Sequence[Rngs]
) -> list[Tensor | None]:
    """Choose chunks (V, N, act) for the rows of every seed; None where a seed has none.

    Rows are filled up to as many as the seed with the most has: what fills them is thrown away.
    """
    most = max(map(len, rngs))
    like = next(history for history in histories if history is not None)
    filled = stacked([like_rows(history or like, most) for history in histories])  # (R, V, ...)
    spare = [torch.Generator().manual_seed(0) for _ in range(most)]
    places = list(zip(*([*own, *spare[len(own) :]] for own in rngs)))  # (V, R) generators
    with exactly(), Draws({place[0]: place for place in places}):
        chunks = stack.call(
            lambda agent, seen: agent.act(seen, [place[0] for place in places], False), filled
        )
    return [chunks[r, : len(own)] if own else None for r, own in enumerate(rngs)]


def like_rows(history: History, count: int) -> History:
    """Repeat the last row until there are `count`, or leave out what is beyond."""
    index = torch.arange(count).clamp(max=len(history.mask) - 1)
    return mapped(lambda part: part[index.to(part.device)], history)


class Draws(TorchFunctionMode):
    """Answers a draw from one generator with a draw from each that it stands for."""

    def __init__(self, places: Mapping[torch.Generator, Rngs]) -> None:
        super().__init__()
        self.places = places

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Draw for every seed; call everything else through."""
        generator = (kwargs or {}).get("generator")
        if generator is None or generator not in self.places:
            return func(*args, **(kwargs or {}))
        given = kwargs or {}

        def every() -> Tensor:
            own = [(copied(args), {**given, "generator": rng}) for rng in self.places[generator]]
            return torch.stack([func(*words, **named) for words, named in own])

        return of_every_seed(every)


def copied(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments with their tensors copied: a draw may fill the tensor that it is given."""
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in arguments)
