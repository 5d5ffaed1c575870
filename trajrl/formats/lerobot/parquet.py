"""Parquet files of strangers: opened only with a footer, bounded, and read forward as arrays.

A writer that was killed leaves a file without a footer: nothing in it can be found again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trajrl.formats.base.columns import BLOCK_BYTES
from trajrl.formats.lerobot.encoded import as_encoded, rows_at_once
from trajrl.formats.lerobot.footer import values_of
from trajrl.store.file.bounds import MOST_COLUMNS, refuse_bomb

MAGIC, TAIL = b"PAR1", 8  # bytes of footer length and magic at the end
BUFFER_BYTES = 1 << 20  # read at once of a column


class NoFooterError(ValueError):
    """A file whose writer stopped before it closed it."""


@contextmanager
def intact(path: Path) -> Iterator[None]:
    """Turn what arrow says about a broken file into one line that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, OverflowError, UnicodeDecodeError) as error:
        if str(path) in str(error):
            raise
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is damaged ({said}); download or copy it again") from error


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file of a known footer; nothing of its rows is read."""
    _refuse_unfinished(path)
    with (
        intact(path),
        pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False, memory_map=False) as file,
    ):
        if len(file.schema_arrow) > MOST_COLUMNS * 10:
            raise ValueError(f"{path} has {len(file.schema_arrow)} columns; that many are not read")
        yield file


def _refuse_unfinished(path: Path) -> None:
    """Refuse what does not end as it begins, and say which of the ways of breaking it is."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL))
            tail = file.read(TAIL)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except PermissionError as error:
        raise PermissionError(f"{path}: no permission to read it") from error
    if not size:
        raise ValueError(f"{path} is empty; download or copy it again")
    if head != MAGIC:
        kind = "a git-lfs pointer: fetch it with `git lfs pull`" if head == b"vers" else "not a parquet file"
        raise ValueError(f"{path} is {kind}; download or copy it again")
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or length + TAIL + len(MAGIC) > size:
        raise NoFooterError(
            f"{path} is not whole: it has no footer, as its recorder or a copy stopped before the end, and "
            "without one nothing in it can be found; copy it again, or move it away to read the others"
        )


def kind_of(field: pa.Field) -> np.dtype | None:
    """Return the type of the numbers of a column, however deep its lists; None: it holds no numbers."""
    found = field.type
    while True:
        if isinstance(found, pa.BaseExtensionType):
            found = found.storage_type
        elif _is_list(found):
            found = found.value_type
        else:
            break
    if pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_boolean(found):
        return np.dtype(found.to_pandas_dtype())
    return None


def batches(
    path: Path, names: Sequence[str], row_bytes: int, most: int = 1 << 16, images: Sequence[str] = ()
) -> Iterator[dict[str, np.ndarray]]:
    """Yield columns (n, ...) of consecutive rows, so many at a time as make a block.

    Args:
        row_bytes: what a row of these columns takes; a file that claims more rows than it can hold is refused
        images: columns of encoded images, which are yielded as objects (n,), each the bytes of one
    """
    with open_parquet(path) as file:
        _refuse_claims(path, file, names, row_bytes)
        for name in images:
            _refuse_count(path, name, file.schema_arrow.names)
        count = max(1, min(most, rows_at_once(path, file, images), BLOCK_BYTES // max(1, row_bytes)))
        first = 0
        found = file.iter_batches(batch_size=count, columns=[*names, *images], use_threads=False)
        while (batch := _next(path, found)) is not None:
            if batch.num_rows:
                rows = {name: as_rows(batch.column(name), f"{path}: '{name}'", first) for name in names}
                yield rows | {n: as_encoded(batch.column(n), f"{path}: '{n}'", first) for n in images}
            first += batch.num_rows


def _next(path: Path, found: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    with intact(path):
        return next(found, None)


def _refuse_claims(path: Path, file: pq.ParquetFile, names: Sequence[str], row_bytes: int) -> None:
    """Refuse rows that unpack to far more than the file holds, and columns that are not there.

    A list of no fixed length may hold any number of values, so that those are counted.
    """
    have = file.schema_arrow.names
    for name in names:
        _refuse_count(path, name, have)
    claimed = file.metadata.num_rows * row_bytes
    if any(_is_loose(file.schema_arrow.field(name).type) for name in names):
        places = tuple(f"{name}." for name in names)
        values = [n for name, n in values_of(path).items() if f"{name}.".startswith(places)]
        claimed = max(claimed, 8 * sum(values))
    refuse_bomb(path, claimed, path.stat().st_size, "write it without compression")


def _refuse_count(path: Path, name: str, have: Sequence[str]) -> None:
    """Refuse a column that is not there, or is there twice."""
    if have.count(name) != 1:
        wrong = "twice" if name in have else f"not; it has {', '.join(have[:40])}"
        raise ValueError(f"{path} has the column '{name}' {wrong}")


def as_rows(array: pa.Array, place: str, first: int = 0) -> np.ndarray:
    """Return a column as (n, ...) numbers: lists become axes, and all of them must be equally long."""
    shape = [len(array)]
    while True:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        if array.null_count:
            row = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False))) // max(
                1, int(np.prod(shape[1:]))
            )
            raise ValueError(f"{place} has no value in row {first + row}; a number for each frame is due")
        if not _is_list(array.type):
            break
        shape.append(_width(array, place, first))
        array = array.flatten()
    numbers = array.to_numpy(zero_copy_only=False)
    if numbers.dtype.kind not in "fiub" or numbers.size != int(np.prod(shape, dtype=object)):
        raise ValueError(f"{place} holds {array.type}, not numbers")
    return numbers.reshape(shape)


def _width(array: pa.Array, place: str, first: int) -> int:
    """Return how long each list of a column is."""
    if pa.types.is_fixed_size_list(array.type):
        return int(array.type.list_size)
    lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
    if len(lengths) and (lengths != lengths[0]).any():
        row = first + int((lengths != lengths[0]).argmax())
        raise ValueError(
            f"{place} holds {lengths[0]} numbers in row {first} and {lengths[row - first]} in row {row}; "
            "they must be equal"
        )
    return int(lengths[0]) if len(lengths) else 0


def _is_loose(kind: pa.DataType) -> bool:
    """Say whether a type is a list of no fixed length."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_loose(kind.storage_type)
    fixed = pa.types.is_fixed_size_list(kind)
    return _is_list(kind) and (not fixed or _is_loose(kind.value_type))


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
