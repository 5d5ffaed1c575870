"""trajrl: trajectory-centric offline and offline-to-online reinforcement learning.

The names below are the public interface.  They load on first use, so that `import trajrl` stays cheap: torch
comes with the first thing that needs it.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_PUBLIC = {
    "Anchors": "trajrl.store.window",
    "Batches": "trajrl.agents.base.protocol",
    "Episode": "trajrl.store.episode",
    "EpisodeLaw": "trajrl.samplers.base.episode_law",
    "Learner": "trajrl.agents.base.learner",
    "MLP": "trajrl.nets.mlp",
    "Optimiser": "trajrl.nets.optim",
    "SequenceBatch": "trajrl.store.window",
    "StoreWriter": "trajrl.store.file.writer",
    "TrajectoryStore": "trajrl.store.store",
    "WindowSpec": "trajrl.store.window",
    "by_role": "trajrl.agents.base.protocol",
    "gather": "trajrl.store.gather",
    "load_run": "trajrl.training.run_dir.load_run",
    "make_agent": "trajrl.agents",
    "make_sampler": "trajrl.samplers",
    "make_suite": "trajrl.envs",
    "set_threads": "trajrl.core.cpu",
    "stream": "trajrl.core.rng",
    "torch_stream": "trajrl.core.rng",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'trajrl' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
