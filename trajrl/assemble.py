"""From choices to a Run: resolve the config, open the store, build the agent, the sampler and the suite."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajrl.choices import agent_options, config_again, online_config, resolve, resume_config
from trajrl.config import NO_DATA, RunConfig
from trajrl.core import cpu
from trajrl.core.compile import compile_losses
from trajrl.folder import (
    describe,
    fresh_folder,
    lock,
    new_folder,
    refuse_config,
    refuse_other_data,
    remember_data,
)
from trajrl.shaping import action_box, recorded_actions, shape

if TYPE_CHECKING:
    import torch

    from trajrl.agents.base.protocol import Agent
    from trajrl.core.distributed import Team
    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.online import Online
    from trajrl.samplers.base.protocol import Sampler
    from trajrl.store.store import TrajectoryStore
    from trajrl.train import Run

__all__ = [  # what a command needs to make a run
    "action_box", "agent_options", "build", "build_agent", "choose_device", "config_again", "describe",
    "find_suite", "fits", "fresh_folder", "lock", "new_folder", "online_config", "open_data",
    "recorded_actions", "refuse_config", "refuse_other_data", "remember_data", "resolve", "resume_config",
    "set_threads", "shape",
]  # fmt: skip


def build(
    config: RunConfig, folder: Path, store: TrajectoryStore | None = None, team: Team | None = None
) -> Run:
    """Build a run at step 0 in its folder; of a team, the first process builds first."""
    from trajrl.core.distributed import Team

    team = team or Team()
    with team.in_turn():
        run = build_own(config, folder, store, team)
    run.agreement.require(0)
    return run


def build_own(config: RunConfig, folder: Path, store: TrajectoryStore | None, team: Team) -> Run:
    """Build the run of one process."""
    import torch

    from trajrl.log import Logger
    from trajrl.progress import Meter
    from trajrl.samplers import make_sampler
    from trajrl.samplers.provenance import Provenance
    from trajrl.scores import Scores
    from trajrl.train import Run

    team.share(config.batch_size)  # refused before anything is written
    number = set_threads(config)
    if config.threads == cpu.MEASURED:
        config = replace(config, threads=number)  # kept: what goes on from here has the same bits
    store = open_data(config, shared=team.size > 1) if store is None else store
    store.attributes["fingerprint"] = store.fingerprint  # before anything is shaped
    suite = find_suite(config, store)
    if suite:
        config = replace(config, env_options=asdict(suite.options))
    shape(store, config, suite)
    device = team.device(choose_device(config.device))
    agent = build_agent(config, store, device)
    compile_losses(agent, config.compile)
    if config.graph:
        from trajrl.recorded import record_updates

        record_updates(agent, team.size)
    if isinstance(device, torch.device) and device.type == "cuda" and fits(store, device):
        store.keep_on(device)
    if config.online:
        sampler, online = build_online(config, folder, store, suite, agent)
    else:
        sampler = make_sampler(config.sampler, store, seed=config.seed, **config.sampler_options)
        online = None
    board = None
    if config.wandb and team.leads:
        from trajrl.wandb_log import WandbLog

        board = WandbLog(folder, config)
    average = float(store.table.returns[store.table.alive].mean())
    score = suite.score(average).value if suite else None
    scores = Scores(folder, config.seed, config.select_rank, average, score)
    return Run(
        config=config, folder=folder, store=store, agent=agent, sampler=sampler, suite=suite, scores=scores,
        provenance=Provenance(store, sampler), logger=Logger(folder, other=board),
        meter=Meter(config.end, config.phase), online=online, team=team,
    )  # fmt: skip


def build_online(
    config: RunConfig, folder: Path, store: TrajectoryStore, suite: EnvSuite | None, agent: Agent
) -> tuple[Sampler, Online]:
    """Build what the online phase has besides: its two samplers, the environments and the journal."""
    from trajrl.dip import Rows
    from trajrl.handover import online_samplers
    from trajrl.interaction import Interaction
    from trajrl.online import Online

    if suite is None:
        raise ValueError("the online phase needs an environment, and the data names none; give --env")
    interaction = Interaction(folder, suite, agent, store, config, recorded_actions(store, config.actions))
    sampler, early = online_samplers(config, store)
    return sampler, Online(interaction, early, Rows(store), config.offline_mode == "keep")


def open_data(config: RunConfig, shared: bool = False) -> TrajectoryStore:
    """Open the store, read foreign data into memory, or take the data that an environment makes itself.

    Args:
        shared: several processes open it: they map one file rather than hold a copy each
    """
    from trajrl.envs import ENVS
    from trajrl.formats import open_source, recognise
    from trajrl.formats import resolve as locate
    from trajrl.formats.base.importer import context
    from trajrl.store.file.describe import describe as describe_store
    from trajrl.store.store import TrajectoryStore

    if config.data == NO_DATA:
        raise ValueError(
            "this run was made from imported weights and names no data to learn from; give --data"
        )
    if not Path(config.data).exists() and config.data.partition(":")[0] in ENVS:
        made = data_made_by(config.data)
        if made is not None:
            return made
    path = Path(config.data) if Path(config.data).exists() else locate(config.data)
    if config.format == "auto" and recognise(path) == "trajrl":
        mapped = shared and config.memory == "auto" and not describe_store(path)["packed"]
        store = TrajectoryStore.open(path, "map" if mapped else config.memory)
        tell_copies(path, shared and not mapped and config.memory != "map")
        return store
    tell_copies(path, shared)
    source = open_source(path, config.format)
    store = TrajectoryStore.of(source.episodes())
    store.attributes.update(context(source))
    return store


def tell_copies(path: Path, copied: bool) -> None:
    """Say it where processes that could map one file hold a copy each."""
    from trajrl.core.console import say

    if copied:
        say(
            f"every process holds its own copy of {path}; `store import {path} --out X.h5` makes one to share"
        )


def data_made_by(environment: str) -> TrajectoryStore | None:
    """Return the data of an environment that makes it on the spot; None where it is read from files."""
    from trajrl.envs import make_suite
    from trajrl.envs.base.protocol import NoEnvironmentError
    from trajrl.store.store import TrajectoryStore

    try:
        suite = make_suite(environment)
    except NoEnvironmentError:
        return None
    if not suite.makes_data:
        return None
    store = TrajectoryStore.of(suite.episodes())
    store.attributes["environment"] = environment
    return store


def find_suite(config: RunConfig, store: TrajectoryStore) -> EnvSuite | None:
    """Return the environment asked for, else the one the data names, else none: then there are no scores."""
    from trajrl.core.console import say
    from trajrl.envs import find_kind, make_suite
    from trajrl.envs.base.protocol import NoEnvironmentError

    name = config.env or str(store.attributes.get("environment") or "")
    patience = {"patience": config.patience} if config.online else {}
    if not name:
        say("the data names no environment: training without evaluation (give --env to score the policy)")
        return None
    recorded = find_kind(name)[0].recorded_with(store.attributes)
    try:
        suite = make_suite(name, **{**recorded, **config.env_options, **patience})
    except NoEnvironmentError as missing:
        if config.env or config.online:
            raise
        say(f"training without evaluation: {missing}")
        return None
    suite.see(store)
    if (suite.obs_dim, suite.action_dim) != (store.obs_dim, store.action_dim):
        raise ValueError(
            f"{config.data} has observations of {store.obs_dim} and actions of {store.action_dim} numbers; "
            f"environment {name} has {suite.obs_dim} and {suite.action_dim}: give --env or other data"
        )
    return suite


def build_agent(config: RunConfig, store: TrajectoryStore, device: torch.device) -> Agent:
    """Build the agent for the store's dimensions."""
    from trajrl.agents import make_agent
    from trajrl.store.normalize import statistics

    return make_agent(
        config.agent, store.obs_dim, store.action_dim, device=str(device), seed=config.seed,
        statistics=statistics(store), **config.agent_options,
    )  # fmt: skip


def choose_device(name: str) -> torch.device:
    """Return the device; 'auto' is the GPU where there is one."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"no device '{name}'; there are auto, cpu, cuda, cuda:1 ...") from error
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise ValueError(
            f"no device '{name}' on this machine; it has {torch.cuda.device_count()} CUDA devices"
        )
    return device


def fits(store: TrajectoryStore, device: torch.device) -> bool:
    """Say whether the columns take less than half of the free memory of the device."""
    import torch

    size = sum(len(c) * int(np.prod(c.width)) * 4 for c in (store.obs, store.actions, store.rewards))
    return size < torch.cuda.mem_get_info(device)[0] / 2


def set_threads(config: RunConfig) -> int:
    """Set torch's threads as the run's config says; returns how many there are."""
    return cpu.set_threads(config.threads)
