"""What `--preset` sets of a run, offline and online; agents have tables of their own."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "demo": {
        "steps": 10_000, "log_every": 250, "eval_every": 2_500, "first_eval": 500, "eval_episodes": 10,
        "last_eval_episodes": 20, "checkpoint_every": 500,
    },
    "small": {
        "steps": 100_000, "batch_size": 128, "log_every": 1_000, "eval_every": 25_000, "eval_episodes": 25,
        "checkpoint_every": 5_000,
    },
    "standard": {
        "steps": 1_000_000, "log_every": 1_000, "eval_every": 50_000, "eval_episodes": 10,
        "checkpoint_every": 5_000, "holdout": 0.1, "holdout_min_episodes": 50,
    },
    "paper": {
        "steps": 2_000_000, "log_every": 1_000, "eval_every": 50_000, "eval_episodes": 10,
        "checkpoint_every": 5_000,
    },
}  # fmt: skip
ONLINE_SAMPLER = "priority"  # what draws online, after the warm-up, unless said
PUBLISHED = {  # one million environment steps after the offline phase, one update for each
    "env_steps": 1_000_000, "log_every": 1_000, "eval_every": 100_000, "first_eval": 0, "eval_episodes": 50,
    "last_eval_episodes": 0, "checkpoint_every": 10_000, "learning_starts": 5_000, "warmup_steps": 20_000,
    "env_timeout": 120.0,
}  # fmt: skip
ONLINE: dict[str, dict[str, Any]] = {  # what presets set online, where steps are the environment's
    "demo": {
        "env_steps": 4_000, "log_every": 250, "eval_every": 2_000, "first_eval": 0, "eval_episodes": 10,
        "last_eval_episodes": 20, "checkpoint_every": 500, "learning_starts": 500, "warmup_steps": 1_000,
        "offline_mode": "mix", "offline_fraction": 0.4,
    },
    "small": {  # the published phase in a tenth of its steps
        **PUBLISHED, "env_steps": 100_000, "eval_every": 25_000, "eval_episodes": 25,
        "checkpoint_every": 5_000, "warmup_steps": 10_000, "env_timeout": 0.0,
    },
    "standard": PUBLISHED,
    "paper": PUBLISHED,
}  # fmt: skip
