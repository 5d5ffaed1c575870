"""From choices to a Run: resolve the config, open the store, build the agent, the sampler and the suite."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from trajrl.agents import AGENTS, make_agent
from trajrl.agents.base.learner import Learner
from trajrl.core.compile import compile_losses
from trajrl.core.distributed import Team
from trajrl.core.registry import find
from trajrl.core.trust import is_call
from trajrl.envs import ENVS
from trajrl.samplers import SAMPLERS, make_sampler
from trajrl.samplers.options import with_length, with_window
from trajrl.store.normalize import seen_statistics
from trajrl.training.action_units import action_units
from trajrl.training.arithmetic import as_measured, set_arithmetic
from trajrl.training.chosen_sampler import chosen
from trajrl.training.config import RunConfig
from trajrl.training.cuda_graph import record_updates
from trajrl.training.data import find_suite, open_data, shape
from trajrl.training.distil import require_chain
from trajrl.training.evaluators import Evaluators
from trajrl.training.holdout import hold_out
from trajrl.training.offline_to_online import online_samplers
from trajrl.training.online import Online, Rows
from trajrl.training.online_collector import OnlineCollector
from trajrl.training.progress import Progress
from trajrl.training.role_batches import require_roles
from trajrl.training.run import Run
from trajrl.training.run_dir.boards import boards
from trajrl.training.run_dir.episode_stats import EpisodeStats
from trajrl.training.run_dir.evaluations import Evaluations
from trajrl.training.run_dir.logger import Logger
from trajrl.training.validation import Validation

if TYPE_CHECKING:
    from trajrl.agents.base.protocol import Agent
    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.samplers.base.protocol import Sampler
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import WindowSpec
    from trajrl.training.action_units import ActionUnits


def build(
    config: RunConfig, folder: Path, store: TrajectoryStore | None = None, team: Team | None = None
) -> Run:
    """Build a run at step 0 in its folder; of a team, the first process builds first."""
    team = team or Team()
    with team.in_turn():
        run = build_own(config, folder, store, team)
    run.rank_check.require(0)
    return run


def build_own(config: RunConfig, folder: Path, store: TrajectoryStore | None, team: Team) -> Run:
    """Build the run of one process."""
    team.share(config.batch_size)  # refused before anything is written
    number, arithmetic = set_arithmetic(config)
    config = as_measured(config, number, arithmetic, team.size)
    store = open_data(config, shared=team.size > 1) if store is None else store
    store.attributes["fingerprint"] = store.fingerprint  # before anything is shaped
    suite = find_suite(config, store)
    if suite:
        pinned = suite.name if is_call(suite.name, ENVS) else config.env  # what a marked run may call again
        config = replace(config, env=pinned, env_options=asdict(suite.options))
    units = action_units(store, config.actions, suite)
    held = hold_out(config, folder, store, team.leads)  # before anything is fitted, after boxes are read
    config = chosen(config, folder, store, find(AGENTS, config.agent, "agent"), team.leads)
    shape(store, config, suite, units)
    device = team.device(choose_device(config.device))
    agent = build_agent(config, store, device)
    require_whole_window(config, store, agent.spec.n)
    prepare_updates(config, agent, team.size)
    if isinstance(device, torch.device) and device.type == "cuda" and fits(store, device):
        store.keep_on(device)
    if config.online:
        sampler, online = build_online(config, folder, store, suite, agent, units)
    else:
        sampler, online = build_sampler(config, store, agent.spec), None
    require_roles(config.agent, agent, sampler)
    known = np.union1d(store.live, held)
    evaluations = Evaluations(folder, config.seed, config.select_rank, *averages(store, suite, known))
    return Run(
        config=config, folder=folder, store=store, agent=agent, sampler=sampler, suite=suite,
        evaluations=evaluations, episode_stats=EpisodeStats(store, sampler, agent.spec.n),
        logger=Logger(folder, others=boards(folder, config) if team.leads else (), config=config),
        progress=Progress(config.end, config.phase), arithmetic=arithmetic, online=online, team=team,
        units=units, held_out=held,
        validation=Validation(config, store, held) if len(held) else None,
        evaluators=Evaluators(folder, config, suite) if config.eval_async and suite else None,
    )  # fmt: skip


def prepare_updates(config: RunConfig, agent: Agent, processes: int) -> None:
    """Have an agent's updates compiled or recorded as the config says; refuse a student of no chain."""
    if config.distil:
        require_chain(config.agent, agent, processes)
    compile_losses(agent, config.compile)
    if config.graph:
        record_updates(agent, processes)


def build_sampler(config: RunConfig, store: TrajectoryStore, spec: WindowSpec) -> Sampler:
    """Return what draws offline, for an agent's windows and over the run's steps."""
    fitted = with_window(SAMPLERS, config.sampler, config.sampler_options, spec)
    fitted = with_length(SAMPLERS, config.sampler, fitted, config.steps)
    return make_sampler(config.sampler, store, seed=config.seed, **fitted)


def require_whole_window(config: RunConfig, store: TrajectoryStore, steps: int) -> None:
    """Refuse to train offline where no window is whole and the agent learns nothing from cut ones."""
    length = store.table.length[store.table.alive]
    if config.online or config.agent_options.get("partial_chunks") != "drop":
        return
    if len(length) and length.max() < steps:
        raise ValueError(
            f"{config.data}: none of {len(length)} episodes holds the {steps} steps of one window (the "
            f"longest has {length.max()}), and partial_chunks=drop learns from whole ones alone: give a "
            "shorter agent.chunk or agent.horizon, or --set agent.partial_chunks=pad"
        )


def averages(
    store: TrajectoryStore, suite: EnvSuite | None, ids: np.ndarray
) -> tuple[float | None, float | None, float | None]:
    """Return the mean return of episodes, its score, and the share of successes; None where nobody says."""
    if store.goals:  # its rewards are of as many tasks as there are goals
        return None, None, None
    average, success = float(store.table.returns[ids].mean()), store.table.success[ids]
    known = success[success >= 0]
    score = suite.score(average).value if suite else None
    return average, score, float((known == 1).mean()) if len(known) else None


def build_online(
    config: RunConfig,
    folder: Path,
    store: TrajectoryStore,
    suite: EnvSuite | None,
    agent: Agent,
    units: ActionUnits,
) -> tuple[Sampler, Online]:
    """Build what the online phase has besides: its two samplers, the environments and the journal."""
    if suite is None:
        raise ValueError("the online phase needs an environment, and the data names none; give --env")
    collector = OnlineCollector(folder, suite, agent, store, config, units.data.from_unit)
    if config.critic_warmup:
        slow_start(config, agent)
    sampler, warmup_sampler = online_samplers(config, store, agent.spec)
    return sampler, Online(collector, warmup_sampler, Rows(store), config.offline_mode == "keep")


def slow_start(config: RunConfig, agent: Agent) -> None:
    """Let the critics' learning rates rise over the first updates of the phase."""
    if not isinstance(agent, Learner):
        raise ValueError(f"critic_warmup needs an agent that can raise its rates; {config.agent} cannot")
    agent.raise_rates(config.first_step, config.critic_warmup)


def build_agent(config: RunConfig, store: TrajectoryStore, device: torch.device) -> Agent:
    """Build the agent for the store's dimensions."""
    return make_agent(
        config.agent, store.seen_dim, store.action_dim, device=str(device), seed=config.seed,
        statistics=seen_statistics(store), images=store.image_shapes, **config.agent_options,
    )  # fmt: skip


def choose_device(name: str) -> torch.device:
    """Return the device; 'auto' is the GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"no device '{name}'; there are auto, cpu, cuda, cuda:1 ...") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"--device {name} was never tried and is refused; there are auto, cpu, cuda, cuda:1 ..."
        )
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise ValueError(
            f"no device '{name}' on this machine; it has {torch.cuda.device_count()} CUDA devices"
        )
    return device


def fits(store: TrajectoryStore, device: torch.device) -> bool:
    """Say whether the columns take less than half of the free memory of the device."""
    columns = (store.obs, store.actions, store.rewards, *store.images.values())
    size = sum(len(c) * int(np.prod(c.width)) * c.base.dtype.itemsize for c in columns)
    return size < torch.cuda.mem_get_info(device)[0] / 2


def set_threads(config: RunConfig) -> int:
    """Set torch's threads and kernels as a run's config says, to act; returns the number of threads.

    Products are exact: learning loses nothing by rounded ones, a choice among nearly equal values does.
    """
    return set_arithmetic(replace(config, matmul="exact"))[0]
