"""Source: byte ranges of a file that lies elsewhere, each as long as was asked for, all of one version."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Version(NamedTuple):
    """What a file was when it was looked at; another size or mark is another file."""

    size: int
    mark: str  # ETag, else the time of the last change; empty where the server names neither


class Source(Protocol):
    """One file elsewhere."""

    url: str

    def look(self, seconds: float) -> Version:
        """Return what the file is now, in so many seconds at most."""

    def read(self, start: int, stop: int, version: Version, seconds: float) -> bytes:
        """Return bytes [start, stop) of a version; anything else is an OSError or a ChangedError."""


class ChangedError(ValueError):
    """The file at the source is no longer the one that was opened."""


def changed(url: str, then: Version, now: Version) -> str:
    """Say that a file was changed while it was read."""
    return (
        f"{url} was changed while it was read ({then.size} bytes {then.mark} then, {now.size} bytes "
        f"{now.mark} now); begin again with the new one"
    )
