"""FarHead: what a far store says of itself, read and verified, and a mirror for its columns.

Table, attributes and statistics are compared with their digests and the seal; each block of a column with the
digest that the writer kept of it.  A store without those (of an earlier trajrl) is fetched whole, once, and
compared with its columns' digests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import h5py
import numpy as np

from trajrl.core.atomic_files import new_file
from trajrl.core.damage import DAMAGE
from trajrl.store.file.hdf5 import check_schema, damaged, datasets, is_column, recorded_digest, seal_of
from trajrl.store.file.head import Head, Layout, layout_of
from trajrl.store.file.reader import check_fit, facts, read_table
from trajrl.store.hashing import BLOCKS, FAR_BLOCK, BlockDigests, digest, new_hash
from trajrl.store.remote.addresses import open_far
from trajrl.store.remote.cache import cache_bytes, folder_of, make_space
from trajrl.store.remote.far_file import FarFile
from trajrl.store.remote.fetch import Extent, Fetcher
from trajrl.store.remote.mirror import Mirror, take_away
from trajrl.store.remote.reading import look_again, read_again
from trajrl.store.remote.source import Source, Version

AGAIN = 2  # attempts at a head


@dataclass(frozen=True)
class FarHead(Head):
    """A far store without its columns; offsets of columns are those in its mirror."""

    fetcher: Fetcher

    @contextmanager
    def file(self) -> Iterator[h5py.File]:
        """Open the file at the source."""
        with far_hdf5(self.fetcher.source, self.fetcher.version) as file:
            yield file

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """Return the mirror, to be mapped."""
        yield self.fetcher.mirror.descriptor


@contextmanager
def far_hdf5(source: Source, version: Version) -> Iterator[h5py.File]:
    """Open a version of a far store as HDF5; what is wrong with the line or the file is one line."""
    content = FarFile(source, version)
    try:
        with h5py.File(content, "r") as file:
            check_schema(source.url, file)
            yield file
            if content.failed is not None:
                raise content.failed
    except DAMAGE as error:
        failed, content.failed = content.failed, None
        if failed is not None:
            raise failed from None
        if isinstance(error, ValueError):
            raise
        raise damaged(source.url, error) from error


def read_far_head(url: str) -> FarHead:
    """Describe a far store; wrong bytes are asked for once more."""
    source = open_far(url)
    version = look_again(source)
    for attempt in range(AGAIN):
        try:
            return _read(source, version)
        except ValueError as error:
            if attempt == AGAIN - 1 or "damaged" not in str(error):
                raise
    raise AssertionError("the last attempt returns or raises")


def _read(source: Source, version: Version) -> FarHead:
    with far_hdf5(source, version) as file:
        try:
            names = datasets(file)
            _require_sealed(file, names)
            layouts = {name: layout_of(file[name]) for name in names if is_column(name)}
            table, attributes = read_table(file, names), facts(file, names)
            check_fit(layouts, table)
            recorded = {name: recorded_digest(file[name]) for name in layouts}
        except DAMAGE as error:
            raise damaged(source.url, error) from error
    fetcher, columns = _mirrored(source, version, layouts, attributes, recorded)
    state = (0, 0, version.size)  # the size where that of a file here stands
    return FarHead(cast(Any, source.url), table, attributes, columns, state, fetcher)


def _require_sealed(file: h5py.File, names: list[str]) -> None:
    """Compare table, statistics and attributes with what was written."""
    for name in names:
        if not is_column(name) and digest(file[name]) != recorded_digest(file[name]):
            raise OSError(f"{name} is not what was written")
    if bytes(file.attrs["seal"]).decode() != seal_of(file):
        raise OSError("an attribute or the list of datasets is not what was written")


def _mirrored(
    source: Source, version: Version, layouts: dict[str, Layout], attributes: dict[str, Any],
    recorded: dict[str, str],
) -> tuple[Fetcher, dict[str, Layout]]:  # fmt: skip
    """Open the mirror of the columns, and return where they lie there."""
    extents, columns, first = {}, dict(layouts), 0
    for name in sorted(layouts):
        layout = layouts[name]
        if layout.offset is None:
            continue
        extents[name] = Extent(first, layout.offset, layout.row_bytes * len(layout))
        columns[name] = Layout(layout.shape, layout.dtype, first * FAR_BLOCK)
        first += extents[name].blocks
    mirror = Mirror(folder_of(source.url, version), first)
    digests = attributes["statistics"].get(BLOCKS)
    if digests is None or len(digests) != first:
        digests = _digests_of_all(source, version, mirror, extents, recorded)
    return Fetcher(source, version, mirror, extents.values(), digests), columns


def _digests_of_all(
    source: Source, version: Version, mirror: Mirror, extents: dict[str, Extent], recorded: dict[str, str]
) -> np.ndarray:
    """Fetch a store that keeps no digests of blocks whole, and compare its columns with their digests."""
    place = mirror.folder / "digests.npy"
    if place.exists():
        return np.load(place)
    num_bytes = sum(extent.num_bytes for extent in extents.values())
    if num_bytes > cache_bytes():
        raise ValueError(
            f"{source.url} keeps no digests of its blocks, and its {num_bytes} bytes are more than the cache "
            "holds: `store import` at the source writes them, or raise TRAJRL_FAR_CACHE_GB"
        )
    make_space(num_bytes)
    found = [
        _digests_of(source, version, mirror, extents[name], name, recorded[name]) for name in sorted(extents)
    ]
    digests = np.concatenate(found) if found else np.zeros((0, 16), np.uint8)
    with new_file(place) as written, written.open("wb") as file:
        np.save(file, digests)
    return digests


def _digests_of(
    source: Source, version: Version, mirror: Mirror, extent: Extent, name: str, recorded: str
) -> np.ndarray:
    """Fetch a column from its first byte to its last."""
    blocks, whole = BlockDigests(), new_hash()
    for block in range(extent.blocks):
        start = block * FAR_BLOCK
        stop = min(start + FAR_BLOCK, extent.num_bytes)
        content = read_again(source, extent.offset + start, extent.offset + stop, version)
        blocks.update(memoryview(content))
        whole.update(content)
        mirror.write(extent.first + block, content)
    if whole.hexdigest() != recorded:
        take_away(mirror.folder, extent.first + np.arange(extent.blocks))
        raise ValueError(f"{source.url} sends other bytes than were written, in {name}")
    return blocks.digests()
