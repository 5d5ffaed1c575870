"""Checkpoints: directories written under a temporary name, flushed to disk, and renamed.

    checkpoints/step-000012000/{agent.pt, logger.pt, sampler.json, sampler.npz, ..., whole.json}
    checkpoints/policy-000012000/{agent.pt, facts.json, whole.json}   the light weights of an evaluated policy
    checkpoints/{latest, best}                                small text files that name one of the first kind

What is inside the files is for `checkpoint_parts`; here is which folders there are, and that each is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trajrl.core.atomic_files import sync_folder, write_text
from trajrl.core.console import say
from trajrl.core.json_file import read_bytes, read_object
from trajrl.core.plain_file import open_to_read
from trajrl.training.run_dir.checkpoint_parts import read_part, write_part


def save(
    folder: Path,
    step: int,
    parts: Mapping[str, Mapping[str, Any]],
    keep: int = 2,
    awaited: Collection[int] = (),
) -> Path:
    """Write one checkpoint, make it the latest, and remove all but the newest `keep` and the best.

    Args:
        awaited: steps that stay too: their evaluations are not done, and one may be the best
    """
    final = place(folder, step)
    scratch = _new_scratch(final)
    with _said(final, scratch):
        for name, state in parts.items():
            write_part(scratch, name, state)
        _seal(scratch, step=step)
        written_over = final.with_name(f"{final.name}.old")  # found by `newest` until the new one is there
        if final.exists():
            shutil.rmtree(written_over, ignore_errors=True)
            os.replace(final, written_over)
        os.replace(scratch, final)
        sync_folder(folder)
    point(folder, "latest", final.name)
    shutil.rmtree(written_over, ignore_errors=True)
    prune(folder, keep, awaited)
    return final


def place(folder: Path, step: int) -> Path:
    """Return where the checkpoint of `step` lies, if there is one."""
    return folder / f"step-{step:09d}"


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint's parts; a damaged one fails with the name of the file."""
    names = {name.split(".")[0] for name in _whole(path)}
    return {name: read_part(path, name) for name in sorted(names)}


def _seal(folder: Path, **facts: int) -> None:
    """Write the digest of every file beside them, and flush all to disk."""
    digests = {file.name: _digest(file) for file in sorted(folder.iterdir())}
    (folder / "whole.json").write_text(json.dumps({**facts, "digests": digests}))
    _sync(folder)


def _whole(path: Path) -> list[str]:
    """Return the files of a sealed folder; one that is not what was sealed fails by its name."""
    try:
        whole = _sealed(path)
        for name, digest in whole["digests"].items():
            if Path(name).name != name or (path / name).is_symlink():
                raise ValueError(f"{path} names '{name}', which is not a file of its own")
            if _digest(path / name) != digest:
                raise ValueError(f"{path / name} is damaged: its digest is not the one written with it")
    except (OSError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a whole checkpoint ({type(error).__name__}: {error})") from error
    return list(whole["digests"])


def _sealed(path: Path) -> dict[str, Any]:
    """Return what was written when a folder was sealed."""
    try:
        return read_object(path / "whole.json")
    except ValueError as error:
        raise ValueError(f"{path} is not a whole checkpoint ({error})") from error


def newest(folder: Path) -> Path | None:
    """Return the latest whole checkpoint; if that one is damaged, the one before it, said once."""
    pointed = follow(folder, "latest")
    found = sorted(folder.glob("step-*"), reverse=True)
    ordered = ([pointed] if pointed in found else []) + [path for path in found if path != pointed]
    reasons = []
    for path in ordered:
        try:
            load(path)
        except ValueError as error:
            reasons.append(str(error))
            continue
        for reason in reasons:
            say(f"warning: {reason}; going back to {path.name}")
        return path
    if reasons:
        raise ValueError(f"no checkpoint in {folder} is whole: {reasons[0]}")
    return None


def point(folder: Path, name: str, target: str) -> None:
    """Let a small text file name a checkpoint, atomically."""
    write_text(folder / name, target + "\n")


def follow(folder: Path, name: str) -> Path | None:
    """Return the checkpoint a text file names, if both are there."""
    try:
        said = read_bytes(folder / name).decode().strip()
        target = folder / said
        return target if said == target.name and target.is_dir() else None
    except (OSError, ValueError):  # nothing is there, or nonsense: then the newest whole one counts
        return None


def prune(folder: Path, keep: int, awaited: Collection[int] = ()) -> None:
    """Remove checkpoints other than the newest `keep`, the best and the awaited; light policies stay."""
    kept = {follow(folder, "best"), *(place(folder, step) for step in awaited)}
    for path in sorted(folder.glob("step-*"))[:-keep]:
        if path not in kept:
            shutil.rmtree(path)


def keep_policy(folder: Path, step: int, state: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Keep an evaluated policy: the agent's state without its optimisers, and what it takes to build it."""
    light = {name: part for name, part in state.items() if not (isinstance(part, Mapping) and "adam" in part)}
    final = folder / f"policy-{step:09d}"
    _write_pair(final, light, "facts", facts)


def keep_pair(final: Path, state: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Keep weights, and the facts beside them, in a folder of their own."""
    _write_pair(final, state, "facts", facts)


def keep_failed(final: Path, state: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
    """Keep what an update went wrong with, for looking at; no run continues from it."""
    _write_pair(final, state, "batch", batch)


def _write_pair(final: Path, agent: Mapping[str, Any], name: str, other: Mapping[str, Any]) -> None:
    """Write an agent's state and one part more under a temporary name, then rename."""
    scratch = _new_scratch(final)
    with _said(final, scratch):
        write_part(scratch, "agent", agent)
        write_part(scratch, name, other)
        _seal(scratch)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(scratch, final)


def _new_scratch(final: Path) -> Path:
    """Make the folder that will be renamed; what a crash left under its name is removed."""
    scratch = final.with_name(f".{final.name}.tmp")
    with _said(final, scratch):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
    return scratch


@contextmanager
def _said(final: Path, scratch: Path) -> Iterator[None]:
    """Turn a failure to write into one line; nothing is left under either name."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError where its file cannot be finished
        shutil.rmtree(scratch, ignore_errors=True)
        cause = error if isinstance(error, OSError) else error.__context__
        reason = getattr(cause, "strerror", None) or str(error).splitlines()[0]
        raise OSError(
            f"{final} could not be written: {reason}; the checkpoints before it are whole"
        ) from error


def policy_steps(folder: Path) -> list[int]:
    """Return the steps of the kept policies, in order."""
    found = (path.name.removeprefix("policy-") for path in folder.glob("policy-*"))
    return sorted(int(name) for name in found if name.isascii() and name.isdigit())


def policy_state(folder: Path, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the light state kept at `step`, and the facts beside it."""
    try:
        return pair_of(folder / f"policy-{step:09d}")
    except ValueError as error:
        raise ValueError(
            f"{error}; take another kept policy, or remove its folder to do without it"
        ) from error


def pair_of(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the weights in a folder, and the facts beside them."""
    try:
        if (path / "whole.json").exists():  # earlier versions wrote none
            _whole(path)
        return read_part(path, "agent"), read_part(path, "facts")
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{path} is damaged ({kind}{str(error).removeprefix(f'{path}: ')})") from error


def _digest(path: Path) -> str:
    with open_to_read(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _sync(folder: Path) -> None:
    """Flush every file of a folder, then the folder, to disk."""
    for path in folder.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
