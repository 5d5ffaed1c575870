"""Foreign data in, as a stream of episodes, and out again.

source = open_source("~/.d4rl/datasets/hopper_medium-v2.hdf5")     # or a name: "hopper-medium-v2"
for episode in source.episodes(): ...
import_source(source, "h.h5")
export(TrajectoryStore.open("h.h5"), "h.npz", "npz")

Readers and writers, and h5py with them, are imported when one is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.core.registry import find
from trajrl.formats.base.options import check_used, make_options

if TYPE_CHECKING:
    from trajrl.formats.base.importer import Show
    from trajrl.formats.base.source import Source
    from trajrl.store.store import TrajectoryStore

FORMATS = {
    "d4rl": "trajrl.formats.d4rl.reader:D4RL",
    "lerobot": "trajrl.formats.lerobot.reader:LeRobot",
    "minari": "trajrl.formats.minari.reader:Minari",
    "npz": "trajrl.formats.npz.reader:Npz",
    "npz-folder": "trajrl.formats.npz.folder:NpzFolder",
    "ogbench": "trajrl.formats.ogbench.reader:OGBench",
    "pickle": "trajrl.formats.pickle.reader:Pickle",
    "rlds": "trajrl.formats.rlds.reader:RLDS",
    "robomimic": "trajrl.formats.robomimic.reader:Robomimic",
    "trajrl": "trajrl.formats.native:Native",
    "zarr": "trajrl.formats.zarr.reader:Zarr",
}

EXPORTS = {
    "d4rl": "trajrl.formats.d4rl.export:write_d4rl",
    "lerobot": "trajrl.formats.lerobot.export:write_lerobot",
    "lerobot-v2.1": "trajrl.formats.lerobot.export:write_lerobot21",
    "minari": "trajrl.formats.minari.export:write_minari",
    "npz": "trajrl.formats.npz.export:write_npz",
    "ogbench": "trajrl.formats.ogbench.export:write_ogbench",
    "robomimic": "trajrl.formats.robomimic.export:write_robomimic",
}


def recognise(path: str | Path) -> str:
    """Return the format of a file or folder by content; refuse what is no data and say what it is."""
    from trajrl.formats.detect import recognise

    return recognise(Path(path))


def locate_dataset(name: str | Path, download: bool = True, show: Show | None = None) -> Path:
    """Return the path a name stands for: a path that exists, a file of the known caches, or a download."""
    from trajrl.formats.dataset_names import locate_dataset

    return locate_dataset(str(name), download, show)


def open_source(path: str | Path, format: str = "auto", show: Show | None = None, **options: Any) -> Source:
    """Open foreign data; `options` are the fields of trajrl.formats.base.options.Options.

    Args:
        show: shows the progress of a download, as trajrl.cli.common.progress does.
    """
    from trajrl.formats.base.source import undamaged

    chosen = make_options(options)
    if format != "auto":
        find(FORMATS, format, "format")  # an unknown name fails before anything is fetched
    place = locate_dataset(path, show=show)
    with undamaged(place):
        name = recognise(place) if format == "auto" else format
        check_used(chosen, name)
        try:
            source = find(FORMATS, name, "format")(place, chosen)
            source.settle_box()
            return source
        except (OSError, ValueError, KeyError) as error:
            _suggest(place, name, error)
            raise


def _suggest(place: Path, asked: str, error: Exception) -> None:
    """Name the format of a file that is not what it was said to be, if it has a known one."""
    try:
        found = recognise(place)
    except (OSError, ValueError):
        return
    if found != asked:
        raise ValueError(
            f"{place} is {found} by its content: try --format auto.  Read as {asked}: {error}"
        ) from error


def import_source(
    source: Source, out: str | Path, show: Show | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Write every episode of a source to a store file; returns the summary."""
    from trajrl.formats.base.importer import import_source

    return import_source(source, Path(out), show, overwrite)


def export(
    store: TrajectoryStore, path: str | Path, format: str, overwrite: bool = False, video: bool = False
) -> dict[str, Any]:
    """Write a store in another format; returns what was written and what that format could not carry.

    Args:
        video: images are written as videos, which is smaller and does not give the same bits again
    """
    from trajrl.formats.base.exporter import export

    return export(store, Path(path), find(EXPORTS, format, "export format"), format, overwrite, video)
