"""A store on a server that is slow, breaks off, lies and changes: each case ends right or in one line."""

from __future__ import annotations

import gc
import os
import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.store.episodes import assert_same, every_anchor, random_episode, write
from trajrl import TrajectoryStore, WindowSpec, gather
from trajrl.cli.bench.range_server import RangeHandler, serving
from trajrl.cli.main import dispatch
from trajrl.store.remote import reading
from trajrl.store.remote.read_ahead import ReadAhead

SPEC = WindowSpec(history=3, chunk=4, horizon=5, next_actions=True, return_gamma=0.9)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep far stores in a folder of the test, and ask again without a pause."""
    monkeypatch.setenv("TRAJRL_FAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reading, "PAUSES", (0.0, 0.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write 30 episodes as one store and as two, each with blocks enough to be fetched apart."""
    where = tmp_path_factory.mktemp("server")
    episodes = [random_episode(0, index, marks=True) for index in range(30)]
    write(where / "x.h5", episodes, environment="e")
    write(where / "a.h5", episodes[:11], environment="e")
    write(where / "b.h5", episodes[11:], environment="e")
    return where


def served(
    folder: Path, name: str = "x.h5", handler: type[RangeHandler] = RangeHandler, seconds: float = 0.0
):
    """Serve the folder; the address is that of a file in it.

    The server is this process: no garbage may be collected in its threads, as an HDF5 object found there
    waits for h5py's lock, which whoever reads the answer holds.
    """

    @contextmanager
    def serve():
        gc.disable()
        try:
            with serving(folder, seconds, handler) as url:
                yield url + name
        finally:
            gc.enable()

    return serve()


def assert_same_windows(far: TrajectoryStore, near: TrajectoryStore) -> None:
    anchors = every_anchor(near)
    for mine, theirs in zip(gather(far, anchors, SPEC), gather(near, anchors, SPEC)):
        assert mine is theirs is None or torch.equal(mine, theirs)


@pytest.mark.parametrize("memory", ["auto", "ram"])
def test_a_far_store_is_the_store(folder, memory):
    near = TrajectoryStore.open(folder / "x.h5")
    with served(folder) as url:
        far = TrajectoryStore.open(url, memory)
        assert_same_windows(far, near)
        for mine, theirs in zip(far.episodes(), near.episodes()):
            assert_same(mine, theirs)
        assert (far.fingerprint, far.attributes["environment"]) == (near.fingerprint, "e")
        shards = TrajectoryStore.open([url.replace("x.h5", "a.h5"), str(folder / "b.h5")], memory)
        assert_same_windows(shards, near)


def test_no_column_is_read_before_it_is_drawn_and_none_twice(folder):
    with served(folder) as url:
        for expected in (True, False):
            far = TrajectoryStore.open(url)
            fetcher = far.obs.base.far.parts[0].fetcher
            assert not fetcher.num_requests
            gather(far, every_anchor(far), SPEC)
            assert bool(fetcher.num_requests) == expected  # the second finds all in the cache


class Slow(RangeHandler):
    """Sends a byte now and then a pause."""

    def send(self, content, start, size, mark):
        time.sleep(0.02)
        super().send(content, start, size, mark)


class BreaksOff(RangeHandler):
    """Sends half of every second answer."""

    count = 0

    def send(self, content, start, size, mark):
        type(self).count += 1
        if type(self).count % 2:
            return super().send(content, start, size, mark)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{start + len(content) - 1}/{size}")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", mark)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True
        return None


class Stutters(RangeHandler):
    """Answers every second request with an error of the server."""

    count = 0

    def send(self, content, start, size, mark):
        type(self).count += 1
        if type(self).count % 2:
            self.send_error(503)
        else:
            super().send(content, start, size, mark)


class FlipsOnce(RangeHandler):
    """Sends a wrong byte in the first answers that hold columns."""

    left = 2

    def send(self, content, start, size, mark):
        if len(content) < 100_000 and len(content) > 300 and type(self).left and start:
            type(self).left -= 1
            content = content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]
        super().send(content, start, size, mark)


@pytest.mark.parametrize("handler", [Slow, BreaksOff, Stutters, FlipsOnce])
def test_what_goes_wrong_once_ends_right(folder, handler):
    with served(folder, handler=handler) as url:
        assert_same_windows(TrajectoryStore.open(url), TrajectoryStore.open(folder / "x.h5"))


class SendsAll(RangeHandler):
    """Knows no ranges."""

    def send(self, content, start, size, mark):
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()


class OtherRange(RangeHandler):
    """Says that it sends another range than was asked for."""

    def send(self, content, start, size, mark):
        super().send(content, start + 1, size + 1, mark)


class TooShort(RangeHandler):
    """Says the right range and sends less."""

    def send(self, content, start, size, mark):
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{start + len(content) - 1}/{size}")
        self.send_header("Content-Length", str(len(content) - 1))
        self.send_header("ETag", mark)
        self.end_headers()
        self.wfile.write(content[:-1])


class Garbles(RangeHandler):
    """Sends other bytes than are in the file, in the columns alone or everywhere."""

    everywhere = False

    def send(self, content, start, size, mark):
        if (self.everywhere or start) and len(content) > 9:
            content = content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
        super().send(content, start, size, mark)


class GarblesAll(Garbles):
    """Sends other bytes everywhere."""

    everywhere = True


LINES = {
    SendsAll: "sends whole files only, no ranges", OtherRange: "the server says 'bytes 1-",
    TooShort: "not [0-9]+; tried 3 times", Garbles: "sends other bytes than were written",
    GarblesAll: "damaged|HDF5|not what was written",
}  # fmt: skip


@pytest.mark.parametrize("handler", LINES)
def test_what_stays_wrong_is_one_line_and_nothing_is_believed(folder, handler, tmp_path):
    with served(folder, handler=handler) as url:
        with pytest.raises((ValueError, OSError), match=LINES[handler]) as error:
            gather(far := TrajectoryStore.open(url), every_anchor(far), SPEC)
        assert "\n" not in str(error.value)
        assert url in str(error.value)
    for used in tmp_path.glob("cache/*/used"):
        assert not np.fromfile(used, np.uint32).any()


class Stalls(RangeHandler):
    """Answers some requests, and from then on none."""

    left = 0

    def send(self, content, start, size, mark):
        Stalls.left -= 1
        if Stalls.left < 0:
            time.sleep(30)
        super().send(content, start, size, mark)


@pytest.mark.parametrize("answered", [0, 1, 3])
def test_a_server_that_stalls_is_said_and_given_up_once(folder, answered, monkeypatch, capsys):
    for name, seconds in (("TRY", 0.1), ("READ", 0.25), ("QUIET", 0.0)):
        monkeypatch.setattr(reading, f"{name}_SECONDS", seconds)
    monkeypatch.setattr(Stalls, "left", answered)
    with served(folder, handler=Stalls) as url:
        began = time.monotonic()
        with pytest.raises(OSError, match=r"cannot be reached|broke off") as error:
            gather(far := TrajectoryStore.open(url), every_anchor(far), SPEC)
        assert time.monotonic() - began < 2
    assert re.search(rf"{url}.*; tried 3 times in 0 s$", str(error.value))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(url)
    assert line.endswith("now try 2 of 3")


@pytest.mark.parametrize("handler", [Garbles, TooShort])
def test_what_cannot_be_read_is_not_said_of_the_sampler(folder, handler):
    from trajrl.samplers import make_sampler
    from trajrl.training.checked_calls import windows

    with served(folder) as url:
        far = TrajectoryStore.open(url)
        sampler = make_sampler("uniform", far)
        with served(folder, handler=handler) as other:
            far.obs.base.far.parts[0].fetcher.source.url = other
            with pytest.raises((ValueError, OSError)) as error:
                windows(far, every_anchor(far), SPEC, torch.device("cpu"), sampler)
    assert str(error.value).startswith(other)


def test_what_was_asked_ahead_of_a_server_that_stalls_is_dropped(large, monkeypatch):
    from trajrl.core.rng import stream
    from trajrl.samplers import make_sampler

    for name, seconds in (("TRY", 0.1), ("READ", 0.25)):
        monkeypatch.setattr(reading, f"{name}_SECONDS", seconds)
    monkeypatch.setattr(Stalls, "left", 1000)
    with served(large.parent, handler=Stalls) as url:
        far = TrajectoryStore.open(url)
        sampler, spec = make_sampler("uniform", far), WindowSpec(history=4, chunk=3, horizon=9)
        monkeypatch.setattr(Stalls, "left", 0)
        ahead = ReadAhead(far, spec)
        for step in range(60):
            ahead.ask(sampler.sample(stream(0, "sampler", step), 16))
        began = time.monotonic()
        with pytest.raises(OSError, match="tried 3 times"):
            gather(far, sampler.sample(stream(0, "sampler", 99), 16), spec)
        ahead.wait()
        assert time.monotonic() - began < 2
        assert not ahead.pending


def test_what_is_not_there_is_one_line(folder, monkeypatch):
    with (
        served(folder, "none.h5") as url,
        pytest.raises(FileNotFoundError, match=r"has no such file \(404\)"),
    ):
        TrajectoryStore.open(url)
    with pytest.raises(OSError, match="cannot be reached"):
        TrajectoryStore.open("http://127.0.0.1:9/x.h5")
    with pytest.raises(ValueError, match="https only"):
        TrajectoryStore.open("http://example.org/x.h5")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ValueError, match="needs the extra 'far'"):
        TrajectoryStore.open("s3://bucket/x.h5")


def test_a_file_that_changes_midway_is_noticed(folder, tmp_path):
    (tmp_path / "x.h5").write_bytes((folder / "x.h5").read_bytes())
    with served(tmp_path) as url:
        far = TrajectoryStore.open(url)
        (tmp_path / "x.h5").write_bytes((folder / "b.h5").read_bytes())
        with pytest.raises(ValueError, match="was changed while it was read"):
            gather(far, every_anchor(far), SPEC)
        again = TrajectoryStore.open(url)  # a new version has a mirror of its own
        assert_same_windows(again, TrajectoryStore.open(folder / "b.h5"))


def test_a_damaged_cache_is_fetched_again(folder, tmp_path):
    near = TrajectoryStore.open(folder / "x.h5")
    with served(folder) as url:
        assert_same_windows(TrajectoryStore.open(url), near)
        columns = next(tmp_path.glob("cache/*/columns"))
        with columns.open("r+b") as file:
            file.write(b"\xff" * 64)
        far = TrajectoryStore.open(url)
        assert_same_windows(far, near)
        assert far.obs.base.far.parts[0].fetcher.num_requests == 1


def test_a_store_without_digests_of_blocks_is_compared_whole(folder, tmp_path):
    import h5py

    from trajrl.store.file.hdf5 import seal

    (tmp_path / "old.h5").write_bytes((folder / "x.h5").read_bytes())
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        del file["stats/block_digests"]
        seal(file)
    with served(tmp_path, "old.h5") as url:
        assert_same_windows(TrajectoryStore.open(url), TrajectoryStore.open(folder / "x.h5"))
        assert_same_windows(TrajectoryStore.open(url), TrajectoryStore.open(folder / "x.h5"))
    with served(tmp_path, "old.h5", Garbles) as url, pytest.raises((ValueError, OSError)):
        TrajectoryStore.open(url)


def test_a_packed_store_is_read_whole_and_verified(folder, tmp_path):
    from trajrl.store.file.pack import pack

    pack(folder / "x.h5", tmp_path / "p.h5")
    with served(tmp_path, "p.h5") as url:
        assert_same_windows(TrajectoryStore.open(url), TrajectoryStore.open(folder / "x.h5"))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Write a store of about 60 blocks."""
    from trajrl.cli.bench.generated import generate

    path = tmp_path_factory.mktemp("large") / "x.h5"
    generate(path, 60_000, 0, 28, 6)
    return path


def test_the_cache_keeps_to_its_bound_and_draws_stay_right(large, tmp_path, monkeypatch):
    monkeypatch.setenv("TRAJRL_FAR_CACHE_GB", "0.004")
    near = TrajectoryStore.open(large)
    with served(large.parent) as url:
        far = TrajectoryStore.open(url)
        for e in (0, 20, 40, 59, 1, 20):
            assert_same(far.episode(e), near.episode(e))
            held = sum(path.stat().st_blocks * 512 for path in tmp_path.glob("cache/*/columns"))
            assert 0 < held <= 4_000_000
        assert far.obs.base.far.parts[0].fetcher.mirror.num_bytes() < large.stat().st_size / 2
        monkeypatch.setenv("TRAJRL_FAR_CACHE_GB", "0.0001")
        with pytest.raises(ValueError, match="too small for one read"):
            far.episode(10)


def test_reading_ahead_leaves_nothing_to_fetch(large):
    from trajrl.core.rng import stream
    from trajrl.samplers import make_sampler

    with served(large.parent) as url:
        far = TrajectoryStore.open(url)
        sampler, spec = make_sampler("uniform", far), WindowSpec(history=4, chunk=3, horizon=9)
        ahead = ReadAhead(far, spec)
        draws = [sampler.sample(stream(0, "sampler", step), 16) for step in range(3)]
        for anchors in draws:
            ahead.ask(anchors)
        ahead.wait()
        fetcher = far.obs.base.far.parts[0].fetcher
        before = fetcher.num_requests
        for anchors in draws:
            gather(far, anchors, spec)
        assert before == fetcher.num_requests > 0


@pytest.mark.slow
def test_two_processes_share_a_cache_that_is_too_small_for_both(large, tmp_path, monkeypatch):
    import subprocess

    code = (
        "import sys, numpy as np\nfrom trajrl import TrajectoryStore\n"
        "far, near = (TrajectoryStore.open(p) for p in sys.argv[1:3])\n"
        "for e in np.random.default_rng(int(sys.argv[3])).integers(0, 60, 60):\n"
        "    assert (far.episode(int(e)).obs == near.episode(int(e)).obs).all(), e\nprint('same')\n"
    )
    environment = {**os.environ, "TRAJRL_FAR_CACHE_GB": "0.003"}
    with served(large.parent) as url:
        both = [
            subprocess.Popen(
                [sys.executable, "-c", code, url, str(large), str(seed)], env=environment,
                stdout=subprocess.PIPE, text=True,
            ) for seed in (1, 2)
        ]  # fmt: skip
        assert [process.communicate(timeout=120)[0].strip() for process in both] == ["same", "same"]


def test_fsspec_reads_other_systems(folder):
    import fsspec

    system = fsspec.filesystem("memory")
    for name in ("a.h5", "b.h5"):
        system.pipe_file(f"/far/{name}", (folder / name).read_bytes())
    far = TrajectoryStore.open("memory://far/*.h5")
    assert_same_windows(far, TrajectoryStore.open(folder / "x.h5"))
    with pytest.raises(FileNotFoundError, match="no such file"):
        TrajectoryStore.open("memory://far/none.h5")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("reference://a.h5::file:///tmp/refs.json", "reference:// is not read; addresses are https://"),
        ("simplecache::s3://bucket/a.h5", "no such file"),
        ("s3://bucket/refs.json::reference://a.h5", "leads through another"),
        ("s3://bucket/*.h5::zip://x.zip", "leads through another"),
        ("dir://x.h5", "dir:// is not read"), ("github://a:b@c/x.h5", "github:// is not read"),
        ("ftp://127.0.0.1/x.h5", "ftp:// is not read"), ("file:///tmp/x.h5", "by its path, /tmp/x.h5"),
    ],
)  # fmt: skip
def test_no_other_system_of_fsspec_is_asked(address, said, monkeypatch):
    import fsspec

    def never(*words, **options):
        raise AssertionError(f"fsspec was asked for {words}")

    monkeypatch.setattr(fsspec.core, "url_to_fs", never)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(said)) as caught:
        TrajectoryStore.open(address)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words", [["import", "URL", "--out", "y.h5"], ["doctor", "URL"], ["page", "URL"],
                                   ["verify", "URL"], ["pack", "URL", "--out", "y.h5"],
                                   ["merge", "URL", "URL2", "--out", "y.h5"]])  # fmt: skip
def test_what_reads_files_alone_says_what_takes_an_address(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = "https://host/x.h5"
    assert dispatch(["store", *[url if word == "URL" else word for word in words]]) == 1
    assert (
        f"{url} lies elsewhere, and this reads files of this machine: download it first; a store is read "
        "where it lies by `offline --data` and `store info`"
    ) in "".join(capsys.readouterr())
