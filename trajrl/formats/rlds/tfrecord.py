"""TFRecord files: records one behind another, each with the checksums of its length and of itself.

length (8 bytes)   masked crc32c of it (4)   content (length)   masked crc32c of it (4)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from trajrl.formats.rlds.crc32c import masked_crc32c

HEAD, TAIL = 12, 4  # bytes around a record
LARGEST = 1 << 30  # bytes of a record: it is held whole
WHOLE = "download or copy it again"


def records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file; one that is cut or changed is refused by its number."""
    try:
        file = path.open("rb")
    except PermissionError as error:
        raise PermissionError(f"{path}: no permission to read it") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    with file:
        left = file.seek(0, 2)
        file.seek(0)
        number = 0
        if not left:
            raise ValueError(f"{path} is empty; {WHOLE}")
        while head := file.read(HEAD):
            what = f"{path}: record {number}"
            length = length_of(head)
            if length is None:
                raise ValueError(f"{what} is damaged, or this is no TFRecord file; {WHOLE}")
            left -= HEAD + length + TAIL
            if left < 0:
                raise ValueError(f"{what} is damaged: the file ends in the middle of it; {WHOLE}")
            if length > LARGEST:
                raise ValueError(f"{what} has {length >> 20} MiB; at most {LARGEST >> 20} are read")
            content, crc = file.read(length), file.read(TAIL)
            if crc != struct.pack("<I", masked_crc32c(content)):
                raise ValueError(f"{what} is damaged: its checksum does not fit; {WHOLE}")
            yield content
            number += 1


def length_of(head: bytes) -> int | None:
    """Return the length of the record that begins so; None where its checksum does not fit."""
    if len(head) < HEAD or head[8:HEAD] != struct.pack("<I", masked_crc32c(head[:8])):
        return None
    return int.from_bytes(head[:8], "little")
