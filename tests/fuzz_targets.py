"""What is fuzzed: a small good file of every kind that trajrl reads, how it is damaged, and what reads it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from foreign import (
    chained,
    d4rl,
    hdf5,
    lerobot,
    lerobot_set,
    minari,
    minari_set,
    npz,
    ogbench,
    pickled,
    replay_buffer,
    rlds,
    rlds_set,
    robomimic,
    zarr_store,
)  # fmt: skip
from fuzz import damaged, damaged_member


@dataclass(frozen=True)
class Target:
    """One kind of file or folder."""

    write: Callable[[Path], Path]  # a folder to write in -> the good file, or a folder of them
    read: Callable[[Path], None]
    inside: bool = False  # half of the cases damage a member of a zip and mend its checksum
    headroom: int = 0  # mebibytes that reading a good file takes besides
    mend: Callable[[Path], None] | None = None  # called on the damaged twin
    slow: bool = False  # a twin of another target

    def size(self, good: Path) -> int:
        """Return the size of the good file."""
        return sum(path.stat().st_size for path in files_of(good))

    def damage(self, good: Path, place: Path, rng: np.random.Generator) -> Path:
        """Write a damaged twin of the good file."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        twin = place / good.name
        if good.is_dir():
            shutil.copytree(good, twin)
        else:
            shutil.copy(good, twin)
        files = files_of(twin)
        hit = files[int(rng.integers(len(files)))]
        whole = hit.read_bytes()
        packed = self.inside and whole.startswith(b"PK") and rng.integers(2)
        hit.write_bytes((damaged_member if packed else damaged)(whole, rng))
        if self.mend:
            self.mend(twin)
        return twin


def files_of(place: Path) -> list[Path]:
    """Return the files of a folder, or the file."""
    return sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]


def mend(twin: Path) -> None:
    """Write a checkpoint's digests anew, so that the damage is met behind them."""
    from trajrl.training.run_dir.checkpoint import _digest

    whole = twin / "whole.json"
    try:
        known = json.loads(whole.read_text())
        for name in known["digests"]:
            known["digests"][name] = _digest(twin / name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    whole.write_text(json.dumps(known))


def mend_records(twin: Path) -> None:
    """Write lengths and checksums of records anew, so that the damage is met behind them."""
    from trajrl.formats.rlds.crc32c import masked_crc32c

    for path in twin.glob("*.tfrecord*"):
        raw, place = path.read_bytes(), 0
        found = b""
        while len(raw) >= place + 16:
            length = min(int.from_bytes(raw[place : place + 8], "little"), len(raw) - place - 16)
            head, content = length.to_bytes(8, "little"), raw[place + 12 : place + 12 + length]
            found += head + masked_crc32c(head).to_bytes(4, "little")
            found += content + masked_crc32c(content).to_bytes(4, "little")
            place += 16 + length
        path.write_bytes(found)


def foreign(path: Path) -> None:
    """Read all episodes of a foreign file, as an import does."""
    from trajrl.formats import open_source

    for episode in open_source(path).episodes():
        assert len(episode) > 0


def pictured(path: Path) -> None:
    """Read all episodes of a set with its images."""
    from trajrl.formats import open_source

    for episode in open_source(path, obs_keys=("observation.state", "observation.images.top")).episodes():
        assert len(episode.images) == 1


def store(path: Path) -> None:
    """Open a store, and verify it."""
    from trajrl.store.file.verify import verify
    from trajrl.store.store import TrajectoryStore

    list(verify(path))
    for episode in TrajectoryStore.open(path).episodes():
        assert len(episode) > 0


def journal(path: Path) -> None:
    """Replay a journal."""
    from trajrl.store.journal import replay

    for episode, _ in replay(path):
        assert len(episode) > 0


def checkpoint(path: Path) -> None:
    """Load a checkpoint."""
    from trajrl.training.run_dir import checkpoint

    checkpoint.load(path)


def write_checkpoint(folder: Path) -> Path:
    """Write a checkpoint with tensors, arrays and plain values."""
    import torch

    from trajrl.training.run_dir import checkpoint

    net = {"weight": torch.arange(48.0).reshape(6, 8), "bias": torch.zeros(6)}
    parts = {
        "agent": {"net": net, "optimiser": {"adam": {0: net}}, "updates": 3},
        "logger": {"sums": {"loss": torch.tensor(1.0)}, "counts": {"loss": 2}},
        "sampler": {"seen": np.arange(9), "nested": {"ema": np.ones(3), "k": 3}}, "run": {"step": 3},
    }  # fmt: skip
    return checkpoint.save(folder, 3, parts)


def weights(path: Path) -> None:
    """Read public checkpoints, as import-agent does."""
    from trajrl.agents.base.public_weights import read

    read(path / "actor.pth", path / "critic.pth")


def write_weights(folder: Path) -> Path:
    """Write checkpoints in the public layout."""
    import sys

    sys.path[:0] = [str(Path(__file__).with_name("agents")), str(Path(__file__).parents[1] / "benchmarks")]
    import plain_dql
    from public_weights import save

    folder.mkdir()
    save(plain_dql.PlainDQL(5, 2, plain_dql.Settings(), 5, width=16), folder)
    return folder


def policy(path: Path) -> None:
    """Read the weights of a recorded policy, as collect does."""
    from trajrl.rollout.policies import read_policy

    read_policy(path)


def write_policy(folder: Path) -> Path:
    """Write a network of two layers."""
    shapes = {"w0": (8, 3), "b0": 8, "w1": (8, 8), "b1": 8, "w_mean": (2, 8), "b_mean": 2}
    folder.mkdir()
    return npz(folder / "x.npz", {name: np.ones(shape, np.float32) for name, shape in shapes.items()})


def write_journal(folder: Path) -> Path:
    """Write a journal of three episodes."""
    from trajrl.store.episode import Episode
    from trajrl.store.journal import Journal

    with Journal(folder) as written:
        for e in range(3):
            written.append(Episode(np.ones((4, 3)), np.zeros((3, 2)), np.ones(3), False), meta={"seed": e})
    return written.path


def write_store(folder: Path) -> Path:
    """Write a store of three episodes."""
    from trajrl.store.episode import Episode
    from trajrl.store.file.writer import StoreWriter

    folder.mkdir()
    with StoreWriter(folder / "x.h5", {"environment": "toy:point"}) as writer:
        for e in range(3):
            writer.append(Episode(np.ones((4, 3)) * e, np.zeros((3, 2)), np.ones(3), False, source=f"s{e}"))
    return folder / "x.h5"


def made(write: Callable, name: str, *given: object) -> Callable[[Path], Path]:
    """Return a function that writes a file of a name into a new folder."""

    def into(folder: Path) -> Path:
        folder.mkdir()
        return write(folder / name, *given)

    return into


def misread(path: Path) -> None:
    """Go wrong in a way that the number of the case chooses, to test the harness."""
    number = int(os.environ.get("FUZZ_CASE", "-1"))
    if number == 1:
        raise TypeError("a riddle")
    if number == 2:
        os.abort()
    if number == 3:
        raise ValueError("something, somewhere")
    if number == 4:
        np.ones(1 << 30)
    if number == 5:
        raise ValueError(f"{path} is refused")
    if number == 6:
        time.sleep(60)


def recordings(folder: Path) -> Path:
    """Write a folder of two episodes."""
    for number in (1, 2):
        arrays = d4rl(6, ends=(5,), timeouts=None, terminals=None)
        npz(
            folder / f"{number}.npz",
            {**arrays, "terminated": np.array(number == 1), "success": np.array(True)},
        )
    return folder


PICTURED = Path(__file__).parent / "fixtures" / "lerobot" / "v30-image"
FLAT = chained(d4rl(), (9, 19))
TARGETS = {
    "checkpoint": Target(write_checkpoint, checkpoint, inside=True, mend=mend),
    "d4rl": Target(made(hdf5, "x.hdf5", FLAT), foreign),
    "journal": Target(write_journal, journal),
    "lerobot": Target(made(lerobot_set, "x", lerobot([4, 5])), foreign),
    "lerobot-v2.0": Target(made(lerobot_set, "x", lerobot([4, 5]), "v2.0"), foreign, slow=True),
    "lerobot-images": Target(
        made(lambda path: Path(shutil.copytree(PICTURED, path)), "x"), pictured, slow=True
    ),
    "minari": Target(made(minari_set, "x-v0", minari([4, 5])), foreign),
    "npz": Target(made(npz, "x.npz", FLAT), foreign, inside=True),
    "npz-folder": Target(made(recordings, "x"), foreign, inside=True),
    "ogbench": Target(made(npz, "x.npz", ogbench([4, 5])), foreign, inside=True),
    "pickle": Target(made(pickled, "x.pkl", [FLAT]), foreign),
    "rlds": Target(made(rlds_set, "x", rlds([4, 5])), foreign, mend=mend_records),
    "robomimic": Target(made(hdf5, "x.hdf5", robomimic({"demo_0": 4, "demo_1": 5})), foreign),
    "policy": Target(write_policy, policy, inside=True),
    "store": Target(write_store, store),
    "zarr": Target(made(zarr_store, "x.zarr", replay_buffer([4, 5])), foreign),
    "zarr-zip": Target(made(zarr_store, "x.zip", replay_buffer([4, 5])), foreign, inside=True, slow=True),
    "weights": Target(write_weights, weights, inside=True),
}
BAD = Target(made(lambda path: path.write_text("good") and path, "x"), misread)
