"""From offline to online: what draws in the online phase, and what is carried into it from the offline run.

    env_step < warmup_steps     the warm-up sampler, uniform by default
    later                       the run's sampler, which saw every TD error since the phase began

keep     one pool of all episodes
mix      an exact share of every batch is offline, drawn as the offline run drew; the rest is online
anneal   the same with a share that moves
drop     online episodes alone, once there is one
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.samplers import SAMPLERS, make_sampler
from trajrl.samplers.mixture import Config as Shares
from trajrl.samplers.mixture import MixtureSampler
from trajrl.samplers.options import with_window
from trajrl.training.config import RunConfig
from trajrl.training.run_dir import checkpoint
from trajrl.training.run_dir.folder import newest
from trajrl.training.same_units import require_same_units

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Sampler
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import WindowSpec
    from trajrl.training.run import Run


def online_samplers(config: RunConfig, store: TrajectoryStore, spec: WindowSpec) -> tuple[Sampler, Sampler]:
    """Return what draws after the warm-up and what draws until then; both share the offline side."""
    fitted = with_window(SAMPLERS, config.sampler, config.sampler_options, spec)
    if config.offline_mode == "keep":
        return (
            make_sampler(config.sampler, store, config.seed, **fitted),
            make_sampler(config.warmup_sampler, store, config.seed),
        )
    shares = offline_share(config)
    offline: Any = MixtureSampler.view(store, "offline")
    online: Any = MixtureSampler.view(store, "online")
    before = with_window(SAMPLERS, config.offline_sampler, config.offline_sampler_options, spec)
    old = make_sampler(config.offline_sampler, offline, config.seed, **before)
    new = make_sampler(config.sampler, online, config.seed, **fitted)
    early = make_sampler(config.warmup_sampler, online, config.seed)
    return (
        MixtureSampler(store, shares, {"offline": old, "online": new}),
        MixtureSampler(store, shares, {"offline": old, "online": early}),
    )


def offline_share(config: RunConfig) -> Shares:
    """Return the offline fraction over the updates of the phase."""
    if config.offline_mode == "drop":
        return Shares(fraction=0.0)
    if config.offline_mode == "mix":
        return Shares(fraction=config.offline_fraction)
    over = config.anneal_steps or round(config.utd * max(1, config.env_steps - config.learning_starts))
    return Shares(config.offline_fraction, config.offline_fraction_end, over, config.first_step)


def take_over(run: Run, source: Path) -> None:
    """Carry the agent with its optimisers, the sampler and the provenance of an offline run into this one."""
    parts = checkpoint.load(found := newest(source))
    require_same_units(run, source, found, parts["run"])
    run.agent.load_state_dict(parts["agent"])
    run.advance(run.config.first_step)
    if "provenance" in parts:  # a run made of imported weights has none
        run.episode_stats.load_state_dict(parts["provenance"])
    if "sampler" in parts:
        carry_sampler(run, RunConfig.load(source / "config.json"), parts["sampler"])


def carry_sampler(run: Run, before: RunConfig, state: dict[str, Any]) -> None:
    """Give the offline run's sampler state to the part of this run's that is the same sampler."""
    config, drew = run.config, (before.sampler, before.sampler_options)
    if config.offline_mode == "keep":
        if (config.sampler, config.sampler_options) == drew:
            run.sampler.load_state_dict(state)
    elif (config.offline_sampler, config.offline_sampler_options) == drew:
        sides: Any = run.sampler
        sides.sides["offline"].load_state_dict(state)
