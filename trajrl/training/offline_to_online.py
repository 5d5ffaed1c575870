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
from trajrl.samplers.options import split_roles, with_length, with_window
from trajrl.samplers.roles import Config as Roles
from trajrl.samplers.roles import RolesSampler, draws_by_role, role_sampler
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
    if split_roles(config.warmup_sampler):
        raise ValueError(f"warmup_sampler is one name, for both roles; got '{config.warmup_sampler}'")
    fitted = with_window(SAMPLERS, config.sampler, config.sampler_options, spec)
    fitted = with_length(SAMPLERS, config.sampler, fitted, updates_of(config), config.first_step)
    if config.offline_mode == "keep":
        return (
            make_sampler(config.sampler, store, config.seed, **fitted),
            make_sampler(config.warmup_sampler, store, config.seed),
        )
    shares = offline_share(config)
    offline: Any = MixtureSampler.view(store, "offline")
    online: Any = MixtureSampler.view(store, "online")
    before = with_window(SAMPLERS, config.offline_sampler, config.offline_sampler_options, spec)
    before = with_length(SAMPLERS, config.offline_sampler, before, max(1, config.first_step))
    old = make_sampler(config.offline_sampler, offline, config.seed, **before)
    new = make_sampler(config.sampler, online, config.seed, **fitted)
    early = make_sampler(config.warmup_sampler, online, config.seed)
    return mixed(store, shares, old, new), mixed(store, shares, old, early)


def mixed(store: TrajectoryStore, shares: Shares, offline: Sampler, online: Sampler) -> Sampler:
    """Return a mixture of both sides or, where one of them draws by role, a mixture for each role."""

    def of(role: str) -> MixtureSampler:
        sides = {"offline": role_sampler(offline, role), "online": role_sampler(online, role)}
        return MixtureSampler(store, shares, sides)

    if not (draws_by_role(offline) or draws_by_role(online)):
        return of("values")
    names = Roles("mixture", "mixture")
    return RolesSampler(store, names, {role: of(role) for role in RolesSampler.PARTS}, shared=True)


def updates_of(config: RunConfig) -> int:
    """Return the updates of the phase."""
    return max(1, round(config.utd * max(1, config.env_steps - config.learning_starts)))


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
        for role in RolesSampler.PARTS:
            sides: Any = role_sampler(run.sampler, role)
            sides.sides["offline"].load_state_dict(state[role] if split_roles(before.sampler) else state)
