"""A user's own environment: `package.module:callable`, where the callable returns a gymnasium.Env.

One of classic gym (four results of step, seed and reset apart) is brought to the new interface.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.util import find_spec

import gymnasium

from trajrl.envs.legacy import Classic, is_classic
from trajrl.envs.suite import Suite
from trajrl.registry import unknown


class CustomSuite(Suite):
    """The callable may take `seed` and `render_mode`; it is called once per environment."""

    takes_arguments = True

    def build(self, seed: int, render: bool) -> gymnasium.Env:
        """Call the user's callable with what it takes."""
        module_name, _, attribute = self.name.partition(":")
        module = import_module(module_name)
        if not callable(getattr(module, attribute, None)):
            raise ValueError(unknown(f"callable of module {module_name}", attribute, _callables(module)))
        maker = getattr(module, attribute)
        taken = inspect.signature(maker).parameters
        offered = {"seed": seed, "render_mode": "rgb_array" if render else None}
        own = self.options.arguments
        if strange := [name for name in own if name not in taken]:
            raise ValueError(f"{self.name}: {unknown('argument', strange[0], taken)}")
        env = maker(**{name: value for name, value in offered.items() if name in taken}, **own)
        if is_classic(env):
            return Classic(env)
        if not isinstance(env, gymnasium.Env):
            raise ValueError(f"{self.name} returned {type(env).__name__}; trajrl needs a gymnasium.Env")
        return env


def importable(module: str) -> bool:
    """Tell whether there is such a module, without running it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _callables(module: object) -> list[str]:
    return [name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")]
