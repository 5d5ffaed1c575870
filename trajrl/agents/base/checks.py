"""Checks of config fields: each raises one line that says what was wrong and what was got."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trajrl.core.registry import unknown


def one_of(config: Any, **choices: Iterable[str]) -> None:
    """Check fields that name a choice."""
    for name, allowed in choices.items():
        if getattr(config, name) not in allowed:
            raise ValueError(unknown(f"value of {name}", getattr(config, name), allowed))


def at_least_one(config: Any, *names: str) -> None:
    """Check counts."""
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1; got {getattr(config, name)}")


def not_negative(config: Any, *names: str) -> None:
    """Check weights, spans and temperatures."""
    for name in names:
        if getattr(config, name) < 0:
            raise ValueError(f"{name} must not be negative; got {getattr(config, name)}")


def above_zero(config: Any, *names: str) -> None:
    """Check what divides, bounds or starts a logarithm."""
    for name in names:
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} must be above 0; got {getattr(config, name)}")


def shares(config: Any, *names: str) -> None:
    """Check shares of a whole."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} is a share between 0 and 1; got {getattr(config, name)}")


def bounds(config: Any, name: str) -> None:
    """Check a pair [low, high] of numbers above 0."""
    pair = getattr(config, name)
    numbers = len(pair) == 2 and all(isinstance(bound, int | float) for bound in pair)
    if not numbers or not 0 < pair[0] <= pair[1]:
        raise ValueError(f"{name} is null or [low, high] with 0 < low <= high; got {list(pair)}")


def chunk_lengths(config: Any) -> None:
    """Check that the policy's chunk holds the critic's, and the horizon too."""
    if not 0 <= config.critic_chunk <= config.chunk:
        raise ValueError(
            f"critic_chunk must not exceed chunk, {config.chunk}: the critic values the actions that the "
            f"policy gives; got {config.critic_chunk}"
        )
    if config.horizon and config.horizon < config.seen:
        raise ValueError(
            f"horizon must not be below the critic's chunk, {config.seen}: the rewards of its actions "
            f"count; got {config.horizon}"
        )


def one_of_many(config: Any) -> None:
    """Check that an ensemble whose deviation is asked for has several critics."""
    if config.q_agg == "lower" and config.critics < 2:
        raise ValueError("q_agg lower needs the deviation of at least 2 critics; raise critics")
