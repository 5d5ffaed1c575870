"""A run under way as one page: watch/index.html of its folder, which refreshes from state.json beside it.

Whole by itself: opened from the disk it shows what the run said last, without a network.  `Server` gives the
page, its state and its film to browsers of this machine alone, by Python's own http.server.
"""

from __future__ import annotations

import json
import re
from functools import cache, partial
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from trajrl.core.atomic_files import new_file, write_text
from trajrl.core.console import harmless, harmless_json

HOST = "127.0.0.1"
FOLDER = "watch"
STATE, PAGE = "state.json", "index.html"
FILM = re.compile(r"episode-\d+\.mp4")
MOST_FILMS = 2  # kept: the one shown, and the one before, which a browser may still be reading


def write_state(folder: Path, title: str, state: dict[str, Any]) -> None:
    """Write the state, and the page with it inside, whole or not at all."""
    text = harmless_json(json.dumps(state, allow_nan=False))
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    write_text(place / STATE, text)
    inside = text.replace("<", "\\u003c")
    page = template().replace("@TITLE@", harmless(escape(title))).replace("@STATE@", inside)
    write_text(place / PAGE, page, encoding="utf-8")


@cache
def template() -> str:
    """Return the page without its numbers; read once, so that a run needs its own files alone."""
    return Path(__file__).with_name("watch.html").read_text(encoding="utf-8")


def write_film(folder: Path, step: int, mp4: bytes) -> str:
    """Write the film of an evaluation; returns its name.  Older ones make room."""
    place, name = folder / FOLDER, f"episode-{step:09d}.mp4"
    with new_file(place / name) as scratch:
        Path(scratch).write_bytes(mp4)
    for old in sorted(place.glob("episode-*.mp4"))[:-MOST_FILMS]:
        old.unlink()
    return name


class Server:
    """Gives a run's page to this machine until it is closed."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        """Listen on a port of 127.0.0.1; 0: any that is free."""
        handler = partial(Handler, directory=str(folder / FOLDER))
        try:
            self._server = ThreadingHTTPServer((HOST, port), handler)
        except OSError as error:
            raise ValueError(
                f"no page can be given on {HOST}:{port} ({error.strerror}); give another --watch-port"
            ) from error
        self._server.daemon_threads = True
        self.address = f"http://{HOST}:{self._server.server_address[1]}/"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


class Handler(SimpleHTTPRequestHandler):
    """Gives the page, its state and its films, and nothing else; says nothing."""

    def do_GET(self) -> None:
        """Answer browsers that asked for this address by its number or as localhost."""
        host = self.headers.get("Host", "").rpartition(":")[0]
        name = self.path.split("?")[0].strip("/") or PAGE
        if host not in (HOST, "localhost"):
            self.send_error(403)
        elif name in (STATE, PAGE) or FILM.fullmatch(name):
            super().do_GET()
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        """Answer as to GET: nothing here is asked so."""
        self.send_error(405)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal to the run."""
