"""The child of tests/faults.py: runs a program, counts its writes, and kills itself at the n-th one.

Run as `python faults_child.py PLAN`; PLAN is JSON.  On the pipe it reports "w" at the first write, and
"end COUNT BYTES" when the program has ended by itself.  With "room" the disk is full after so many bytes.
A write is a write, sync, truncation or rename that Python code makes to a file under the watched folder;
those of C code (HDF5, torch) are not seen: timed kills are for them.  With {"nursery": "module ..."} as PLAN
it imports those, and forks a child for each further plan that it reads from standard input.
"""

from __future__ import annotations

import builtins
import errno
import importlib
import io
import json
import os
import runpy
import select
import signal
import sys
import time
import traceback
from pathlib import Path

plan = json.loads(sys.argv[1])
CALLS = ("fsync", "replace", "rename", "truncate", "ftruncate")
real = {name: getattr(os, name) for name in ("write", *CALLS)}
real_open = io.open
count = 0
num_bytes = 0


def watched(target: object) -> bool:
    """Return whether a path or a descriptor is a file under the watched folder."""
    if isinstance(target, int):
        path = os.readlink(f"/proc/self/fd/{target}")
    else:
        path = os.path.abspath(os.fsdecode(target))
    return path.startswith(plan["under"] + os.sep)


def met(write_half=None) -> None:
    """Count one write that is about to happen; at the n-th one die, after half of it where asked."""
    global count
    count += 1
    if count == 1:
        real["write"](plan["pipe"], b"w")
    if count == plan["after_writes"]:
        if plan["torn"] and write_half:
            write_half()
        os.kill(os.getpid(), signal.SIGKILL)


def take_room(size: int) -> None:
    """Count bytes that are about to be written; fail as a full disk does where they do not fit."""
    global num_bytes
    num_bytes += size
    if plan.get("room") is not None and num_bytes > plan["room"]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Raw(io.FileIO):
    """A file whose writes are counted."""

    def write(self, block) -> int:
        block = memoryview(block).cast("B")
        met(lambda: super(Raw, self).write(block[: len(block) // 2]))
        take_room(len(block))
        return super().write(block)

    def truncate(self, size=None) -> int:
        met()
        return super().truncate(size)


def open_counted(
    file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None
):
    """Open like the builtin; files under the watched folder that can be written to are counted."""
    writes = any(letter in mode for letter in "wax+")
    if not writes or not watched(file):
        return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
    if buffering == 0:
        return raw
    size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
    buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw, size)
    return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)


def write_counted(descriptor, block) -> int:
    if watched(descriptor):
        met(lambda: real["write"](descriptor, block[: len(block) // 2]))
        take_room(len(block))
    return real["write"](descriptor, block)


def counted(name: str):
    """Wrap a call of `os` whose first argument is a path or a descriptor."""

    def call(target, *rest, **named):
        if watched(target):
            met()
        return real[name](target, *rest, **named)

    return call


def main() -> None:
    """Put the counters in place and run the program."""
    builtins.open = io.open = open_counted
    os.write = write_counted
    for name in CALLS:
        setattr(os, name, counted(name))
    try:
        if "code" in plan:
            exec(compile(plan["code"], "<child>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = plan["argv"]
            sys.path.insert(0, str(Path(sys.argv[0]).parent))
            runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        real["write"](plan["pipe"], f"end {count} {num_bytes}".encode())


def raise_child() -> None:
    """Run one plan in a fork of this process, kill it where that was asked for, and tell how it ended."""
    near, plan["pipe"] = os.pipe()
    child = os.fork()
    if not child:
        os.close(near)
        live()
    os.close(plan["pipe"])
    said = b""
    if plan["after_seconds"] is not None:
        select.select([near], [], [], plan["limit"])
        said = os.read(near, 64)
        if not said.startswith(b"end"):
            time.sleep(plan["after_seconds"])
            os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    while block := os.read(near, 4096):
        said += block
    os.close(near)
    print(json.dumps({"code": code, "said": said.decode()}), flush=True)


def live() -> None:
    """Be the child: run the plan, with its own log, and leave without a look back."""
    code = 0
    log = os.open(plan["log"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    signal.alarm(int(plan["limit"]))
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if "nursery" in plan:
    for module in plan["nursery"].split():
        importlib.import_module(module)
    for line in sys.stdin:
        plan = json.loads(line)
        raise_child()
else:
    main()
