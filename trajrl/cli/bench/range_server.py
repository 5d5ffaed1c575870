"""RangeServer: one folder over HTTP on this machine, ranges only, each answer after a set time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any


class RangeHandler(BaseHTTPRequestHandler):
    """Answers a request for a range of a file; subclasses may answer badly."""

    folder = Path()
    seconds = 0.0

    def do_GET(self) -> None:
        """Send the range asked for."""
        path = self.folder / Path(self.path).name
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        time.sleep(self.seconds)
        if not path.exists() or not asked:
            self.send_error(404)
            return
        size = path.stat().st_size
        start, stop = int(asked[1]), min(int(asked[2]) + 1, size)
        if start >= stop:
            self.send_error(416)
            return
        with path.open("rb") as file:
            file.seek(start)
            self.send(file.read(stop - start), start, size, f'"{path.stat().st_mtime_ns:x}-{size:x}"')

    def send(self, content: bytes, start: int, size: int, mark: str) -> None:
        """Send the bytes and what they are."""
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{start + len(content) - 1}/{size}")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", mark)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has left."""


@contextmanager
def serving(folder: Path, seconds: float = 0.0, handler: type[RangeHandler] = RangeHandler) -> Iterator[str]:
    """Serve a folder while the body runs; yields the address that file names are appended to."""
    kind = type("Handler", (handler,), {"folder": folder, "seconds": seconds})
    server = _Quiet(("127.0.0.1", 0), kind)
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
