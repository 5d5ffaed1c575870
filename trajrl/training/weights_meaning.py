"""What trained weights are weights of: with another such option the same numbers are another function."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trajrl.agents import AGENTS
from trajrl.core.registry import find
from trajrl.training.config import RunConfig

# Of the same shapes either way, so that nothing else would say so.
MEANT = ("schedule", "diffusion_steps", "activation", "actor_norm", "critic_norm", "normalize_obs")


def check_meaning(saved: RunConfig, asked: Mapping[str, Any], folder: Path) -> None:
    """Raise ValueError where options asked for would make another function of a run's weights.

    Args:
        asked: options of the agent; those left out stay
    """
    defaults = find(AGENTS, saved.agent, "agent").Config()
    for name in MEANT:
        if name not in asked:
            continue
        learned = saved.agent_options.get(name, getattr(defaults, name, None))
        if asked[name] != learned:
            own = f"agent.{name}={word(learned)}"
            raise ValueError(
                f"the weights of {folder} were trained with {own} and mean nothing with {word(asked[name])}; "
                f"keep {own}, or train anew"
            )


def word(value: object) -> str:
    """Return a value as --set takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
