"""Which folders are runs, and what is known of each without its tables.

A run folder holds config.json; everything else may be missing, half-written or damaged.  Nothing here raises
over a folder: what cannot be read becomes a line in `notes`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from trajrl.core.json_file import read_bytes, read_object
from trajrl.envs import NO_ENVIRONMENT
from trajrl.training.config import RunConfig, merge


@dataclass(frozen=True)
class RunFolder:
    """A run as its small files describe it."""

    path: Path
    name: str  # short and unique among the runs read together
    config: dict[str, Any]
    summary: dict[str, Any]  # empty: the run has not finished, or its summary cannot be read
    versions: dict[str, Any]
    command: str

    @property
    def environment(self) -> str:
        """Return the environment the run is scored in: the one asked for, or the one its policies name."""
        if self.config.get("env") == NO_ENVIRONMENT:
            return ""
        if self.config.get("env"):
            return str(self.config["env"])
        for facts in sorted((self.path / "checkpoints").glob("policy-*/facts.json"))[-1:]:
            try:
                return str(read_object(facts)["environment"])
            except (OSError, ValueError, KeyError, TypeError):
                return ""
        return ""

    @property
    def finished(self) -> bool:
        """Say whether the run came to its end."""
        return bool(self.summary)


@dataclass
class Found:
    """Runs, and a line for everything that is not quite one."""

    runs: list[RunFolder] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scan(patterns: str | Path | Iterable[str | Path]) -> Found:
    """Read every run that paths or glob patterns name; a folder that holds runs stands for all of them."""
    if isinstance(patterns, str | Path):
        patterns = [patterns]
    found = Found()
    paths: dict[Path, None] = {}  # in order, each once
    for pattern in patterns:
        paths.update(dict.fromkeys(_expand(str(pattern), found)))
    names = _short_names(list(paths))
    for path in paths:
        run = read_folder(path, names[path], found.notes)
        if run is not None:
            found.runs.append(run)
    return found


def read_folder(path: Path, name: str, notes: list[str]) -> RunFolder | None:
    """Read a run's small files, or say in `notes` why it is none."""
    config = _read_json(path / "config.json", notes)
    if config is None:
        return None
    if "agent" not in config or "phase" not in config:
        notes.append(f"{path} is not a run of trajrl: its config.json names no agent and phase")
        return None
    if wrong := _misfit(config):
        notes.append(f"{path} is not a run of trajrl: in its config.json {wrong}")
        return None
    finished = (path / "summary.json").exists()
    summary = _read_summary(path / "summary.json", notes) if finished else None
    versions = _read_json(path / "versions.json", notes) if (path / "versions.json").exists() else None
    if not finished:
        notes.append(f"{path} has not finished: it has no summary yet; what it has written so far is shown")
    said = _command(path / "command.txt", notes)
    return RunFolder(path, name, config, summary or {}, versions or {}, said)


def _command(path: Path, notes: list[str]) -> str:
    """Read the words that began a run; empty, and a note, where they cannot be read."""
    if not path.exists():
        return ""
    try:
        return read_bytes(path).decode(errors="replace").strip()
    except (OSError, ValueError) as error:
        notes.append(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")
        return ""


def _expand(pattern: str, found: Found) -> list[Path]:
    """Return the run folders a pattern stands for."""
    paths = [Path(path) for path in sorted(glob(pattern))] if has_magic(pattern) else [Path(pattern)]
    if not paths:
        found.notes.append(f"nothing matches {pattern}")
    runs: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.notes.append(f"{path} is {'a file, not a run folder' if path.exists() else 'not there'}")
            continue
        inside = sorted(config.parent for config in path.glob("*/config.json"))
        if (path / "config.json").exists() or not inside:
            inside = [path]
            if not (path / "config.json").exists():
                found.notes.append(f"{path} is not a run folder: it has no config.json")
                continue
        runs += [run.resolve() for run in inside]
    return runs


def _short_names(paths: list[Path]) -> dict[Path, str]:
    """Name each run by the fewest last parts of its path that tell all of them apart."""
    depth = 1
    while True:
        names = {path: "/".join(path.parts[-depth:]) for path in paths}
        if len(set(names.values())) == len(paths):
            return names
        depth += 1


def _read_summary(path: Path, notes: list[str]) -> dict[str, Any] | None:
    """Read a summary; None, and a note, where its scores are not numbers by name."""
    found = _read_json(path, notes)
    if found is None:
        return None
    scores, average = (found.get(name) or {} for name in ("scores", "data"))
    parts = [average, *scores.values()] if isinstance(scores, dict) else [scores]
    student = found.get("distilled") or {}
    parts += [student.get(name) for name in ("score", "milliseconds")] if isinstance(student, dict) else [0]
    parts += [part.get("success") for part in parts if isinstance(part, dict)]
    if all(part is None or _holds_numbers(part) for part in parts):
        return found
    notes.append(f"{path} cannot be read: it is not the summary of a run")
    return None


def _misfit(config: dict[str, Any]) -> str:
    """Say which field of a config is of another kind than a run's; empty if none is."""
    known = {one.name for one in fields(RunConfig)}  # another version may have had more
    try:
        merge(RunConfig(), {name: value for name, value in config.items() if name in known})
    except ValueError as error:
        return str(error)
    return ""


def _holds_numbers(part: Any) -> bool:
    """Return whether it is a dictionary of numbers, of which some may be missing; `success` is one itself."""
    return isinstance(part, dict) and all(
        value is None or isinstance(value, int | float) or name == "success" for name, value in part.items()
    )


def _read_json(path: Path, notes: list[str]) -> dict[str, Any] | None:
    """Read one JSON object; None, and a note, where that is not what the file holds."""
    try:
        return read_object(path)
    except OSError as error:
        notes.append(f"{path} cannot be read: {error.strerror or error}")
    except ValueError as error:
        notes.append(" ".join(str(error).split()))
    return None
