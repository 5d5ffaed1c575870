"""Where a command may write: looked at before its work begins, by one rule for all.

Nothing but a plain file is ever replaced, and a user's only with --overwrite; what is written into a folder
does not leave it through a symbolic link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

KINDS = {
    stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
}  # fmt: skip


def refuse_existing(path: Path, overwrite: bool, ours: Callable[[Path], bool] | None = None) -> None:
    """Refuse to replace what is no plain file and, unless that was asked for, a file too.

    Args:
        ours: tells a file that trajrl wrote for the same purpose, which may be replaced unasked
    """
    refuse_irregular(path)
    if path.exists() and not overwrite and not (ours is not None and ours(path)):
        raise FileExistsError(f"{path} exists; choose another name or add --overwrite")


def refuse_taken(path: Path, what: str) -> None:
    """Refuse to write a table of a folder over one that was there before; no option replaces it."""
    refuse_irregular(path)
    if path.exists():
        raise FileExistsError(f"{path} exists and is of no {what}; give another --out")


def refuse_irregular(path: Path) -> None:
    """Refuse what is no plain file, or lies below one, as the place of a file."""
    found = kind_of(path)
    if found not in ("", "a file"):
        raise ValueError(f"{path} is {found}; name a plain file to write")
    refuse_below_file(path)


def refuse_no_folder(path: Path, what: str = "files") -> None:
    """Refuse anything but a folder, or a name that is free, as the place of several files."""
    found = kind_of(path)
    if found not in ("", "a folder"):
        raise ValueError(f"{path} is {found}; --out takes the folder of {what}")
    refuse_below_file(path)


def refuse_below_file(path: Path) -> None:
    """Refuse a path below what is no folder, or below one that may not be written to."""
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if (found := kind_of(above)) != "a folder":
        raise ValueError(f"{path} cannot be written: {above} is {found}")
    if not path.exists() and not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: {above} may not be written to")


def refuse_links_out(folder: Path) -> None:
    """Refuse a folder that is to be written into where a link inside leads out of it."""
    inside = folder.resolve()
    for place, folders, files in os.walk(folder):
        for path in (Path(place) / name for name in (*folders, *files)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                raise ValueError(
                    f"{path} is a link to {os.readlink(path)}, outside {folder}: nothing is written through "
                    "it; put what it leads to in its place"
                )


def kind_of(path: Path) -> str:
    """Say what stands at a path, links followed; empty where nothing does."""
    try:
        return KINDS.get(stat.S_IFMT(path.stat().st_mode), "no plain file")
    except OSError:  # nothing is there, or nothing can be
        return "a link that leads nowhere" if path.is_symlink() else ""
