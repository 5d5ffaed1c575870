"""The files that one text names: a name as it is, or several words as a shell takes them, patterns expanded.

    "a.h5"    "a.h5 b.h5"    "'with space.h5' shards/*.h5"

A pattern stands for its files in order of name.  A config keeps the files, not the pattern, by absolute
paths: a run that is resumed, from whatever folder, reads those that it began with.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from glob import glob, has_magic
from pathlib import Path

from trajrl.store.remote.addresses import far_files, is_far


def split_places(text: str) -> list[str]:
    """Return the files that a text names."""
    words = _words(text)
    return words if words == [text] and not has_magic(text) else expand(words)


def join_places(words: Sequence[str]) -> str:
    """Return the text that names files, patterns expanded; of one file, its name as it is."""
    found = expand(words)
    return found[0] if len(found) == 1 else shlex.join(found)


def expand(words: Iterable[str]) -> list[str]:
    """Replace patterns by the files they stand for, in order of name; a file named twice is refused."""
    found: list[str] = []
    for word in words:
        files = _files(word)
        if not files:
            raise FileNotFoundError(f"{word}: no file is called so")
        found += files
    if len(set(found)) < len(found):
        twice = next(word for word in found if found.count(word) > 1)
        raise ValueError(f"{twice} is named twice; its episodes would be there twice")
    return found


def change_places(text: str, change: Callable[[str], str]) -> str:
    """Return a text that names files with each of them changed."""
    words = _words(text)
    changed = [change(word) for word in words]
    if changed == words:
        return text
    return changed[0] if len(changed) == 1 else shlex.join(changed)


def absolute(place: str) -> str:
    """Return a file or folder that is there by its absolute path; any other name as it is."""
    return str(Path(place).expanduser().absolute()) if exists(place) else place


def named(text: str) -> str:
    """Return a short name of data for a person: a file's own, and how many more there are."""
    first, *others = _words(text) or [""]
    return Path(first).name + (f" and {len(others)} more" if others else "")


def _words(text: str) -> list[str]:
    """Split a text that names several files; one that is there, or has no such words, is one name."""
    if exists(text):
        return [text]
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that is part of a name
        return [text]
    return words if len(words) > 1 else [text]


def _files(word: str) -> list[str]:
    if exists(word) or not has_magic(word):
        return [word]
    if is_far(word):
        return far_files(word)
    return sorted(glob(str(Path(word).expanduser()), recursive=True))


def exists(name: str) -> bool:
    """Say whether there is a file or folder of this name."""
    if is_far(name):
        return False
    try:
        return Path(name).expanduser().exists()
    except OSError:  # a text too long for a name
        return False
