"""Opening plain files of a folder that another hand may have made, such as a run's.

A pipe would let a reader wait for ever, and a symbolic link would let a writer write elsewhere: neither is
opened.  What can be written whole goes through `atomic_files` instead.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Literal

WRITING = {
    "lock": ("r+b", os.O_RDWR | os.O_CREAT),  # its bytes stay what they are
    "append": ("ab", os.O_WRONLY | os.O_APPEND | os.O_CREAT),
    "change": ("r+b", os.O_RDWR),
    "begin": ("w+b", os.O_RDWR | os.O_CREAT | os.O_EXCL),
}


def open_to_read(path: Path) -> BufferedReader:
    """Open a plain file for reading."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    _require_plain(path, file)
    return file


def open_to_write(path: Path, how: Literal["lock", "append", "change", "begin"], **more: Any) -> IO[bytes]:
    """Open a plain file, and no link to one, to be changed where it lies; nothing of it is cut off."""
    mode, flags = WRITING[how]
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a symbolic link, which is not written through", str(path)) from error
        raise
    file = os.fdopen(handle, mode, **more)
    _require_plain(path, file)
    return file


def read_bytes(path: Path) -> bytes:
    """Return all bytes of a plain file."""
    with open_to_read(path) as file:
        return file.read()


def read_text(path: Path) -> str:
    """Return a plain file as text; what is none is replaced by a sign for that."""
    return read_bytes(path).decode(errors="replace")


def _require_plain(path: Path, file: IO[bytes]) -> None:
    """Close and refuse an opened file that is no plain one."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError(f"{path} is not a plain file")
