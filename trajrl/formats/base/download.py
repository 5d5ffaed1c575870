"""Downloads that survive a broken line: resumed where they stopped, checked, renamed when whole.

The part that has arrived lies beside the target as `.NAME.part`.  A file that exists is never touched.
Nothing is taken for whole whose size neither a table nor the server says, and nothing is read beyond it;
where a table says a size, no answer of the server changes it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import IO

from trajrl.core.atomic_files import said, sync_folder
from trajrl.core.console import say
from trajrl.core.http_get import BROKEN_LINE, check_scheme
from trajrl.core.plain_file import open_to_write
from trajrl.formats.base.importer import Show, quietly
from trajrl.formats.base.transfer import Transfer, fetch_rest

DEADLINE_SECONDS = 6 * 3600.0  # for the whole file
ATTEMPTS = 6  # in a row without one new byte
BUSY = (408, 429, 500, 502, 503, 504)  # answers after which another attempt makes sense
OFFLINE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)


def download(
    url: str, path: Path, show: Show | None = None, size: int | None = None, sha256: str | None = None,
    insecure: bool = False, wait: Callable[[float], None] = time.sleep, seconds: float = DEADLINE_SECONDS,
) -> Path:  # fmt: skip
    """Fetch a file unless it is there.

    Args:
        size: bytes it must have, where known beforehand.
        sha256: hash it must have, where known.
        insecure: allow http; anyone on the way can then change the file.
        wait: sleeps between attempts.
        seconds: time it may take; what came until then is kept.
    """
    if path.exists():
        return path
    check_scheme(url, insecure)
    part = path.with_name(f".{path.name}.part")
    with said(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open_to_write(part, "append")
    transfer = Transfer(
        url, path, part, part.with_name(f"{part.name}.tag"), file, insecure, show or quietly, size,
        time.monotonic() + seconds,
    )  # fmt: skip
    with file:
        _lock(file, part, path)
        try:
            total = _fetch_all(transfer, wait)
            _check(transfer, total, sha256)
            with said(path):
                os.fsync(file.fileno())
                os.replace(part, path)
                transfer.tag.unlink(missing_ok=True)
                sync_folder(path.parent)
        finally:
            transfer.drop_if_empty()
    return path


def _fetch_all(transfer: Transfer, wait: Callable[[float], None]) -> int:
    """Fetch until the file is whole, after a broken line again; return the size it should have."""
    failures, most = 0, transfer.arrived
    while True:
        transfer.require_time()
        total, reason = _attempt(transfer, failures)
        if total is not None and transfer.arrived >= total:
            return total
        transfer.require_time()
        failures = 0 if transfer.arrived > most else failures + 1
        most = max(most, transfer.arrived)
        if failures == ATTEMPTS:
            raise OSError(f"{transfer.url}: {reason}; {transfer.left}")
        say(f"{transfer.path.name}: {reason}; trying again in {2**failures} s")
        wait(min(2.0**failures, max(0.0, transfer.deadline - time.monotonic())))


def _attempt(transfer: Transfer, failures: int) -> tuple[int | None, str]:
    """Ask once; return the size of the file where it is known, and why it may not be whole."""
    before = transfer.arrived
    try:
        total = fetch_rest(transfer)
        return total, f"{transfer.arrived} of {total} bytes came"
    except urllib.error.HTTPError as error:
        if error.code == 416 and before:
            transfer.restart()
            return None, "the server has no such part of the file, so what came is dropped"
        if error.code in BUSY:
            return None, f"the server answers {error.code}"
        reason = f"the server answers {error.code} {error.reason}"
        raise OSError(f"{transfer.url}: {reason}; nothing was downloaded") from error
    except BROKEN_LINE as error:
        reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        if _offline(error) and failures and transfer.arrived == before:
            raise OSError(f"{transfer.url}: {reason}; is there a network?  {transfer.left}") from error
        return None, reason


def _offline(error: Exception) -> bool:
    """Say whether an error is one of a machine without a network: waiting long would not help."""
    reason = getattr(error, "reason", error)
    return isinstance(reason, socket.gaierror) or getattr(reason, "errno", None) in OFFLINE


def _check(transfer: Transfer, size: int, sha256: str | None) -> None:
    """Refuse what came if it is not the file."""
    came, wrong = transfer.part.stat().st_size, ""
    if came != size:
        wrong = f"it has {came} bytes, {size} are due"
    elif sha256 is not None and (found := _hash(transfer.part)) != sha256:
        wrong = f"its sha256 is {found}, {sha256} is due"
    elif not came:
        wrong = "it is empty"
    if wrong:
        transfer.file.truncate(0)
        raise ValueError(
            f"{transfer.url} is not the file it should be: {wrong}; it was removed, try again later"
        )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lock(file: IO[bytes], part: Path, path: Path) -> None:
    """Hold the part; one that another program renamed or removed before it was held is not this one's."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(f"{path} is being downloaded by another program; wait for it") from error
    if not (part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat())):
        raise OSError(f"{path} was being downloaded by another program; try again")
