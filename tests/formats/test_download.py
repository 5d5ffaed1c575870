"""Downloads against a server that breaks the line, changes the file, lies about its size or sends a page."""

from __future__ import annotations

import fcntl
import hashlib
import socket
import threading
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from foreign import chained, d4rl, hdf5

from trajrl.formats import open_source
from trajrl.formats.base.download import ATTEMPTS, download

BODY = bytes(range(256)) * 20_000  # 5 MB


class Server:
    """What the server does and what it was asked."""

    def __init__(self) -> None:
        self.body, self.tag, self.kind = BODY, '"one"', "application/octet-stream"
        self.breaks: list[int] = []  # bytes sent before the line breaks, one entry for each answer
        self.status = 0  # answer this instead
        self.ranges = True
        self.claimed: int | None = None  # Content-Length other than the truth
        self.redirect = ""
        self.silent = False  # send no Content-Length
        self.trickle = 0  # bytes sent at a time, with a pause
        self.asked: list[str | None] = []
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        if self.status or self.redirect:
            handler.send_response(302 if self.redirect else self.status)
            handler.send_header("Location", self.redirect)
            handler.end_headers()
            return
        first = 0
        if wanted and self.ranges and handler.headers.get("If-Range") == self.tag:
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
        if first >= len(self.body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.body)}")
            handler.end_headers()
            return
        part = self.body[first:]
        handler.send_response(206 if first else 200)
        if first:
            handler.send_header("Content-Range", f"bytes {first}-{len(self.body) - 1}/{len(self.body)}")
        if not self.silent:
            handler.send_header("Content-Length", str(self.claimed or len(part)))
        handler.send_header("Content-Type", self.kind)
        if self.tag:
            handler.send_header("ETag", self.tag)
        handler.end_headers()
        if self.trickle:
            for place in range(0, len(part), self.trickle):
                handler.wfile.write(part[place : place + self.trickle])
                time.sleep(0.02)
            return
        handler.wfile.write(part[: self.breaks.pop(0)] if self.breaks else part)


@contextmanager
def serving(server: Server) -> Iterator[None]:
    """Run the server on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(ConnectionError):  # the other side has heard enough
                server.answer(self)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    server.url = f"http://127.0.0.1:{web.server_address[1]}/data.hdf5"
    try:
        yield
    finally:
        web.shutdown()
        web.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    with serving(found):
        yield found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "data.hdf5"


def fetch(server, path, **more):
    waits = []
    download(server.url, path, insecure=True, wait=waits.append, **more)
    return waits


def test_a_file_arrives_whole_under_its_name_alone(server, path):
    fetch(server, path)
    assert path.read_bytes() == BODY
    assert list(path.parent.iterdir()) == [path]


def test_a_line_that_breaks_half_way_is_continued_where_it_stopped(server, path):
    server.breaks = [2_500_000, 1_000_000]
    waits = fetch(server, path)
    assert path.read_bytes() == BODY
    assert server.asked == [None, "bytes=2500000-", "bytes=3500000-"]
    assert len(waits) == 2


def test_what_came_is_kept_for_the_next_command(server, path):
    server.breaks = [1_000_000] + [0] * ATTEMPTS
    with pytest.raises(OSError, match="what came is kept, and the same command continues from there"):
        fetch(server, path)
    assert not path.exists()
    fetch(server, path)
    assert path.read_bytes() == BODY
    assert server.asked[-1] == "bytes=1000000-"


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, path):
    server.breaks = [1_000_000] + [0] * ATTEMPTS
    with pytest.raises(OSError, match="what came is kept"):
        fetch(server, path)
    server.body, server.tag = BODY[::-1], '"two"'
    fetch(server, path)
    assert path.read_bytes() == BODY[::-1]


@pytest.mark.parametrize("without", ["ranges", "tag"])
def test_a_server_that_cannot_continue_starts_again(server, path, without):
    setattr(server, without, "" if without == "tag" else False)
    server.breaks = [2_000_000]
    fetch(server, path)
    assert path.read_bytes() == BODY


def test_a_part_that_is_already_whole_is_only_renamed(server, path):
    path.parent.mkdir()
    path.with_name(".data.hdf5.part").write_bytes(BODY)
    path.with_name(".data.hdf5.part.tag").write_text(f"{server.tag}\n{len(BODY)}")
    fetch(server, path)
    assert path.read_bytes() == BODY
    assert server.asked == []


def test_a_part_that_is_too_long_is_dropped(server, path):
    path.parent.mkdir()
    path.with_name(".data.hdf5.part").write_bytes(BODY + b"more")
    path.with_name(".data.hdf5.part.tag").write_text(server.tag)
    fetch(server, path)
    assert path.read_bytes() == BODY


def test_a_file_that_is_there_is_never_touched(server, path):
    path.parent.mkdir()
    path.write_text("mine")
    fetch(server, path)
    assert (path.read_text(), server.asked) == ("mine", [])


def test_size_and_hash_are_checked_and_the_wrong_file_is_removed(server, path):
    with pytest.raises(ValueError, match=f"it has {len(BODY)} bytes there, 7 are published; put the file at"):
        fetch(server, path, size=7)
    with pytest.raises(ValueError, match=r"its sha256 is .*, 00 is due"):
        fetch(server, path, sha256="00")
    assert list(path.parent.iterdir()) == []
    fetch(server, path, size=len(BODY), sha256=hashlib.sha256(BODY).hexdigest())
    assert path.read_bytes() == BODY


def test_a_web_page_is_not_data(server, path):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(ValueError, match="gives a web page, not a file; the data may have moved"):
        fetch(server, path)
    assert not path.exists()


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (403, 1), (503, ATTEMPTS)])
def test_an_answer_that_is_no_file_is_one_line(server, path, status, asked):
    server.status = status
    with pytest.raises(OSError, match=f"the server answers {status}") as caught:
        fetch(server, path)
    assert "\n" not in str(caught.value)
    assert len(server.asked) == asked


def test_an_empty_file_is_refused(server, path):
    server.body = b""
    server.tag = ""
    with pytest.raises((ValueError, OSError), match=r"it is empty|the server answers 416"):
        fetch(server, path)
    assert not path.exists()


def test_plain_http_is_refused_unless_asked_for(server, path):
    with pytest.raises(ValueError, match="is not an https address; trajrl downloads over https only"):
        download(server.url, path)
    with pytest.raises(ValueError, match="is not an https address"):
        download("file:///etc/passwd", path, insecure=True)
    server.redirect = "ftp://127.0.0.1/data.hdf5"
    with pytest.raises(ValueError, match=r"ftp://127.0.0.1/data.hdf5 is not an https address"):
        fetch(server, path)
    assert not path.exists()


def test_no_server_is_one_line_after_some_attempts_each_reported(path, capsys):
    waits = []
    with pytest.raises(
        OSError, match=f"Connection refused; nothing came; try again, or put .* {path} by hand"
    ):
        download("http://127.0.0.1:9/data", path, insecure=True, wait=waits.append)
    assert waits == [2.0**n for n in range(1, ATTEMPTS)]
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(waits)
    assert all("refused; trying again in" in line for line in printed)


def test_two_downloads_of_one_file_do_not_mix(server, path):
    path.parent.mkdir()
    with path.with_name(".data.hdf5.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="is being downloaded by another program"):
            fetch(server, path)


def test_progress_counts_what_is_still_to_come(server, path):
    shown = []

    def show(items, what, total=None, unit=""):
        shown.append((what, total, unit))
        yield from items

    server.breaks = [2 << 20]
    fetch(server, path, show=show)
    assert shown == [("download data.hdf5", 5, "MiB"), ("download data.hdf5", 3, "MiB")]


def test_a_name_is_fetched_and_opened(server, tmp_path, monkeypatch):
    server.body = hdf5(tmp_path / "served", chained(d4rl(), (9, 19))).read_bytes()
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "cache"))

    def local(url, path, show=None, **known):
        return download(server.url, path, show, insecure=True)

    monkeypatch.setattr("trajrl.formats.dataset_names.fetch", local)
    source = open_source("hopper-medium-v2")
    assert [len(e) for e in source.episodes()] == [10, 10]
    assert source.environment == "d4rl:hopper-medium-v2"


def test_without_a_size_nothing_is_taken_for_whole(server, path):
    server.silent = True
    with pytest.raises(ValueError, match=r"does not say how long it is.*put the file at .*hdf5 by hand"):
        fetch(server, path)
    assert not path.exists()
    fetch(server, path, size=len(BODY))
    assert path.read_bytes() == BODY


def test_a_line_that_breaks_without_a_length_is_not_the_end(server, path):
    server.silent, server.breaks = True, [2_000_000]
    assert len(fetch(server, path, size=len(BODY))) == 1
    assert path.read_bytes() == BODY


def test_more_than_is_due_is_never_written(server, path):
    server.silent, server.body = True, BODY + b"more"
    with pytest.raises(ValueError, match="its sha256 is"):
        fetch(server, path, size=1000, sha256="00")
    assert list(path.parent.iterdir()) == []


def test_a_file_beyond_the_cap_is_refused_before_it_is_read(server, path, monkeypatch):
    monkeypatch.setattr("trajrl.formats.base.transfer.LARGEST_BYTES", 1 << 20)
    with pytest.raises(ValueError, match="are not fetched unasked; put the file at"):
        fetch(server, path)
    assert not path.exists()


def test_a_server_that_trickles_is_stopped_at_the_deadline_and_what_came_is_kept(server, path):
    server.trickle = 1000
    with pytest.raises(OSError, match=r"it took too long, [1-9][0-9]* bytes came; what came is kept"):
        fetch(server, path, seconds=0.5)
    server.trickle = 0
    fetch(server, path)
    assert path.read_bytes() == BODY
    assert server.asked[-1] != "bytes=0-"


def test_a_slow_piece_is_spoken_of_while_it_comes(server, path, monkeypatch, capsys):
    monkeypatch.setattr("trajrl.formats.base.transfer.SLOW_SECONDS", 0.1)
    server.body, server.trickle = BODY[:20_000], 1000
    fetch(server, path)
    assert "data.hdf5: " in capsys.readouterr().out


def test_without_a_network_it_fails_after_one_more_try(path, monkeypatch):
    def absent(*_):
        raise urllib.error.URLError(socket.gaierror(-3, "Temporary failure in name resolution"))

    monkeypatch.setattr("trajrl.formats.base.transfer.get", absent)
    waits: list[float] = []
    with pytest.raises(OSError, match=r"name resolution; is there a network\?"):
        download("https://nowhere.invalid/x", path, wait=waits.append)
    assert sum(waits) <= 2


def test_a_file_that_another_program_finished_meanwhile_stays_whole(server, path, monkeypatch):
    """The part is opened, then renamed by the other program, then held: it is the finished file by now."""
    held = fcntl.flock

    def finished_first(file, how):
        with suppress(FileNotFoundError):
            path.with_name(".data.hdf5.part").rename(path)
            path.write_bytes(BODY)
        held(file, how)

    monkeypatch.setattr(fcntl, "flock", finished_first)
    with pytest.raises(OSError, match="by another program; try again"):
        fetch(server, path)
    assert (path.read_bytes() == BODY, server.asked) == (True, [])


def test_a_part_that_is_a_link_is_not_written_through(server, path, tmp_path):
    path.parent.mkdir()
    (tmp_path / "mine").write_text("mine")
    path.with_name(".data.hdf5.part").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="a symbolic link"):
        fetch(server, path)
    assert (tmp_path / "mine").read_text() == "mine"
