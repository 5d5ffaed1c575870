"""FarFile: a file elsewhere as one that Python reads, so that HDF5 finds its table and attributes.

It is read in pieces that are kept while it is open; columns are not read through it.  HDF5 does not stand an
error in the middle of a read: a piece that cannot be had reads as zeros, `failed` says why, and whoever reads
looks at it before believing anything.
"""

from __future__ import annotations

import io
from collections import OrderedDict

from trajrl.store.remote.reading import read_again
from trajrl.store.remote.source import Source, Version

PIECE_BYTES = 1 << 18
MOST_PIECES = 256


class FarFile(io.RawIOBase):
    """Seekable bytes of a version of a source."""

    def __init__(self, source: Source, version: Version) -> None:
        self._source, self._version, self._at = source, version, 0
        self._pieces: OrderedDict[int, bytes] = OrderedDict()
        self.failed: Exception | None = None  # the first piece that could not be read
        self.num_requests = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it has places."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._version.size}[whence]
        return self._at

    def readinto(self, buffer: object) -> int:
        """Read what there is, up to the length of the buffer."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        done, size = 0, min(len(view), max(0, self._version.size - self._at))
        while done < size:
            piece = self._piece(self._at // PIECE_BYTES)
            into = self._at % PIECE_BYTES
            part = piece[into : into + size - done]
            view[done : done + len(part)] = part
            done, self._at = done + len(part), self._at + len(part)
        return size

    def _piece(self, number: int) -> bytes:
        if number in self._pieces:
            self._pieces.move_to_end(number)
            return self._pieces[number]
        start = number * PIECE_BYTES
        stop = min(start + PIECE_BYTES, self._version.size)
        if self.failed is not None:  # nobody will believe the rest: it is not waited for
            return bytes(stop - start)
        try:
            self._pieces[number] = read_again(self._source, start, stop, self._version)
        except (OSError, ValueError) as error:
            self.failed = type(error)(str(error))  # without a traceback that holds this file
            return bytes(stop - start)
        self.num_requests += 1
        if len(self._pieces) > MOST_PIECES:
            self._pieces.popitem(last=False)
        return self._pieces[number]
