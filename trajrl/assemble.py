"""From choices to a Run: resolve the config, open the store, build the agent, the sampler and the suite."""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from trajrl.config import (
    EMBEDDED,
    ONLINE,
    ONLINE_SAMPLER,
    PRESETS,
    RunConfig,
    literal,
    merge,
    options,
    split_settings,
)
from trajrl.registry import find, unknown

if TYPE_CHECKING:
    import torch

    from trajrl.agents.protocol import Agent
    from trajrl.envs.protocol import EnvSuite
    from trajrl.online import Online
    from trajrl.samplers.protocol import Sampler
    from trajrl.store.store import TrajectoryStore
    from trajrl.train import Run

FOLDERS = ("checkpoints", "tb")
_locks: list[IO[str]] = []  # held for the life of the process


def resolve(chosen: Mapping[str, Any], settings: Iterable[str] = (), file: Path | None = None) -> RunConfig:
    """Resolve options that were given, `--set` and a config file to one complete config."""
    found = split_settings(settings)
    base = RunConfig.load(file) if file else None
    asked = {**chosen, **found["run"]}
    if base is None:
        data = asked.get("data", RunConfig.data)
        preset = asked.get("preset") or ("demo" if Path(str(data)) == EMBEDDED else "standard")
        base = _from_preset(preset, asked.get("agent", RunConfig.agent), str(asked.get("env") or data))
    config = merge(base, asked)
    sampler = {**({} if file else sampler_preset(config)), **config.sampler_options}
    if config.metric:
        sampler["metric"] = config.metric
    sampler.update(
        {
            name: literal(value) if isinstance(value, str) else value
            for name, value in found["sampler"].items()
        }
    )
    own = {**_fitting(config, base), **found["agent"]}
    config = replace(config, agent_options=agent_options(config, own), sampler_options=sampler)
    config.validate()
    return config


def online_config(source: Path, chosen: Mapping[str, Any], settings: Iterable[str]) -> RunConfig:
    """Return the config of an online run that goes on from an offline one; what was given wins."""
    from trajrl import checkpoint
    from trajrl.handover import newest

    base = RunConfig.load(source / "config.json")
    if base.online:
        raise ValueError(f"{source} is an online run; --from takes an offline one")
    for name in ("agent", "data"):
        if str(chosen.get(name, getattr(base, name))) != getattr(base, name):
            raise ValueError(f"{source} has {name} {getattr(base, name)}; got --{name} {chosen[name]}")
    preset = ONLINE.get(chosen.get("preset", base.preset), ONLINE["paper"])
    made = checkpoint.read_part(newest(source), "run")["step"]
    carried = {
        "phase": "online", "from_run": str(source), "first_step": made,
        "sampler": ONLINE_SAMPLER, "sampler_options": {},
        "offline_sampler": base.sampler, "offline_sampler_options": base.sampler_options, "early_stop": 0.0,
    }  # fmt: skip
    return resolve({**carried, **preset, **chosen}, settings, source / "config.json")


def resume_config(folder: Path, chosen: Mapping[str, Any], settings: Iterable[str]) -> RunConfig:
    """Return the config of the run in a folder, with what was given beside --resume taken in."""
    saved = RunConfig.load(folder / "config.json")
    for name in ("agent", "seed", "phase"):
        if chosen.get(name, getattr(saved, name)) != getattr(saved, name):
            kept = getattr(saved, name)
            raise ValueError(f"{folder} has {name} {kept}; it cannot change in the middle of a run")
    given = {name: value for name, value in chosen.items() if name != "preset"}
    return resolve(given, settings, folder / "config.json")


def sampler_preset(config: RunConfig) -> dict[str, Any]:
    """Return what the run's preset sets of the sampler's options; products have none of their own."""
    from trajrl.samplers import SAMPLERS

    if config.sampler not in SAMPLERS:
        return {}
    module = importlib.import_module(SAMPLERS[config.sampler].split(":")[0])
    return dict(getattr(module, "PRESETS", {}).get(config.preset, {}))


def agent_options(config: RunConfig, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return every field of the agent's config, changed as asked; the decay spans the run unless said."""
    from trajrl.agents import AGENTS

    kind = find(AGENTS, config.agent, "agent")
    found = options("agent", kind.Config(), changes)
    if not found.get("decay_steps", True):
        found["decay_steps"] = config.steps
    kind.Config(**found).validate()
    return found


def build(config: RunConfig, folder: Path, store: TrajectoryStore | None = None) -> Run:
    """Build a run at step 0 in its folder."""
    import torch

    from trajrl.log import Logger
    from trajrl.progress import Meter
    from trajrl.samplers import make_sampler
    from trajrl.samplers.provenance import Provenance
    from trajrl.scores import Scores
    from trajrl.train import Run

    set_threads(config)
    store = open_data(config) if store is None else store
    suite = find_suite(config, store)
    shape(store, config, suite)
    device = choose_device(config.device)
    agent = build_agent(config, store, device)
    if isinstance(device, torch.device) and device.type == "cuda" and fits(store, device):
        store.keep_on(device)
    if config.online:
        sampler, online = build_online(config, folder, store, suite, agent)
    else:
        sampler = make_sampler(config.sampler, store, seed=config.seed, **config.sampler_options)
        online = None
    board = None
    if config.wandb:
        from trajrl.wandb_log import WandbLog

        board = WandbLog(folder, config)
    average = float(store.table.returns[store.table.alive].mean())
    score = suite.score(average).value if suite else None
    scores = Scores(folder, config.seed, config.select_rank, average, score)
    return Run(
        config=config, folder=folder, store=store, agent=agent, sampler=sampler, suite=suite, scores=scores,
        provenance=Provenance(store, sampler), logger=Logger(folder, other=board),
        meter=Meter(config.end, config.phase), online=online,
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
    return sampler, Online(interaction, early, Rows(store))


def open_data(config: RunConfig) -> TrajectoryStore:
    """Open the store, read foreign data into memory, or take the data that an environment makes itself."""
    from trajrl.envs import ENVS
    from trajrl.formats import open_source, recognise
    from trajrl.formats import resolve as locate
    from trajrl.store.store import TrajectoryStore

    if not Path(config.data).exists() and config.data.partition(":")[0] in ENVS:
        made = data_made_by(config.data)
        if made is not None:
            return made
    path = Path(config.data) if Path(config.data).exists() else locate(config.data)
    if config.format == "auto" and recognise(path) == "trajrl":
        return TrajectoryStore.open(path, config.memory)
    source = open_source(path, config.format)
    store = TrajectoryStore.of(source.episodes())
    store.attributes["environment"] = source.environment or ""
    return store


def data_made_by(environment: str) -> TrajectoryStore | None:
    """Return the data of an environment that makes it on the spot; None where it is read from files."""
    from trajrl.envs import make_suite
    from trajrl.store.store import TrajectoryStore

    suite = make_suite(environment)
    if not suite.makes_data:
        return None
    store = TrajectoryStore.of(suite.episodes())
    store.attributes["environment"] = environment
    return store


def find_suite(config: RunConfig, store: TrajectoryStore) -> EnvSuite | None:
    """Return the environment asked for, else the one the data names, else none: then there are no scores."""
    from trajrl.envs import make_suite
    from trajrl.speak import say

    name = config.env or str(store.attributes.get("environment") or "")
    patience = {"patience": config.patience} if config.online else {}
    if not name:
        say("the data names no environment: training without evaluation (give --env to score the policy)")
        return None
    suite = make_suite(name, **patience)
    if (suite.obs_dim, suite.action_dim) != (store.obs_dim, store.action_dim):
        raise ValueError(
            f"{config.data} has observations of {store.obs_dim} and actions of {store.action_dim} numbers; "
            f"environment {name} has {suite.obs_dim} and {suite.action_dim}: give --env or other data"
        )
    return suite


def shape(store: TrajectoryStore, config: RunConfig, suite: EnvSuite | None) -> None:
    """Set what training sees of rewards and actions; the store itself keeps them as found."""
    from trajrl.speak import say
    from trajrl.store.normalize import REWARD_TRANSFORMS

    if suite and (changed := suite.relabel(store)):
        say(f"{suite.name} gives the data its own rewards: {changed} steps changed")
    if config.after_success == "cut":
        say(f"--after-success cut: {store.cut_after_success()} steps after a success are not trained on")
    scale, shift = REWARD_TRANSFORMS[config.reward](store)
    of_suite = suite.shape_reward if suite else (lambda rewards: rewards)
    store.shape_reward = lambda rewards: of_suite(rewards) * scale + shift
    store.shape_action = action_shape(store, config.actions)


def action_shape(store: TrajectoryStore, mode: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function that brings recorded actions into [-1, 1]; actions outside need the user's word."""
    low, high = store.action_range()
    if mode == "clip":
        return lambda actions: actions.clamp(-1, 1)
    if mode == "scale":
        import torch

        middle, half = (torch.from_numpy(part) for part in action_box(store))
        return lambda actions: ((actions - middle.to(actions.device)) / half.to(actions.device)).clamp(-1, 1)
    if (low < -1 - 1e-6).any() or (high > 1 + 1e-6).any():
        raise ValueError(
            f"actions lie outside [-1, 1] (from {low.min():.3g} to {high.max():.3g}); choose --actions clip, "
            "as an environment that clips would, or --actions scale, by the recorded box"
        )
    return lambda actions: actions


def action_box(store: TrajectoryStore) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle and the half width of the box that actions were recorded in, else of those found."""
    box = store.attributes.get("action_low"), store.attributes.get("action_high")
    lower, upper = (
        np.asarray(bound if bound is not None else found, np.float32)
        for bound, found in zip(box, store.action_range())
    )
    return (upper + lower) / 2, np.maximum((upper - lower) / 2, np.float32(1e-6))


def recorded_actions(store: TrajectoryStore, mode: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that brings actions in [-1, 1] into the units of the store."""
    if mode != "scale":
        return lambda actions: actions
    middle, half = action_box(store)
    return lambda actions: middle + half * actions


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


def set_threads(config: RunConfig) -> None:
    """Choose torch's threads: as asked, as OMP_NUM_THREADS says, else one, as small networks want."""
    import torch

    torch.set_num_threads(config.threads or int(os.environ.get("OMP_NUM_THREADS", 1)))


def new_folder(config: RunConfig, out: str) -> Path:
    """Make the run's folder, never one that holds a run already."""
    if out:
        folder = Path(out)
        if (folder / "config.json").exists():
            raise ValueError(
                f"{folder} already holds a run; give --resume to go on with it, or another --out"
            )
    else:
        stem = f"{config.phase}-{config.agent}-{config.sampler.replace('*', '-x-')}-s{config.seed}"
        taken = (Path("runs") / (stem if not count else f"{stem}-{count + 1}") for count in range(10_000))
        folder = next(path for path in taken if not path.exists())
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    return folder


def describe(folder: Path, config: RunConfig, store: TrajectoryStore | None) -> None:
    """Write config.json, command.txt and versions.json."""
    config.save(folder / "config.json")
    (folder / "command.txt").write_text(shlex.join(["python", *sys.argv]) + "\n")
    names = ("trajrl", "torch", "numpy", "h5py", "faiss-cpu", "gymnasium", "mujoco", "ogbench", "pandas")
    found = {"python": platform.python_version(), **{name: _version(name) for name in names}}
    if store is not None:
        found["data_fingerprint"] = store.attributes.get("fingerprint") or store.fingerprint
    (folder / "versions.json").write_text(json.dumps(found, indent=2) + "\n")


def lock(folder: Path) -> None:
    """Hold the folder for this process; a second one on the same run is refused."""
    handle = (folder / "checkpoints" / "lock").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.close()
        raise ValueError(
            f"another process is at work on {folder}; wait for it, or give another --out"
        ) from error
    _locks.append(handle)


def _from_preset(preset: str, agent: str, env: str) -> RunConfig:
    """Return the defaults under a preset; keys 'run.NAME' of the agent's preset are the run's own."""
    from trajrl.agents import AGENTS

    module = importlib.import_module(find(AGENTS, agent, "agent").__module__)
    table = getattr(module, "PRESETS", {})
    if preset not in {*PRESETS, *table}:
        raise ValueError(unknown(f"preset of {agent}", preset, {*PRESETS, *table}))
    own = dict(module.preset(preset, env)) if hasattr(module, "preset") else dict(table.get(preset, {}))
    run = {name.removeprefix("run."): own.pop(name) for name in list(own) if name.startswith("run.")}
    general = PRESETS.get(preset, PRESETS["paper"])  # an agent's own presets are published settings
    return merge(RunConfig(preset=preset, agent=agent), {**general, **run, "agent_options": own})


def _fitting(config: RunConfig, base: RunConfig) -> dict[str, Any]:
    """Return the agent options to start from; those of another agent in a config file do not carry over."""
    return dict(config.agent_options) if config.agent == base.agent else {}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
