"""One GET request over https: redirects followed within https only, everything up to a deadline.

The time left is set on the socket before each read, so that it holds while headers arrive too.
"""

from __future__ import annotations

import io
import ssl
import string
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import quote, urljoin

TIMEOUT_SECONDS = 30.0  # without one byte
REDIRECTS = 10  # one after another
MOVED = (301, 302, 303, 307, 308)
BROKEN_LINE = (HTTPException, TimeoutError, ConnectionError, ssl.SSLError, urllib.error.URLError)


def get(url: str, headers: Mapping[str, str], insecure: bool, deadline: float) -> HTTPResponse:
    """Return the answer to a request; what is no success raises urllib's HTTPError.

    Args:
        deadline: of time.monotonic(), for the headers and for whoever reads the body.
    """
    opener, place = _opener(deadline), url
    for _ in range(REDIRECTS + 1):
        check_scheme(place, insecure)
        request = urllib.request.Request(place, headers=dict(headers))
        try:
            return _of_one_length(url, opener.open(request, timeout=_seconds_left(deadline)))
        except urllib.error.HTTPError as error:
            if error.code not in MOVED:
                raise
            error.close()
            place = _moved(url, place, error)
    raise OSError(f"{url}: the server redirects more than {REDIRECTS} times; the data may have moved")


def check_scheme(url: str, insecure: bool) -> None:
    """Refuse addresses that anyone on the way could answer for."""
    if not url.startswith("https://") and not (insecure and url.startswith("http://")):
        raise ValueError(f"{url} is not an https address; trajrl downloads over https only")


def _opener(deadline: float) -> urllib.request.OpenerDirector:
    """Return what opens an address; it follows no redirect by itself."""
    opener = urllib.request.OpenerDirector()
    handlers: tuple[urllib.request.BaseHandler, ...] = (
        urllib.request.ProxyHandler(), urllib.request.UnknownHandler(), _Http(deadline), _Https(deadline),
        urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(),
    )  # fmt: skip
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _of_one_length(url: str, answer: HTTPResponse) -> HTTPResponse:
    """Refuse an answer of two lengths: nobody could tell where its body ends."""
    lengths = list(dict.fromkeys(length.strip() for length in answer.headers.get_all("Content-Length", [])))
    if len(lengths) > 1:
        answer.close()
        raise ValueError(
            f"{url}: the server says two lengths of it, {' and '.join(lengths)}; try again later"
        )
    return answer


def _moved(url: str, place: str, error: urllib.error.HTTPError) -> str:
    """Return where a redirect leads."""
    target = error.headers.get("Location")
    if not target:
        raise OSError(f"{url}: the server answers {error.code} and does not say where the file is now")
    try:
        return urljoin(place, quote(target, encoding="iso-8859-1", safe=string.punctuation))
    except ValueError as wrong:
        raise OSError(f"{url}: the server redirects to '{target}', which is no address") from wrong


def _seconds_left(deadline: float) -> float:
    """Return how long a read may take; none is left: TimeoutError."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is over")
    return min(TIMEOUT_SECONDS, left)


class _Timed(io.RawIOBase):
    """The bytes of a socket; each read may take what is left until the deadline."""

    def __init__(self, raw: Any, sock: Any, deadline: float) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what there is, up to the length of the buffer."""
        self._sock.settimeout(_seconds_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Close the socket's side too."""
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    """An answer that is read up to a deadline, headers included."""

    def __init__(self, sock: Any, *args: Any, deadline: float, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        buffered: Any = self.fp
        self.fp = io.BufferedReader(_Timed(buffered.detach(), sock, deadline))


def _connect(kind: type[HTTPConnection], deadline: float, host: str, **options: Any) -> HTTPConnection:
    """Return a connection whose answers keep to a deadline."""
    connection: Any = kind(host, **options)
    connection.response_class = partial(_Answer, deadline=deadline)
    return connection


class _Http(urllib.request.HTTPHandler):
    """http up to a deadline."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._kind: Any = partial(_connect, HTTPConnection, deadline)

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Open an http address."""
        return self.do_open(self._kind, req)


class _Https(urllib.request.HTTPSHandler):
    """https up to a deadline, certificates checked as Python checks them."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._kind: Any = partial(_connect, HTTPSConnection, deadline)

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Open an https address."""
        return self.do_open(self._kind, req)
