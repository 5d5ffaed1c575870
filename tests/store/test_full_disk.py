"""Full disks: whatever writes a store leaves one line and no file; HDF5 never meets a full disk."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from episodes import random_episode, write
from faults import ROOT

SMALL_DISK = 1 << 20
# Stands in for a disk of a megabyte where this user may not mount one: reserving space fails beyond it.
STAND_IN = f"""
import errno, os
def reserve(descriptor, at, size, used=[0]):
    if at + size > {SMALL_DISK}:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
os.posix_fallocate = reserve
"""
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))\n"
PACK = """
from pathlib import Path
from trajrl.store.file import pack
pack.{what}(Path({source!r}), Path({out!r}))
"""
IMPORT = """
from pathlib import Path
from trajrl.store.store import TrajectoryStore
from trajrl.store.file.writer import StoreWriter
with StoreWriter(Path({out!r})) as writer:
    for episode in TrajectoryStore.open({source!r}).episodes():
        writer.append(episode)
"""
WRITERS = {
    "import": IMPORT,
    "pack": PACK.replace("{what}", "pack"),
    "unpack": PACK.replace("{what}", "unpack"),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A store of 1.6 megabytes, which packing makes little smaller."""
    folder = tmp_path_factory.mktemp("source")
    return write(folder / "x.h5", (random_episode(1, e, obs_dim=20) for e in range(2600)))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte, and code that stands in for it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(disk)]
    mounted = (
        shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    )
    yield disk, "" if mounted else STAND_IN
    if mounted:
        subprocess.run(["umount", str(disk)], check=True)


def fails(code: str) -> str:
    """Run code that must fail with an exception, and return the last line it printed."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr  # not a signal: nothing crashed
    return ended.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("taken", [0, 400_000, 800_000, 1_000_000, 1_040_000])
def test_full_disk_leaves_one_line_and_no_file(small_disk, source, writer, taken):
    disk, stand_in = small_disk
    (disk / "taken").write_bytes(bytes(taken))
    line = fails(stand_in + WRITERS[writer].format(source=str(source), out=str(disk / "out.h5")))
    assert line.endswith(
        f"out.h5 could not be written: {os.strerror(errno.ENOSPC)}; nothing is left under that name"
    )
    assert [entry.name for entry in disk.iterdir()] == ["taken"]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("limit", [100, 20_000, 300_000, 1_200_000])
def test_limit_on_file_size_leaves_one_line_and_no_file(tmp_path, source, writer, limit):
    code = LIMITED.format(limit=limit) + WRITERS[writer].format(
        source=str(source), out=str(tmp_path / "out.h5")
    )
    line = fails(code)
    assert f"out.h5 could not be written: {os.strerror(errno.EFBIG)}" in line
    assert list(tmp_path.iterdir()) == []
