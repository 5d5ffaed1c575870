"""Key names of files without a fixed layout, and what trajrl calls each."""

from __future__ import annotations

from collections.abc import Iterable

ROLES = {
    "actions": ("actions", "acts", "action", "act"),
    "next_obs": ("next_observations", "next_obs", "next_observation", "next_states", "next_state"),
    "obs": ("observations", "obs", "observation", "states", "state"),
    "rewards": ("rewards", "rews", "reward", "rew"),
    "starts": ("episode_starts", "is_first", "starts"),
    "terminals": ("terminals", "terminal", "terminations", "terminated", "dones", "done"),
    "timeouts": ("timeouts", "timeout", "truncations", "truncated"),
}


def role_of(name: str) -> str | None:
    """Return what a key holds; None for a key without a meaning of its own."""
    return next((role for role, names in ROLES.items() if name in names), None)


def missing(role: str, have: Iterable[str]) -> str:
    """Say that nothing has a role, what there is, and which names are known for it."""
    return f"has no '{role}'; it has {', '.join(have)}; accepted are {', '.join(ROLES[role])}"
