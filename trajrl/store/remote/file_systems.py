"""FileSystemSource: a far file through fsspec: s3://, hf:// and the like, and no other of its systems.

Some of these read other files, or run what a file says (`reference`, chains of `::`).  An address may come
from the config of a run that was made elsewhere, so it is one of a known few or it is refused.
"""

from __future__ import annotations

from typing import Any

from trajrl.core.damage import first_line
from trajrl.core.extras import install
from trajrl.store.remote.source import Version

MARKS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "created")  # as systems name them


SYSTEMS = ("hf", "memory", "s3")  # each reads the bytes of what it names, and no more


class FileSystemSource:
    """A file of a system that fsspec knows and trajrl lets it read; such a system bounds its time itself."""

    def __init__(self, url: str) -> None:
        self.url = url
        require_known(url)
        try:
            import fsspec

            self._system, self._path = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            what = f"{url.partition('://')[0]}:// needs the extra 'far': {install('far')}"
            raise ValueError(f"{url}: {what} ({first_line(error)})") from error
        except Exception as error:  # every system has errors of its own
            raise OSError(f"{url} cannot be read ({type(error).__name__}: {first_line(error)})") from error

    def look(self, seconds: float) -> Version:
        """Return size and mark."""
        found = self._called("info", self._path)
        marks = (found.get(name) for name in MARKS)
        return Version(int(found["size"]), str(next((mark for mark in marks if mark), "")))

    def read(self, start: int, stop: int, version: Version, seconds: float) -> bytes:
        """Return bytes [start, stop)."""
        found = self._called("cat_file", self._path, start=start, end=stop)
        if len(found) != stop - start:
            raise OSError(f"{self.url} gave {len(found)} bytes from {start} on, not {stop - start}")
        return found

    def glob(self) -> list[str]:
        """Return the files that the address, a pattern, stands for."""
        return [str(name) for name in self._called("glob", self._path)]

    def _called(self, name: str, *words: Any, **options: Any) -> Any:
        try:
            return getattr(self._system, name)(*words, **options)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self.url}: no such file") from error
        except PermissionError as error:
            raise PermissionError(f"{self.url}: no permission to read it") from error
        except Exception as error:  # every system has errors of its own
            raise OSError(
                f"{self.url} cannot be read ({type(error).__name__}: {first_line(error)})"
            ) from error


def require_known(url: str) -> None:
    """Refuse an address of another system, and one that leads through a second."""
    scheme, _, place = url.partition("://")
    if scheme == "file":
        raise ValueError(f"{url}: name a file of this machine by its path, {place}")
    if scheme not in SYSTEMS:
        known = ", ".join(f"{name}://" for name in ("https", *SYSTEMS) if name != "memory")
        raise ValueError(f"{url}: {scheme}:// is not read; addresses are {known}")
    if "::" in url:
        raise ValueError(f"{url}: an address that leads through another (::) is not read")
