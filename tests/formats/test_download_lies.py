"""Downloads against a server that lies: about the size, the part it sends, the coding, and when it ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from trajrl.formats.base.download import download

GOOD = bytes(range(100))
WHOLE = b'HTTP/1.1 200 OK\r\nETag: "a"\r\nContent-Length: 100\r\n\r\n'
Answer = Callable[[socket.socket, int], None]  # (line, number of the request)


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Give the address of a server that answers with raw bytes."""
    door = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        number = 0
        with suppress(OSError):
            while True:
                line, _ = door.accept()
                number += 1
                threading.Thread(target=one, args=(line, number), daemon=True).start()

    def one(line: socket.socket, number: int) -> None:
        with line, suppress(OSError):
            asked = b""
            while b"\r\n\r\n" not in asked and (more := line.recv(4096)):
                asked += more
            answer(line, number)
            line.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}/f.bin"
    finally:
        door.close()


def then_whole(second: bytes) -> Answer:
    """Break off after 50 of 100 bytes, answer `second` once, then send the file whole."""

    def answer(line: socket.socket, number: int) -> None:
        line.sendall({1: WHOLE + GOOD[:50], 2: second}.get(number, WHOLE + GOOD))

    return answer


def part(first: int, last: int, total: int, tag: str, body: bytes) -> bytes:
    """Return a 206 answer."""
    place = f"Content-Range: bytes {first}-{last}/{total}\r\nContent-Length: {len(body)}\r\n"
    return f'HTTP/1.1 206 P\r\nETag: "{tag}"\r\n{place}\r\n'.encode() + body


@pytest.mark.parametrize(
    "second",
    [
        b"HTTP/1.1 416 x\r\nContent-Range: bytes */50\r\nContent-Length: 0\r\n\r\n",
        part(0, 49, 100, "a", GOOD[:50]),
        part(50, 99, 100, "b", b"Z" * 50),
        part(50, 98, 100, "a", GOOD[50:99]),
        part(50, 59, 60, "a", GOOD[50:60]),
        b'HTTP/1.1 206 P\r\nETag: "a"\r\nContent-Length: 50\r\n\r\n' + b"Z" * 50,
    ],
    ids=["416", "other start", "other tag", "other end", "other total", "no range"],
)
@pytest.mark.parametrize("size", [None, 100])
def test_a_part_that_does_not_continue_what_came_begins_again(tmp_path, second, size):
    with answering(then_whole(second)) as url:
        path = download(url, tmp_path / "f.bin", insecure=True, wait=lambda _: None, size=size)
    assert path.read_bytes() == GOOD


def test_a_part_that_continues_is_appended(tmp_path):
    with answering(then_whole(part(50, 99, 100, "a", GOOD[50:]))) as url:
        path = download(url, tmp_path / "f.bin", insecure=True, wait=lambda _: None, size=100)
    assert path.read_bytes() == GOOD


def test_a_server_that_never_continues_rightly_is_left_after_some_attempts(tmp_path):
    def answer(line: socket.socket, number: int) -> None:
        line.sendall(WHOLE + GOOD[:50] if number % 2 else part(0, 49, 100, "a", GOOD[:50]))

    with answering(answer) as url, pytest.raises(OSError, match="what came is kept"):
        download(url, tmp_path / "f.bin", insecure=True, wait=lambda _: None)
    assert not (tmp_path / "f.bin").exists()


@pytest.mark.parametrize(
    "length", ["Transfer-Encoding: chunked\r\nContent-Length: 10", "Content-Length: \xb2",
               "Content-Length: " + "9" * 5000],
    ids=["chunked", "superscript", "5000 digits"],
)  # fmt: skip
def test_a_length_that_says_nothing_is_no_length(tmp_path, length):
    head = f"HTTP/1.1 200 OK\r\n{length}\r\n\r\n".encode("latin1")
    body = b"64\r\n" + GOOD + b"\r\n0\r\n\r\n" if "chunked" in length else GOOD
    with answering(lambda line, _: line.sendall(head + body)) as url:
        with pytest.raises(ValueError, match=rf"{url}: the server does not say how long it is"):
            download(url, tmp_path / "f.bin", insecure=True)
        path = download(url, tmp_path / "f.bin", insecure=True, size=100)
    assert path.read_bytes() == GOOD


def test_a_file_sent_in_another_coding_is_refused(tmp_path):
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n"
    words = pytest.raises(ValueError, match=r"f.bin is sent compressed \('gzip'\)")
    with answering(lambda line, _: line.sendall(head + GOOD)) as url, words:
        download(url, tmp_path / "f.bin", insecure=True, size=100)


def drip_header(line: socket.socket, number: int) -> None:
    """Send one byte of a header at a time."""
    line.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(100):
        line.sendall(b"a")
        time.sleep(0.1)


def go_on(line: socket.socket, number: int) -> None:
    """Say 100 Continue for ever."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        line.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@pytest.mark.parametrize("answer", [drip_header, go_on])
def test_the_deadline_holds_while_headers_arrive(tmp_path, answer):
    started = time.monotonic()
    with answering(answer) as url, pytest.raises(OSError, match=f"{url}: it took too long, 0 bytes came"):
        download(url, tmp_path / "f.bin", insecure=True, seconds=0.5)
    assert time.monotonic() - started < 5


def test_redirects_without_an_end_are_our_own_words(tmp_path):
    head = b"HTTP/1.1 302 x\r\nLocation: /%d\r\nContent-Length: 0\r\n\r\n"
    words = pytest.raises(OSError, match=r"http://.*f.bin: the server redirects more than 10 times")
    with answering(lambda line, number: line.sendall(head % number)) as url, words:
        download(url, tmp_path / "f.bin", insecure=True)


@pytest.mark.parametrize(
    ("head", "words"), [("", "does not say where the file is now"), ("Location: //[x", "is no address")]
)
def test_a_redirect_to_nowhere_is_one_line(tmp_path, head, words):
    answer = f"HTTP/1.1 302 x\r\n{head}\r\nContent-Length: 0\r\n\r\n".replace("\r\n\r\nC", "\r\nC")
    due = pytest.raises(OSError, match=f"http://.*f.bin: .*{words}")
    with answering(lambda line, _: line.sendall(answer.encode())) as url, due:
        download(url, tmp_path / "f.bin", insecure=True)


def test_a_redirect_is_followed(tmp_path):
    def answer(line: socket.socket, number: int) -> None:
        line.sendall(b"HTTP/1.1 302 x\r\nLocation: /a b\r\n\r\n" if number == 1 else WHOLE + GOOD)

    with answering(answer) as url:
        assert download(url, tmp_path / "f.bin", insecure=True).read_bytes() == GOOD


@pytest.mark.parametrize("size", [None, 100])
def test_two_lengths_that_differ_are_refused(tmp_path, size):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Length: 50\r\n\r\n"
    said = pytest.raises(ValueError, match="the server says two lengths of it, 100 and 50")
    with answering(lambda line, _: line.sendall(head + GOOD)) as url, said:
        download(url, tmp_path / "f.bin", insecure=True, size=size)
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_is_said_twice_is_one(tmp_path):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Length: 100\r\n\r\n"
    with answering(lambda line, _: line.sendall(head + GOOD)) as url:
        assert download(url, tmp_path / "f.bin", insecure=True).read_bytes() == GOOD


def test_without_a_tag_nothing_is_said_to_continue(tmp_path):
    asked = []

    def answer(line: socket.socket, number: int) -> None:
        asked.append(number)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
        line.sendall(head + (GOOD if len(asked) > 7 else GOOD[:50]))

    with answering(answer) as url:
        with pytest.raises(OSError, match=r"does not say which version .* the same command begins again"):
            download(url, tmp_path / "f.bin", insecure=True, wait=lambda _: None)
        assert download(url, tmp_path / "f.bin", insecure=True).read_bytes() == GOOD
