"""Opening plain files of a folder that another hand may have made, such as a run's.

A pipe would let a reader wait for ever, and a symbolic link would let a writer write elsewhere: neither is
opened.  A file of several names, as `cp -al` makes them, is copied before it is changed.  What can be written
whole goes through `atomic_files` instead.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Literal

from trajrl.core.atomic_files import new_file

WRITING = {
    "lock": ("r+b", os.O_RDWR | os.O_CREAT),  # its bytes stay what they are, so several names do no harm
    "append": ("ab", os.O_WRONLY | os.O_APPEND | os.O_CREAT),
    "change": ("r+b", os.O_RDWR),
    "begin": ("w+b", os.O_RDWR | os.O_CREAT | os.O_EXCL),
}


def open_to_read(path: Path) -> BufferedReader:
    """Open a plain file for reading."""
    return os.fdopen(_plain(path, os.open(path, os.O_RDONLY | os.O_NONBLOCK)), "rb")


def open_to_write(path: Path, how: Literal["lock", "append", "change", "begin"], **more: Any) -> IO[bytes]:
    """Open a plain file, and no link to one, to be changed where it lies; nothing of it is cut off."""
    mode, flags = WRITING[how]
    if how in ("append", "change"):
        _keep_other_names(path)
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a symbolic link, which is not written through", str(path)) from error
        raise
    return os.fdopen(_plain(path, handle), mode, **more)


def read_bytes(path: Path) -> bytes:
    """Return all bytes of a plain file."""
    with open_to_read(path) as file:
        return file.read()


def read_text(path: Path) -> str:
    """Return a plain file as text; what is none is replaced by a sign for that."""
    return read_bytes(path).decode(errors="replace")


def _plain(path: Path, handle: int) -> int:
    """Return the handle of a plain file; close and refuse that of anything else."""
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError(f"{path} is not a plain file")
    return handle


def _keep_other_names(path: Path) -> None:
    """Put a copy in the place of a file that has other names too: what they lead to stays as it is."""
    found = path.lstat() if os.path.lexists(path) else None
    if found is not None and stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        with new_file(path) as copy:
            shutil.copy(path, copy)
