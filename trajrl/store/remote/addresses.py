"""Addresses of far stores: what is one, and what reads it.

https:// is read by ranges with every answer checked; s3:// and hf:// through fsspec.
"""

from __future__ import annotations

import re
from pathlib import Path

from trajrl.store.remote.source import Source  # what reads is imported where an address is met

WEB = ("http://", "https://")
ONE_SLASH = re.compile(r"([A-Za-z0-9]{2,}):/+")  # how an address reads that was taken for a path


def is_far(place: object) -> bool:
    """Say whether a name is an address."""
    scheme, colon, _ = str(place).partition("://")
    return bool(colon) and scheme.isalnum()


def require_near(place: object) -> None:
    """Refuse an address where a file of this machine is read, saying what takes one."""
    found = ONE_SLASH.match(str(place))
    if found and not (isinstance(place, Path) and place.exists()):
        url = f"{found[1]}://{str(place)[found.end() :]}"
        raise ValueError(
            f"{url} lies elsewhere, and this reads files of this machine: download it first; a store is read "
            "where it lies by `offline --data` and `store info`"
        )


def open_far(url: str) -> Source:
    """Return the source at an address."""
    if url.startswith(WEB):
        from trajrl.store.remote.http import HttpSource

        return HttpSource(url)
    from trajrl.store.remote.file_systems import FileSystemSource

    return FileSystemSource(url)


def far_files(pattern: str) -> list[str]:
    """Return the addresses that a pattern such as s3://bucket/shards/*.h5 stands for, in order of name.

    A web server lists no files, and in its addresses the signs of patterns have another meaning.
    """
    if pattern.startswith(WEB):
        return [pattern]
    from trajrl.store.remote.file_systems import FileSystemSource

    scheme = pattern.partition("://")[0]
    return sorted(f"{scheme}://{name.lstrip('/')}" for name in FileSystemSource(pattern).glob())
