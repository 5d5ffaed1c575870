"""Source: foreign data as a stream of episodes, with a log of all that was changed, dropped or inferred."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from trajrl.core.damage import UNREADABLE
from trajrl.formats.base.options import Options
from trajrl.store.action_box import ActionBox, is_scaled
from trajrl.store.episode import Episode
from trajrl.store.segment import Notes

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

BLOCK_BYTES = 1 << 22

Labelled = tuple[Episode, Mapping[str, Any]]


class Source:
    """One file or folder, opened; reading it again starts from the beginning.

    A reader sets the attributes it knows when it is made, and yields episodes from `read`.
    """

    format = ""

    def __init__(self, path: Path, options: Options) -> None:
        self.path, self.options = path, options
        self.notes = Notes()  # filled while episodes are read
        self.count: int | None = None  # number of episodes where cheaply known
        self.environment: str | None = options.environment or None
        self.action_low: np.ndarray | None = None  # (act,) the box actions were recorded in
        self.action_high: np.ndarray | None = None
        self.action_box_from = ""  # what names that box
        self.box_by_custom = False  # True: the format's custom names it, not this file
        self.scaled = False  # True: trajrl recorded the actions in its own [-1, 1]
        self.units: Mapping[str, str] = {}  # what columns are measured in, where the file says so
        self.versions: Mapping[str, Any] = {}  # of the tools that wrote the file, as found in it

    def stores(self) -> tuple[TrajectoryStore, ...]:
        """Return what is read, where that is a store of trajrl's own."""
        return ()

    def restore(self, attributes: str) -> None:
        """Take what an exported file says of all its episodes (JSON of ledger.attributes_of)."""
        try:
            kept = json.loads(attributes)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{self.path}: what trajrl left in the file is damaged ({error}); export it again"
            ) from error
        self.environment = self.options.environment or kept.get("environment")
        self.units = kept.get("units", {})
        self.action_low = self.action_high = None
        self.action_box_from, self.box_by_custom = "", False
        self.scaled = is_scaled(kept)
        if "action_low" in kept and "action_high" in kept:
            self.set_box(kept["action_low"], kept["action_high"], kept.get("action_box_from") or "the file")

    def set_box(self, low: ArrayLike, high: ArrayLike, origin: str, custom: bool = False) -> None:
        """Note the box that actions were recorded in, and what says so; one without borders says nothing.

        Args:
            custom: the format's custom says so, not this file
        """
        box = np.atleast_1d(np.asarray(low, np.float32)), np.atleast_1d(np.asarray(high, np.float32))
        if np.isfinite(box[0]).all() and np.isfinite(box[1]).all():
            self.action_low, self.action_high = box
            self.action_box_from, self.box_by_custom = origin, custom

    def settle_box(self) -> None:
        """Take the box that the user names, or that of the environment where the file itself names none."""
        if self.options.action_box:
            low, high = self.options.action_box
            self.set_box(low, high, "--action-box")
            self.scaled = False
        elif self.options.env_box and (self.action_low is None or self.box_by_custom):
            low, high = self.options.env_box
            self.set_box(low, high, f"--env {self.options.environment}")

    def _fit_box(self, width: int) -> None:
        """Give the box one number for each action dimension; one of another width is refused."""
        if self.action_low is not None and self.action_high is not None:
            box = ActionBox.of(self.action_low, self.action_high, width)
            self.action_low, self.action_high = box.low, box.high

    @property
    def label(self) -> str:
        """Return what episodes without a label of their own are called."""
        return self.options.source or self.path.stem

    def read(self) -> Iterator[Labelled]:
        """Yield every episode with its further table columns; implemented by each format."""
        raise NotImplementedError(f"{type(self).__name__} does not read")

    def labelled(self) -> Iterator[Labelled]:
        """Yield every episode with its further table columns, in constant memory; the log starts anew."""
        self.notes.clear()
        with undamaged(self.path):
            for episode, labels in self.read():
                self._fit_box(episode.actions.shape[1])
                asked = self.options.source  # wins over what the file calls its episodes
                yield replace(episode, source=asked) if asked else episode, labels

    def episodes(self) -> Iterator[Episode]:
        """Yield every episode, in constant memory."""
        return (episode for episode, _ in self.labelled())

    @property
    def provenance(self) -> dict[str, Any]:
        """Return where the data came from and what reading it changed; complete once it was read through."""

        return {**describe_origin(self.path, self.parts()), "format": self.format, **self.reading()}

    def parts(self) -> list[Path] | None:
        """Return which files of its folder are the data; None: all of them."""
        return None

    def reading(self) -> dict[str, Any]:
        """Return the options, versions and counts of this reading."""
        defaults = Options()
        used = {n: v for n, v in vars(self.options).items() if v != getattr(defaults, n)}
        return {
            "options": used,
            "versions": dict(self.versions),
            "counts": self.notes.counts,
            "first": self.notes.first,
        }


def inside(folder: Path, path: Path) -> Path:
    """Return a file of a folder; a link out of it is refused, and what is waited for, such as a pipe."""
    if folder.resolve() not in path.resolve().parents:
        raise ValueError(f"{path} is a link out of {folder}; trajrl follows no links: copy the file in")
    if not path.is_file() and (path.exists() or path.is_symlink()):
        raise ValueError(f"{path} is not a plain file; copy the file in")
    return path


@contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Turn what a library says about a broken file into one line that names it."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError):
        raise
    except UNREADABLE as error:
        said = str(error.args[0] if error.args else "").splitlines() or [type(error).__name__]
        raise ValueError(f"{path} is damaged ({said[0]}); download or copy it again") from error
    except ValueError as error:
        if path.name in str(error):
            raise
        raise ValueError(f"{path}: {(str(error).splitlines() or ['it is damaged'])[0]}") from error


def describe_origin(path: Path, parts: list[Path] | None = None) -> dict[str, Any]:
    """Return name, bytes and blake2 of a file, or of a folder's files in order of name: `parts`, or all."""
    if not path.is_dir():
        return {"file": path.name, "bytes": path.stat().st_size, "blake2": file_hash(path)}
    files = sorted(parts or (p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")))
    state = hashlib.blake2b(digest_size=16)
    for file in files:
        state.update(f"{file.relative_to(path)} {file_hash(file)}\n".encode())
    size = sum(file.stat().st_size for file in files)
    return {"file": path.name, "files": len(files), "bytes": size, "blake2": state.hexdigest()}


def file_hash(path: Path) -> str:
    """Hash a file in blocks."""
    state = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            state.update(block)
    return state.hexdigest()
