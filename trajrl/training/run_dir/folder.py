"""The run directory: made for one run, described before it begins, held by one process."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

from trajrl import __version__
from trajrl.core.atomic_files import write_text
from trajrl.core.json_file import read_object
from trajrl.core.out_paths import refuse_links_out, refuse_no_folder
from trajrl.core.plain_file import open_to_write
from trajrl.core.program import command_line
from trajrl.core.versions import version_of, versions
from trajrl.store.places import absolute, change_places
from trajrl.training.config import NO_GOALS, RunConfig
from trajrl.training.settings import convert, split_settings

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

ENVIRONMENTS = (
    "d4rl",
    "gym",
    "gymnasium-robotics",
    "minari",
    "mujoco-py",
    "robosuite",
)  # named where present
FOLDERS = ("checkpoints", "tb")
LOCK = "checkpoints/lock"
WRITTEN = ("episodes.parquet", "evals.csv", "holdout.json", "metrics.csv", "summary.json", "versions.json")
_locks: list[IO[bytes]] = []  # held for the life of the process


@contextmanager
def fresh_folder(config: RunConfig, out: str) -> Iterator[Path]:
    """Make and hold the folder of a new run; if the run cannot be built, nothing of it is left.

    config.json is there before the data is read, so that a run killed meanwhile can be resumed.
    """
    stood = set(Path(out).iterdir()) if out and Path(out).is_dir() else None
    folder = new_folder(config, out)
    lock(folder)
    try:
        note_command(folder)
        config.save(folder / "config.json")
        yield folder
    except BaseException:
        remove_new(folder, stood)
        raise


def remove_new(folder: Path, stood: set[Path] | None) -> None:
    """Remove a folder, or of one that stood before all but what stood in it."""
    for path in [folder] if stood is None else set(folder.iterdir()) - stood:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def new_folder(config: RunConfig, out: str) -> Path:
    """Make the run's folder, never one that holds a run already."""
    if out:
        folder = Path(out)
        refuse_no_folder(folder, "a run")
        refuse_links_out(folder)
        if (folder / "config.json").exists():
            raise ValueError(f"{folder} already holds a run; give --resume to continue it, or another --out")
        if standing := left_there(folder):
            raise FileExistsError(
                f"{folder} holds {', '.join(standing)}, which a run would write over; give another --out"
            )
    else:
        folder = unused_name(config, f"s{config.seed}")
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    return folder


def unused_name(config: RunConfig, end: str) -> Path:
    """Return a folder under runs/ that does not exist, named for what is learned and ending so."""
    sampler = config.sampler.replace("*", "-x-").replace(" ", "-")
    named = f"{config.phase}-{config.agent}-{sampler}-{end}"
    stem = named.replace(":", "-").replace("/", "-")  # one's own classes are named module:Class
    runs = Path("runs").absolute()  # an environment may change the working folder
    taken = (runs / (stem if not count else f"{stem}-{count + 1}") for count in range(10_000))
    return next(path for path in taken if not path.exists())


def left_there(folder: Path) -> list[str]:
    """Return what stands in a folder that a new run would write over, prune or take for its own.

    A run that was killed before its config.json was there left empty folders and a lock.
    """
    found = [name for name in WRITTEN if os.path.lexists(folder / name)]
    inside = {name: set(folder.glob(f"{name}/*")) - {folder / LOCK} for name in (*FOLDERS, "journal")}
    return found + [name for name, paths in inside.items() if paths]


def describe_run(
    folder: Path,
    config: RunConfig,
    store: TrajectoryStore | None,
    arithmetic: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write config.json, command.txt and versions.json, which also says how numbers were computed."""
    config.save(folder / "config.json")
    note_command(folder)
    names = ("torch", "numpy", "h5py", "faiss-cpu", "gymnasium", "mujoco", "ogbench", "pandas")
    found: dict[str, str | None] = {"python": platform.python_version(), "trajrl": __version__}
    found |= {name: version_of(name) for name in names}
    found |= {**versions(ENVIRONMENTS), **arithmetic}
    if store is not None:
        found["data_fingerprint"] = data_of(store)
    write_text(folder / "versions.json", json.dumps(found, indent=2) + "\n")


def note_command(folder: Path) -> None:
    """Write the words that began the run to command.txt."""
    write_text(folder / "command.txt", shlex.join(command_line()) + "\n")


def require_run(folder: Path) -> None:
    """Refuse to resume what is no run, naming the run beside it that may have been meant."""
    if (folder / "config.json").exists():
        return
    raise FileNotFoundError(
        f"{folder} holds no run to resume: {_instead(folder)}   (without --resume a new run starts there; "
        "--resume-or-start does whichever fits)"
    )


def _instead(folder: Path) -> str:
    """Name a run that may have been meant, in the folder, beside it or under runs/; else what is there."""
    inside = sorted(path.parent for path in folder.glob("[!.]*/config.json"))  # no file underway
    if inside:
        return f"it holds runs, such as {inside[0]}"
    for place in (folder.parent, Path("runs")):
        names = [path.parent.name for path in place.glob("[!.]*/config.json")]
        if near := get_close_matches(folder.name, names, n=1, cutoff=0.5):
            return f"did you mean {place / near[0]}?"
    if folder.is_dir():
        return "it has no config.json, as after a kill in its first moments"
    return "it is a file" if folder.exists() else "there is no such folder"


def data_of(store: TrajectoryStore) -> str:
    """Return the fingerprint of the data as it was opened."""
    return str(store.attributes.get("fingerprint") or store.fingerprint)


def refuse_other_data(folder: Path, config: RunConfig, store: TrajectoryStore) -> None:
    """Refuse data that is not what a run learned from: what it counted refers to those episodes."""
    known, found = known_versions(folder).get("data_fingerprint"), data_of(store)
    if known not in (None, found):
        raise ValueError(
            f"{config.data} is not the data that {folder} learned from (fingerprint {found}, not {known}); "
            "give --data that holds those episodes, or begin a new run with another --out"
        )


def remember_data(folder: Path, store: TrajectoryStore) -> None:
    """Note the data of a run that began without any, or was killed before it could."""
    known = known_versions(folder)
    if "data_fingerprint" not in known:
        found = {**known, "data_fingerprint": data_of(store)}
        write_text(folder / "versions.json", json.dumps(found, indent=2) + "\n")


def known_versions(folder: Path) -> dict[str, Any]:
    """Return what versions.json says; nothing where a kill came before it."""
    try:
        return read_object(folder / "versions.json")
    except (OSError, ValueError):
        return {}


def refuse_config(folder: Path, file: Path | None) -> None:
    """Refuse a config file beside --resume: the run has one, and it was begun with that."""
    if file is not None:
        raise ValueError(
            f"--resume continues with the config in {folder}; leave --config {file} out, and change it with "
            "options or --set"
        )


def lock(folder: Path, name: str = LOCK) -> IO[bytes]:
    """Hold the folder for this process, or until what is returned is closed; a second process is refused."""
    place = (folder / name).parent
    refuse_links_out(folder)
    try:
        handle = open_to_write(folder / name, "lock")
    except OSError as error:
        raise OSError(f"{place} may not be written to: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.close()
        raise ValueError(
            f"another process is at work on {folder}; wait for it, or give another --out"
        ) from error
    _locks.append(handle)
    return handle


def newest(source: Path) -> Path:
    """Return the newest checkpoint of a run to continue from."""
    from trajrl.training.run_dir import checkpoint  # it needs torch, which the help of a command does without

    found = checkpoint.newest(source / "checkpoints")
    if found is None:
        raise ValueError(f"{source} holds no checkpoint to continue from")
    return found


def newest_run(folder: Path, wanted: Mapping[str, Any], settings: Iterable[str] = ()) -> Path | None:
    """Return the newest finished offline run of a folder that was made as wanted."""
    agent = split_settings(settings)["agent"]
    ended = [*folder.glob("*/summary.json"), *folder.glob("*/s[0-9]*/summary.json")]  # of --seeds too
    found = [path for path in ended if fits(path.parent, wanted, agent)]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def alike(kept: Any, asked: Any) -> bool:
    """Say whether a field is as asked; a file is the same by a relative and by its absolute path."""
    both = (change_places(one, absolute) if isinstance(one, str) else one for one in (kept, asked))
    return next(both) == next(both)


def fits(run: Path, wanted: Mapping[str, Any], agent: Mapping[str, Any]) -> bool:
    """Say whether a run is an offline one with the config fields and the agent's options asked for."""
    try:
        config = RunConfig.load(run / "config.json")
    except (OSError, ValueError):
        return False  # not a run, or one of another version
    own = config.agent_options
    return (
        not config.online
        and config.goals == NO_GOALS
        and (run / "checkpoints" / "latest").exists()
        and all(alike(getattr(config, name), value) for name, value in wanted.items())
        and all(name in own and convert(name, value, own[name]) == own[name] for name, value in agent.items())
    )
