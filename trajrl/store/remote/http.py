"""HttpSource: byte ranges over https; an answer that is not the range asked for is refused, not believed.

Checked of every answer: status 206, Content-Range, the size of the whole, ETag or time of change, and that
the bytes are as many as were asked for.  http:// is taken of this machine alone.
"""

from __future__ import annotations

import re
import time
import urllib.error
from http.client import HTTPResponse
from urllib.parse import urlsplit

from trajrl.core.damage import first_line
from trajrl.core.http_get import BROKEN_LINE, get
from trajrl.store.remote.source import ChangedError, Version, changed

LOOPBACK = ("127.0.0.1", "localhost", "::1")
FINAL = {401: "asks for a login", 403: "refuses it", 404: "has no such file", 410: "has it no longer"}


class HttpSource:
    """A file on a web server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._insecure = urlsplit(url).hostname in LOOPBACK

    def look(self, seconds: float) -> Version:
        """Return size and mark, from the answer to a request for the first byte."""
        with self._answer(0, 1, seconds) as answer:
            return Version(self._range(answer, 0, 1), _mark(answer))

    def read(self, start: int, stop: int, version: Version, seconds: float) -> bytes:
        """Return bytes [start, stop) of a version."""
        with self._answer(start, stop, seconds) as answer:
            found = Version(self._range(answer, start, stop), _mark(answer))
            if found != version:
                raise ChangedError(changed(self.url, version, found))
            try:
                content = answer.read(stop - start + 1)
            except BROKEN_LINE as error:
                raise OSError(f"{self.url} broke off at byte {start} ({first_line(error)})") from error
        if len(content) != stop - start:
            raise OSError(f"{self.url} sent {len(content)} bytes from {start} on, not {stop - start}")
        return content

    def _answer(self, start: int, stop: int, seconds: float) -> HTTPResponse:
        headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        try:
            return get(self.url, headers, self._insecure, time.monotonic() + seconds)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:
                raise ChangedError(
                    f"{self.url} has no byte {stop - 1}: it is no longer the file that was opened"
                ) from error
            if error.code in FINAL:
                raise FileNotFoundError(
                    f"{self.url}: the server {FINAL[error.code]} ({error.code})"
                ) from error
            raise OSError(f"{self.url}: the server answers {error.code}") from error
        except BROKEN_LINE as error:
            raise OSError(f"{self.url} cannot be reached ({first_line(error)})") from error

    def _range(self, answer: HTTPResponse, start: int, stop: int) -> int:
        """Return the size of the whole file; an answer that is another range is refused."""
        if answer.status == 200:
            raise ValueError(f"{self.url}: the server sends whole files only, no ranges; download it")
        said = answer.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", said.strip())
        if answer.status != 206 or not found or (int(found[1]), int(found[2]) + 1) != (start, stop):
            raise OSError(f"{self.url}: asked for bytes {start} to {stop - 1}, the server says '{said}'")
        return int(found[3])


def _mark(answer: HTTPResponse) -> str:
    return str(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
