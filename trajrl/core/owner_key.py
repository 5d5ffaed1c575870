"""A key of this user on this machine, and marks made with it: files that trajrl itself wrote, and where.

    mark = HMAC-SHA256(key, place and content)

A copy in another place or an edited file has another mark, and whoever cannot read the key can make none.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

SIZE = 32  # bytes of the key


def key_path() -> Path:
    """Return where the key lies: under $XDG_DATA_HOME, else ~/.local/share."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "trajrl" / "key"


def mark_of(place: Path, content: bytes, create: bool = False) -> str | None:
    """Return the mark of a content at a place; None where there is no key of this user alone.

    Args:
        create: make a key where there is none
    """
    key = read_key() or (make_key() if create else None)
    if key is None:
        return None
    where = os.fsencode(place.resolve())
    return hmac.new(key, len(where).to_bytes(8, "big") + where + content, "sha256").hexdigest()


def read_key() -> bytes | None:
    """Return the key; None where there is none, or one that others could read or have put there."""
    try:
        handle = os.open(key_path(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        own = facts.st_uid == os.getuid() and not facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        found = file.read(SIZE + 1) if own and stat.S_ISREG(facts.st_mode) else b""
    return found if len(found) == SIZE else None


def make_key() -> bytes | None:
    """Make a key, whole or not at all; of several processes the first one's holds."""
    path = key_path()
    scratch = path.with_name(f".key.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(SIZE))
        with suppress(FileExistsError):
            os.link(scratch, path)
    except OSError:
        return None
    finally:
        with suppress(OSError):
            scratch.unlink()
    return read_key()
