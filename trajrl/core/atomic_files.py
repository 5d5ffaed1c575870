"""Atomic files: written in a locked scratch folder beside the target, flushed to disk, then renamed.

A crash leaves no file under the final name, only a folder `.NAME.*.tmp`, which the next writer removes.
What may be written where is for `out_paths`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trajrl.core.out_paths import refuse_irregular

State = tuple[int, ...]  # what tells a file from one that takes its name later


class Scratch:
    """A folder beside `path` for files on their way to that name; its lock says that the writer runs."""

    def __init__(self, path: Path) -> None:
        refuse_irregular(path)
        self.path = path
        with said(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path)
            self.folder, self._lock = _held_folder(path)

    def publish(self, file: Path, instead_of: State = ()) -> None:
        """Flush a file of the folder to disk and give it the final name.

        Args:
            instead_of: the state of the file that this one was made of, which must still stand there
        """
        with file.open("rb") as written:
            os.fsync(written.fileno())
        if instead_of:
            with _alone_in(self.path.parent):
                if state_of(self.path) != instead_of:
                    raise ValueError(
                        f"{self.path} was changed by another program since it was read: what stands there is "
                        "left as it is; run this again on it"
                    )
                os.replace(file, self.path)
        else:
            os.replace(file, self.path)
        sync_folder(self.path.parent)

    def remove(self) -> None:
        """Remove the folder and what is left in it; a second call does nothing."""
        if self._lock >= 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _held_folder(path: Path) -> tuple[Path, int]:
    """Make a folder and hold it; another writer that saw it before it was held may have removed it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        with suppress(FileNotFoundError):
            handle = os.open(folder, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if folder.exists():
                return folder, handle
            os.close(handle)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to write files into; at a clean exit it gets the name `path`, which must be free."""
    scratch = Scratch(path)
    try:
        folder = scratch.folder / path.name
        with said(path):
            folder.mkdir()
        yield folder
        with said(path):
            sync_tree(folder)
            os.rename(folder, path)  # onto a folder that is empty, or onto nothing
            sync_folder(path.parent)
    finally:
        scratch.remove()


@contextmanager
def new_file(path: Path, instead_of: State = ()) -> Iterator[Path]:
    """Yield a place to write to; what stands there at a clean exit gets the name `path`, as in `publish`."""
    scratch = Scratch(path)
    try:
        with said(path):
            yield scratch.folder / path.name
            scratch.publish(scratch.folder / path.name, instead_of)
    finally:
        scratch.remove()


def state_of(file: Path | int) -> State:
    """Return what tells a file, or an open one, from another that takes its name; nothing of what is none."""
    try:
        found = os.stat(file)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder: of several processes that compare a file with what they read, one is at it at a time."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_text(path: Path, text: str, encoding: str | None = None) -> None:
    """Write a text file whole or not at all."""
    with new_file(path) as scratch:
        scratch.write_text(text, encoding)


def require_space(path: Path, num_bytes: int, at: int = 0) -> None:
    """Fail here if the disk or a limit does not let `path` take bytes [at, at + num_bytes).

    HDF5 must not meet a full disk: where one of its writes fails, closing the file can crash the process.
    """
    beside = path.with_name(f"{path.name}.room")
    try:
        with beside.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), at, num_bytes)
            elif shutil.disk_usage(path.parent).free < num_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def said(path: Path) -> Iterator[None]:
    """Turn a failure to write into one line that names the file."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py raises RuntimeError where it cannot flush
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        left = "what stood there is left as it was" if path.exists() else "nothing is left under that name"
        raise OSError(f"{path} could not be written: {reason}; {left}") from error


def remove_leftovers(path: Path) -> None:
    """Remove the scratch folders of writers of `path` that no longer run."""
    for folder in path.parent.glob(f".{path.name}.*.tmp"):
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # its writer has just finished, or it is no folder of ours
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass  # its writer runs
        finally:
            os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flush every file below a folder, and the entries of it and of the folders in it."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            with (Path(place) / name).open("rb") as written:
                os.fsync(written.fileno())
        sync_folder(Path(place))


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
