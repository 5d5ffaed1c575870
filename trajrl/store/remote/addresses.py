"""Addresses of far stores: what is one, and what reads it.

https:// is read by ranges with every answer checked; s3:// and hf:// through fsspec.
"""

from __future__ import annotations

from trajrl.store.remote.source import Source  # what reads is imported where an address is met

WEB = ("http://", "https://")


def is_far(place: object) -> bool:
    """Say whether a name is an address."""
    scheme, colon, _ = str(place).partition("://")
    return bool(colon) and scheme.isalnum()


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
