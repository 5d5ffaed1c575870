"""Code that draws from numpy's global generator gets a state of its own there, for as long as it runs.

Without this an episode would depend on what drew before it, and two environments would disturb each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np


class GlobalState:
    """One state of the global generator, in use only inside `lent`."""

    def __init__(self, seed: int = 0) -> None:
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Begin again from a 31-bit seed."""
        self._state: Any = np.random.RandomState(seed).get_state()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Put the state in place of the global one; at the end keep it, advanced, and restore the other."""
        before = np.random.get_state()  # noqa: NPY002 (the global generator is what it is about)
        np.random.set_state(self._state)  # noqa: NPY002
        try:
            yield
        finally:
            self._state = np.random.get_state()  # noqa: NPY002
            np.random.set_state(before)  # noqa: NPY002


class SeededGlobals(gymnasium.Wrapper):
    """An environment that draws from numpy's global generator, made a function of its reset seed."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.global_state = GlobalState()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode; `seed` settles the global draws too."""
        if seed is not None:
            self.global_state.seed(seed)
        with self.global_state.lent():
            return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        """Take a step."""
        with self.global_state.lent():
            return self.env.step(action)
