"""The data of a run, opened or made, and what training sees of it: rewards as asked, actions in [-1, 1]."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.core.console import say
from trajrl.core.trust import is_call, require_read
from trajrl.envs import ENVS, NO_ENVIRONMENT, find_kind, make_suite, note_in_process
from trajrl.envs.base.protocol import NoEnvironmentError
from trajrl.formats import locate_dataset, open_source, recognise
from trajrl.formats.base.importer import context
from trajrl.store.action_box import SCALED
from trajrl.store.file.describe import describe_store
from trajrl.store.images import EMBEDDING, STATE, described, keys_of
from trajrl.store.normalize import REWARD_TRANSFORMS
from trajrl.store.places import split_places
from trajrl.store.remote.addresses import is_far
from trajrl.store.shards import describe_places
from trajrl.store.store import TrajectoryStore
from trajrl.training.action_units import ActionUnits, action_units
from trajrl.training.config import NO_DATA, NO_GOALS, RunConfig
from trajrl.training.goals import require_goals, require_shown, seen_dim, show_goals

if TYPE_CHECKING:
    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.envs.base.suite import Suite


def shape(
    store: TrajectoryStore, config: RunConfig, suite: EnvSuite | None, units: ActionUnits | None = None
) -> ActionUnits:
    """Set what training sees of rewards and actions, and return the units; the store keeps both as found."""
    units = units or action_units(store, config.actions, suite)
    if config.goals != NO_GOALS:
        require_goals(config, store)
    if suite and (changed := suite.relabel(store)):
        say(f"{suite.name} gives the data its own rewards: {changed} steps changed")
    if config.after_success == "cut":
        say(f"--after-success cut: {store.cut_after_success()} steps after a success are not trained on")
    scale, shift = REWARD_TRANSFORMS[config.reward](store)
    of_suite = suite.shape_reward if suite else (lambda rewards: rewards)
    store.set_shaping(lambda rewards: of_suite(rewards) * scale + shift, units.shape())
    show_goals(store, config)
    return units


def open_data(config: RunConfig, shared: bool = False) -> TrajectoryStore:
    """Open the data of a run, as much of its observations as the run sees.

    Args:
        shared: several processes open it: they map one file rather than hold a copy each
    """
    store = open_whole(config, shared)
    if config.obs_keys:
        try:
            store.keep_keys(config.obs_keys.split(","))
        except ValueError as error:
            raise ValueError(f"--obs-keys {config.obs_keys} of {config.data}: {error}") from error
    return store


def open_whole(config: RunConfig, shared: bool = False) -> TrajectoryStore:
    """Open the store, read foreign data into memory, or take the data that an environment makes itself.

    Args:
        shared: several processes open it: they map one file rather than hold a copy each
    """
    if config.data == NO_DATA:
        raise ValueError(
            "this run was made from imported weights and names no data to learn from; give --data"
        )
    places = split_places(config.data)
    if len(places) > 1 or is_far(places[0]):
        return open_shards(places, config, shared)
    data = places[0]
    if not Path(data).exists() and data.partition(":")[0] in ENVS:
        made = data_made_by(data)
        if made is not None:
            return made
    path = Path(data) if Path(data).exists() else locate_dataset(data)
    if config.format == "auto" and recognise(path) == "trajrl":
        mapped = shared and config.memory == "auto" and not describe_store(path)["packed"]
        store = TrajectoryStore.open(path, "map" if mapped else config.memory)
        warn_of_copies(path, shared and not mapped and config.memory != "map")
        return store
    warn_of_copies(path, shared)
    source = open_source(path, config.format)
    store = TrajectoryStore.of(source.episodes())
    store.attributes.update(context(source))
    return store


def open_shards(places: list[str], config: RunConfig, shared: bool) -> TrajectoryStore:
    """Open several store files as one; those that lie elsewhere are shared through the cache on disk."""
    paths = [Path(place).expanduser() for place in places if not is_far(place)]
    for path in paths:
        found = recognise(path) if config.format == "auto" else config.format
        if found != "trajrl":
            raise ValueError(
                f"{path} is data of the format {found}, and several files are one where each is a store: "
                f"`store import {path} --out X.h5` makes one"
            )
    packed = shared and any(describe_store(path)["packed"] for path in paths)
    mapped = shared and config.memory == "auto" and not packed
    store = TrajectoryStore.open(places, "map" if mapped else config.memory)
    if paths:
        warn_of_copies(paths[0], shared and not mapped and config.memory != "map")
    return store


def warn_of_copies(path: Path, copied: bool) -> None:
    """Say it where processes that could map one file hold a copy each."""
    if copied:
        say(
            f"every process holds its own copy of {path}; `store import {path} --out X.h5` makes one to share"
        )


def data_made_by(environment: str) -> TrajectoryStore | None:
    """Return the data of an environment that makes it on the spot; None where it is read from files."""
    try:
        suite = make_suite(environment)
    except NoEnvironmentError:
        return None
    if not suite.makes_data:
        return None
    store = TrajectoryStore.of(suite.episodes())
    store.attributes.update({"environment": environment, SCALED: True})
    return store


def sees_images_alone(data: str, obs_keys: str = "") -> bool:
    """Say whether a run sees images and no vector, as far as it can be told without reading the data."""
    if obs_keys:
        return STATE not in obs_keys.split(",")
    places = split_places(data)
    if len(places) == 1 and not Path(data).exists() and data.partition(":")[0] in ENVS:
        try:
            suite = make_suite(data)
        except NoEnvironmentError:
            return False
        return bool(suite.images) and not suite.obs_dim
    here = [Path(place).expanduser() for place in places if not is_far(place)]
    if any(not path.is_file() or recognise(path) != "trajrl" for path in here):
        return False
    found = describe_places(places)
    return bool(found.get("images")) and not found["obs_dim"]


def find_suite(config: RunConfig, store: TrajectoryStore) -> EnvSuite | None:
    """Return the environment asked for, else the one the data names, else none: then there are no scores."""
    name = _named_environment(config, store)
    suite = _made_suite(config, store, name) if name else None
    if suite:
        suite.see(store)
        _require_same_sizes(config, store, suite)
    return suite


def _named_environment(config: RunConfig, store: TrajectoryStore) -> str:
    """Return the environment's name; '' where there is none, after saying so."""
    if config.env == NO_ENVIRONMENT:
        if config.online:
            raise ValueError("the online phase acts in an environment, and --env none gives none; give --env")
        say("--env none: training without evaluation, from rewards as recorded")
        return ""
    name = config.env or str(store.attributes.get("environment") or "")
    if not name:
        say("the data names no environment: training without evaluation (give --env to score the policy)")
    elif not config.env and is_call(name, ENVS):
        require_read(name, "environment", config.data)
    return name


def _made_suite(config: RunConfig, store: TrajectoryStore, name: str) -> Suite | None:
    """Return the environment of a name; None, after saying so, where the data names what is not there."""
    asked = bool(config.env or config.online)
    try:
        recorded = find_kind(name)[0].recorded_with(store.attributes)
        if not (config.env_timeout or config.env_options.get("env_timeout")):
            note_in_process(name)
        timed = {"env_timeout": config.env_timeout} if config.online or config.env_timeout else {}
        return make_suite(name, **{**recorded, **config.env_options, **timed, **_shown_keys(config, store)})
    except NoEnvironmentError as missing:
        if asked:
            raise
        say(f"training without evaluation: {missing}")
        return None
    except ValueError as error:
        if asked:
            raise
        raise ValueError(f"{error} (the data names it; --env none trains without one)") from error


def _shown_keys(config: RunConfig, store: TrajectoryStore) -> dict[str, Any]:
    """Return what an environment has to show, so that a policy sees what the data shows it."""
    if EMBEDDING in store.attributes:
        made = store.attributes[EMBEDDING]
        return {"embed": made, "obs_keys": made["obs_keys"]}
    named = store.images or config.obs_keys
    return {"obs_keys": keys_of(store.obs_dim, store.images)} if named else {}


def _require_same_sizes(config: RunConfig, store: TrajectoryStore, suite: Suite) -> None:
    """Refuse an environment whose observations or actions are of another size than the data's."""
    if suite.images != store.image_shapes:
        here, there = described(store.obs_dim, store.image_shapes), described(suite.obs_dim, suite.images)
        raise ValueError(
            f"{config.data} shows {here}; environment {suite.name} {there}: give --env or other data"
        )
    require_shown(config, store, suite)
    if (suite.obs_dim, suite.action_dim) != (seen_dim(config, store), store.action_dim):
        raise ValueError(
            f"{config.data} has observations of {store.obs_dim} and actions of {store.action_dim} numbers; "
            f"environment {suite.name} has {suite.obs_dim} and {suite.action_dim}: give --env or other data"
        )
