"""One file on its way: the part that has arrived, which file on the server it is of, and the next request.

Beside `.NAME.part` lies `.NAME.part.tag`: the server's tag of the file and its size in bytes.  A part is
continued only by an answer that begins where the part ends, of the same tag and size; else from 0.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, NamedTuple

from trajrl.core.atomic_files import require_space, said, write_text
from trajrl.core.console import say
from trajrl.core.http_get import get
from trajrl.formats.base.importer import Show

PIECE_BYTES = 1 << 20
LARGEST_BYTES = 64 << 30  # of a file that is fetched without being asked how large
SLOW_SECONDS = 10.0  # after which a piece that is still coming is reported
NUMBER = re.compile(r"[0-9]{1,18}")
RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


class RestartError(HTTPException):
    """The server's answer does not continue the part: it was dropped, and the file begins again from 0."""


class DeadlineError(OSError):
    """The transfer took longer than it may."""


class Version(NamedTuple):
    """Which file on the server a part is of."""

    tag: str  # ETag or Last-Modified; empty: none, so that nothing can be continued
    size: int | None


@dataclass(frozen=True)
class Transfer:
    """One file on its way."""

    url: str
    path: Path  # final name
    part: Path  # what has arrived
    tag: Path  # its version, as two lines
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
    def version(self) -> Version:
        """Return which file the part is of."""
        tag, _, size = (self.tag.read_text() if self.tag.exists() else "").partition("\n")
        return Version(tag, int(size) if NUMBER.fullmatch(size) else None)

    @property
    def due(self) -> int | None:
        """Return how many bytes the whole file has, as a table or else the server said."""
        return self.version.size if self.size is None else self.size

    @property
    def continues(self) -> bool:
        """Say whether anything came that is known to be of the file that is due."""
        tag, size = self.version
        return bool(tag) and size is not None and 0 < self.arrived <= size == self.due

    @property
    def left(self) -> str:
        """Say what there is after a failure, and what to do."""
        if self.continues:
            return "what came is kept, and the same command continues from there"
        if self.arrived:
            return (
                "the server does not say which version of the file it sends, so that the same command "
                "begins again"
            )
        return f"nothing came; try again, or put the file at {self.path} by hand"

    def require_time(self) -> None:
        """Stop a transfer that has taken too long."""
        if time.monotonic() > self.deadline:
            raise DeadlineError(f"{self.url}: it took too long, {self.arrived} bytes came; {self.left}")

    def restart(self) -> None:
        """Drop what has arrived."""
        self.file.truncate(0)
        self.tag.unlink(missing_ok=True)

    def drop_if_empty(self) -> None:
        """Remove a part without content."""
        if self.part.exists() and not self.part.stat().st_size:
            self.part.unlink()
            self.tag.unlink(missing_ok=True)


def fetch_rest(transfer: Transfer) -> int:
    """Ask once for what is missing and append it; return the bytes of the whole file."""
    version, due, have = transfer.version, transfer.due, transfer.arrived
    if have and not transfer.continues:
        transfer.restart()  # nothing says that these bytes are of the file that is due
        have = 0
    elif have and have == due:
        return due
    headers = {"User-Agent": "trajrl", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version.tag}
    with get(transfer.url, headers, transfer.insecure, transfer.deadline) as answer:
        _refuse_other(transfer.url, answer.headers)
        if answer.status == 206:
            total = _continued(transfer, answer.headers, version)
        else:
            transfer.restart()
            have, total = 0, _whole(transfer, answer)
            write_text(transfer.tag, f"{_tag(answer.headers)}\n{total}")
        with said(transfer.path):
            require_space(transfer.path, max(1, total - have))
        _append(transfer, answer, have, total)
    return total


def _continued(transfer: Transfer, headers: Message, version: Version) -> int:
    """Return the bytes of the whole file; an answer that does not continue the part drops it."""
    have = transfer.arrived
    found = RANGE.fullmatch((headers.get("Content-Range") or "").strip())
    first, last, total = (int(number) for number in found.groups()) if found else (-1, -1, -1)
    if have and (first, last + 1, total, _tag(headers)) == (have, version.size, version.size, version.tag):
        return total
    if not have:
        raise RestartError("the server sends a part of the file, though the whole was asked for")
    transfer.restart()
    raise RestartError("the server's part does not continue what came, so that is dropped")


def _whole(transfer: Transfer, answer: HTTPResponse) -> int:
    """Return the bytes of a file sent whole; a size that nobody says, or that cannot be right, is refused."""
    length = answer.headers.get("Content-Length") or ""
    sent = int(length) if NUMBER.fullmatch(length) and not answer.chunked else None  # chunks count themselves
    due = sent if transfer.size is None else transfer.size
    if due is None:
        wrong = "the server does not say how long it is, so that nobody could tell whether it came whole"
    elif sent is not None and sent != due:
        wrong = f"it has {sent} bytes there, {due} are published"
    elif due > LARGEST_BYTES:
        wrong = f"it has {due >> 30} GiB, and more than {LARGEST_BYTES >> 30} GiB are not fetched unasked"
    else:
        return due
    raise ValueError(f"{transfer.url}: {wrong}; put the file at {transfer.path} by hand")


def _refuse_other(url: str, headers: Message) -> None:
    """Refuse a web page, and a file that is sent in another coding than its own."""
    if headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise ValueError(f"{url} gives a web page, not a file; the data may have moved")
    coding = headers.get("Content-Encoding") or "identity"
    if coding.strip().lower() != "identity":
        raise ValueError(f"{url} is sent compressed ('{coding}'), which was not asked for; try again later")


def _tag(headers: Message) -> str:
    """Return what the server calls this version of the file; one line."""
    return " ".join((headers.get("ETag") or headers.get("Last-Modified") or "").split())


def _append(transfer: Transfer, answer: HTTPResponse, have: int, total: int) -> None:
    """Write what the server sends behind what is there, and no more than is due."""
    name = transfer.url.rpartition("/")[2]
    pieces = _pieces(transfer, answer, have, total)
    for _ in transfer.show(pieces, f"download {name}", -(-(total - have) // PIECE_BYTES), "MiB"):
        pass
    with said(transfer.path):
        transfer.file.flush()


def _pieces(transfer: Transfer, answer: HTTPResponse, have: int, total: int) -> Iterator[int]:
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
