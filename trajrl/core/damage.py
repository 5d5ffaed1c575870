"""Damaged files: what libraries raise where a file is not what its headers say, and how one line says so."""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from tokenize import TokenError

# Of zipfile, numpy and h5py.  UnicodeError is a ValueError; other ValueErrors often name what is wrong.
UNREADABLE = (
    OSError, RuntimeError, LookupError, EOFError, zipfile.BadZipFile, zlib.error, struct.error, TokenError,
    SyntaxError, TypeError, AttributeError, AssertionError, UnicodeError, OverflowError, MemoryError,
)  # fmt: skip
# The same, and what torch raises; ValueErrors as well.
DAMAGE = (*UNREADABLE, ValueError, pickle.UnpicklingError)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its kind where it says nothing."""
    if str(error).startswith("Weights only load failed"):  # torch goes on to advise a load that runs code
        return "it is damaged, or holds more than tensors; nothing in it was executed"
    return (str(error).splitlines() or [type(error).__name__])[0]
