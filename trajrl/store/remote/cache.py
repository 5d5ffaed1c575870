"""The cache of far stores: one folder for each version of each, and a bound on what all take up together.

    $TRAJRL_FAR_CACHE, else ~/.cache/trajrl/far      $TRAJRL_FAR_CACHE_GB, else 20: the bound in 10^9 bytes

What was not used for longest is taken away first, whoever fetched it, until a tenth of the bound is free.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from trajrl.store.hashing import FAR_BLOCK
from trajrl.store.remote.mirror import take_away
from trajrl.store.remote.source import Version

DEFAULT_GB = 20.0
FREED = 0.1  # of the bound, when it is reached


def cache_folder() -> Path:
    """Return where far stores are kept."""
    return Path(os.environ.get("TRAJRL_FAR_CACHE") or "~/.cache/trajrl/far").expanduser()


def cache_bytes() -> int:
    """Return the bound."""
    text = os.environ.get("TRAJRL_FAR_CACHE_GB") or str(DEFAULT_GB)
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not found > 0:
        raise ValueError(f"TRAJRL_FAR_CACHE_GB is a size in 10^9 bytes above 0; got '{text}'")
    return int(found * 1e9)


def folder_of(url: str, version: Version) -> Path:
    """Return the folder of a version of a store."""
    named = f"{url}\n{version.size}\n{version.mark}\n{FAR_BLOCK}".encode()
    return cache_folder() / hashlib.blake2b(named, digest_size=12).hexdigest()


def make_space(num_bytes: int) -> None:
    """Take away what was not used for longest until so many bytes more fit."""
    bound = cache_bytes()
    if num_bytes > bound:
        raise ValueError(
            f"the cache ({bound / 1e9:g} GB) is too small for one read of {num_bytes / 1e6:.1f} MB: "
            "raise TRAJRL_FAR_CACHE_GB"
        )
    folders = [path.parent for path in cache_folder().glob("*/columns")]
    held = sum((folder / "columns").stat().st_blocks * 512 for folder in folders)
    over = held + num_bytes - bound
    if over <= 0:
        return
    want = -(-int(over + FREED * bound) // FAR_BLOCK)
    uses = [np.fromfile(folder / "used", np.uint32) for folder in folders]
    owner = np.repeat(np.arange(len(uses)), [len(used) for used in uses])
    block = np.concatenate([np.arange(len(used)) for used in uses])
    used = np.concatenate(uses)
    here = np.flatnonzero(used)
    oldest = here[np.argsort(used[here], kind="stable")[:want]]
    for number in np.unique(owner[oldest]).tolist():
        take_away(folders[number], block[oldest[owner[oldest] == number]])
