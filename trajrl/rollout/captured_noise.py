"""Captured noise: what acting draws is noted, or taken from numbers given.

    with Noted() as noted: agent.act(history, [rng], False)      noted.numbers("normal"): (Z,) what was drawn
    with Given({"normal": z}): agent.act(history, [rng], False)  the same action, and rng is not touched

An agent draws N(0, 1) and Exp(1) from the generators of its rows, whatever the order; any other law is
refused by name.  Only what is drawn with a generator is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

# What may be drawn: the law, and how the shape is found in the call's arguments.
LAWS: dict[Any, tuple[str, Callable[..., tuple[int, ...]]]] = {
    torch.randn: ("normal", lambda *size, **_: _size(size)),
    Tensor.normal_: ("normal", lambda x, *_, **__: tuple(x.shape)),
    Tensor.exponential_: ("exponential", lambda x, *_, **__: tuple(x.shape)),
}
KINDS = ("normal", "exponential")


class Noted(TorchFunctionMode):
    """Lets draws happen, and keeps them in order."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: dict[str, list[Tensor]] = {kind: [] for kind in KINDS}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call through; a draw is copied."""
        found = func(*args, **(kwargs or {}))
        if (kwargs or {}).get("generator") is not None:
            self.drawn[_law(func, args, kwargs)[0]].append(found.detach().clone())
        return found

    def numbers(self, kind: str) -> Tensor:
        """Return all numbers drawn from one law, (Z,) in the order of the draws."""
        return torch.cat([part.flatten() for part in self.drawn[kind]] or [torch.zeros(0)])


class Given(TorchFunctionMode):
    """Answers every draw with the next of the numbers given."""

    def __init__(self, numbers: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.numbers, self.used = numbers, dict.fromkeys(numbers, 0)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace a draw; call everything else through."""
        if (kwargs or {}).get("generator") is None:
            return func(*args, **(kwargs or {}))
        kind, shape = _law(func, args, kwargs)
        first, count = self.used[kind], torch.Size(shape).numel()
        self.used[kind] = first + count
        return self.numbers[kind][first : first + count].reshape(shape)


def _law(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> tuple[str, tuple[int, ...]]:
    """Return the law of a draw and its shape."""
    if func not in LAWS:
        raise ValueError(
            f"acting draws by {resolve_name(func) or func}; a policy step can be exported where the agent "
            "draws by torch.randn, normal_ or exponential_"
        )
    kind, shape = LAWS[func]
    parameters = (
        [value for value in args[1:] if isinstance(value, int | float)] if func is not torch.randn else []
    )
    if parameters not in ([], [0.0, 1.0], [1.0]):
        raise ValueError(
            f"acting draws from {kind} with parameters {parameters}; draw the standard one and scale it"
        )
    return kind, shape(*args, **(kwargs or {}))


def _size(size: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the shape that randn was asked for: as numbers or as one tuple."""
    return tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else tuple(size)
