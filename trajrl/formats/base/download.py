"""Downloads that survive a broken line: resumed where they stopped, checked, renamed when whole.

The part that has arrived lies beside the target as `.NAME.part`, with the server's tag of it in
`.NAME.part.tag`; it is continued only while the tag is the same.  A file that exists is never touched.
Nothing is taken for whole whose size neither a table nor the server says, and nothing is read beyond it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any

from trajrl.core.atomic_files import require_space, said, sync_folder
from trajrl.core.console import say
from trajrl.formats.base.importer import Show, quietly

PIECE_BYTES = 1 << 20
TIMEOUT_SECONDS = 30.0  # without one byte
DEADLINE_SECONDS = 6 * 3600.0  # for the whole file
LARGEST_BYTES = 64 << 30  # of a file that is fetched without being asked how large
SLOW_SECONDS = 10.0  # after which a piece that is still coming is reported
ATTEMPTS = 6  # in a row without one new byte
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
    _check_scheme(url, insecure)
    part = path.with_name(f".{path.name}.part")
    with said(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("ab")
    transfer = _Transfer(
        url, path, part, part.with_name(f"{part.name}.tag"), file, insecure, show or quietly, size,
        time.monotonic() + seconds,
    )  # fmt: skip
    with file:
        _lock(file, path)
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


@dataclass(frozen=True)
class _Transfer:
    """One file on its way."""

    url: str
    path: Path  # final name
    part: Path  # what has arrived
    tag: Path  # the server's tag of it
    file: IO[bytes]  # part, open for appending
    insecure: bool
    show: Show
    size: int | None  # bytes that are due, where a table says so
    deadline: float  # of time.monotonic()

    @property
    def arrived(self) -> int:
        """Return how many bytes there are."""
        return self.file.seek(0, os.SEEK_END)

    @property
    def left(self) -> str:
        """Say what there is after a failure, and what to do."""
        if self.arrived:
            return "what came is kept, and the same command continues from there"
        return f"nothing came; try again, or put the file at {self.path} by hand"

    def require_time(self) -> None:
        """Stop a transfer that has taken too long."""
        if time.monotonic() > self.deadline:
            raise DeadlineError(f"{self.url}: it took too long, {self.arrived} bytes came; {self.left}")

    def drop_if_empty(self) -> None:
        """Remove a part without content."""
        if self.part.exists() and not self.part.stat().st_size:
            self.part.unlink()
            self.tag.unlink(missing_ok=True)


class DeadlineError(OSError):
    """The transfer took longer than it may."""


def _fetch_all(transfer: _Transfer, wait: Callable[[float], None]) -> int:
    """Fetch until the file is whole, after a broken line again; return the size it should have."""
    failures = 0
    while True:
        transfer.require_time()
        before = transfer.arrived
        try:
            total = _fetch(transfer)
            if transfer.arrived >= total:
                return total
            reason = f"{transfer.arrived} of {total} bytes came"
        except urllib.error.HTTPError as error:
            if error.code not in (408, 429, 500, 502, 503, 504):
                reason = f"the server answers {error.code} {error.reason}"
                raise OSError(f"{transfer.url}: {reason}; nothing was downloaded") from error
            reason = f"the server answers {error.code}"
        except (HTTPException, TimeoutError, ConnectionError, urllib.error.URLError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            if _offline(error) and failures and transfer.arrived == before:
                raise OSError(f"{transfer.url}: {reason}; is there a network?  {transfer.left}") from error
        failures = 0 if transfer.arrived > before else failures + 1
        if failures == ATTEMPTS:
            raise OSError(f"{transfer.url}: {reason}; {transfer.left}")
        say(f"{transfer.path.name}: {reason}; trying again in {2**failures} s")
        wait(2.0**failures)


def _offline(error: Exception) -> bool:
    """Say whether an error is one of a machine without a network: waiting long would not help."""
    reason = getattr(error, "reason", error)
    return isinstance(reason, socket.gaierror) or getattr(reason, "errno", None) in OFFLINE


def _fetch(transfer: _Transfer) -> int:
    """Ask once for what is missing and append it."""
    file, tag = transfer.file, transfer.tag
    have, known = transfer.arrived, tag.read_text() if tag.exists() else ""
    if have and not known:
        have = file.truncate(0)  # nothing says that these bytes are of the same file
    request = urllib.request.Request(
        transfer.url, headers={"User-Agent": "trajrl", "Accept-Encoding": "identity"}
    )
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", known)
    try:
        answer: HTTPResponse = _opener(transfer.insecure).open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        total = _total(error.headers)
        if total is not None and total == have:
            return total
        file.truncate(0)
        return have + 1  # one byte more than there is: ask again from the start
    with answer:
        _refuse_page(transfer.url, answer.headers)
        if answer.status != 206:
            have = file.truncate(0)
        tag.write_text(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
        total = _due(transfer, answer)
        with said(transfer.path):
            require_space(transfer.path, max(1, total - have))
        _append(transfer, answer, have, total)
    return total


def _due(transfer: _Transfer, answer: HTTPResponse) -> int:
    """Return the bytes of the whole file; a size that nobody says, or that cannot be right, is refused."""
    length = answer.headers.get("Content-Length") or ""
    said_size = _total(answer.headers) if answer.status == 206 else int(length) if length.isdigit() else None
    due = said_size if transfer.size is None else transfer.size
    if due is None:
        wrong = "the server does not say how long it is, so that nobody could tell whether it came whole"
    elif said_size is not None and said_size != due:
        wrong = f"it has {said_size} bytes there, {due} are published"
    elif due > LARGEST_BYTES:
        wrong = f"it has {due >> 30} GiB, and more than {LARGEST_BYTES >> 30} GiB are not fetched unasked"
    else:
        return due
    raise ValueError(f"{transfer.url}: {wrong}; put the file at {transfer.path} by hand")


def _append(transfer: _Transfer, answer: HTTPResponse, have: int, total: int) -> None:
    """Write what the server sends behind what is there, and no more than is due."""
    name = transfer.url.rpartition("/")[2]
    pieces = _pieces(transfer, answer, have, total)
    for _ in transfer.show(pieces, f"download {name}", -(-(total - have) // PIECE_BYTES), "MiB"):
        pass
    with said(transfer.path):
        transfer.file.flush()


def _pieces(transfer: _Transfer, answer: HTTPResponse, have: int, total: int) -> Iterator[int]:
    """Write what comes as it comes; yield once for each whole piece, and speak where one takes long."""
    first, last_report = have, time.monotonic()
    while have < total and (part := answer.read1(min(PIECE_BYTES, total - have))):
        with said(transfer.path):
            transfer.file.write(part)
        have += len(part)
        transfer.require_time()
        now = time.monotonic()
        if now - last_report > SLOW_SECONDS:
            last_report = now
            say(f"{transfer.path.name}: {have} of {total} bytes")
        while have - first >= PIECE_BYTES or first < have == total:
            first, last_report = min(first + PIECE_BYTES, total), now
            yield first


def _total(headers: Message) -> int | None:
    """Return the size of the whole file from Content-Range."""
    size = (headers.get("Content-Range") or "").rpartition("/")[2]
    return int(size) if size.isdigit() else None


def _check(transfer: _Transfer, size: int, sha256: str | None) -> None:
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


def _refuse_page(url: str, headers: Message) -> None:
    if headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise ValueError(f"{url} gives a web page, not a file; the data may have moved")


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(f"{path} is being downloaded by another program; wait for it") from error


def _check_scheme(url: str, insecure: bool) -> None:
    if not url.startswith("https://") and not (insecure and url.startswith("http://")):
        raise ValueError(f"{url} is not an https address; trajrl downloads over https only")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to anything else."""

    def __init__(self, insecure: bool) -> None:
        self.insecure = insecure

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Check where a redirect leads before following it."""
        _check_scheme(newurl, self.insecure)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(insecure: bool) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirects(insecure))
