"""Sizes of gpu_day: the full ones of a GPU, and toy ones with which a CPU tries the same code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SMALL: dict[str, Any] = {
    "width": 16, "hidden": (16, 16), "depth": 2, "gru_width": 8, "candidates": 2, "diffusion_steps": 3,
    "flow_steps": 2, "samples": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """How much of everything; obs and actions are a locomotion task's."""

    networks: dict[str, Any]  # fields of an agent's config, for those that have them
    seconds: float  # of each timing
    batch: int
    batches: tuple[int, ...]
    seeds: tuple[int, ...]
    transitions: int  # of the store that is drawn from
    steps: int  # updates of a run
    evaluations: int  # of a run
    eval_episodes: int
    run_transitions: int
    runs_share: float  # of the time, where the other parts together have about half
    env_options: tuple[str, ...] = ()  # words of --set
    obs_dim: int = 17
    action_dim: int = 6


FULL = Sizes(
    networks={}, seconds=3.0, batch=256, batches=(256, 512, 1024, 2048, 4096, 8192),
    seeds=(1, 2, 4, 8, 16, 32), transitions=1_000_000, steps=1_000_000, evaluations=20, eval_episodes=10,
    run_transitions=2_000_000, runs_share=0.45,
)  # fmt: skip
TOY = Sizes(
    networks=SMALL, seconds=0.02, batch=16, batches=(16, 32), seeds=(1, 2), transitions=4_000, steps=40,
    evaluations=2, eval_episodes=1, run_transitions=4_000, runs_share=1.5, env_options=("env.time_limit=10",),
)  # fmt: skip
