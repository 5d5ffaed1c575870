"""A user's own environment: `package.module:callable`, where the callable returns a gymnasium.Env.

One of classic gym (four results of step, seed and reset apart) is brought to the new interface.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import gymnasium

from trajrl.core.registry import unknown
from trajrl.envs.base.suite import Suite
from trajrl.envs.d4rl_original import Classic, is_classic, variables

SPACES = ("observation_space", "action_space")


class CustomSuite(Suite):
    """The callable may take `seed` and `render_mode`; it is called once per environment."""

    takes_arguments = True
    of_user = True

    def build(self, seed: int, render: bool) -> gymnasium.Env:
        """Call the user's callable with what it takes."""
        module_name, _, attribute = self.name.partition(":")
        module = self.called(lambda: import_module(module_name))
        if not callable(getattr(module, attribute, None)):
            raise ValueError(unknown(f"callable of module {module_name}", attribute, _callables(module)))
        maker = getattr(module, attribute)
        taken = inspect.signature(maker).parameters
        offered = {"seed": seed, "render_mode": "rgb_array" if render else None}
        own, open_ended = self.options.arguments, any(p.kind is p.VAR_KEYWORD for p in taken.values())
        if strange := [name for name in own if name not in taken and not open_ended]:
            raise ValueError(f"{self.name}: {unknown('argument', strange[0], taken)}")
        given = {name: value for name, value in offered.items() if name in taken} | own
        env = self.called(lambda: maker(**given))
        if is_classic(env):
            return Classic(env)
        if not isinstance(env, gymnasium.Env):
            raise ValueError(f"{self.name} returned {type(env).__name__}; trajrl needs a gymnasium.Env")
        if missing := [name for name in SPACES if not hasattr(env, name)]:
            raise ValueError(f"{self.name} has no {missing[0]}; trajrl reads its sizes there")
        return env

    def called(self, code: Callable[[], Any]) -> Any:
        """Run the user's code; where it fails, its environment and its own words are one line."""
        try:
            with variables():  # what it makes may stand on mujoco-py
                return code()
        except (Exception, SystemExit) as error:
            said = " ".join(str(error).split())
            raise ValueError(f"{self.name} cannot be made: {type(error).__name__}: {said}") from error


def importable(module: str) -> bool:
    """Return whether there is such a module, without running it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _callables(module: object) -> list[str]:
    return [name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")]
