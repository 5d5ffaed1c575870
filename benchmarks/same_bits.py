"""Do two commits train the same numbers?  The demo's first 500 updates and a short online run, bit for bit.

    python benchmarks/same_bits.py OLD NEW

Each commit is checked out into a folder of its own and runs both commands; what a commit wrote is kept under
out/same_bits, so that a commit that was compared before is not run again.  Compared are every row of
metrics.csv and evals.csv and every tensor and array of the last checkpoint.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajrl.core.old_names import metric

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "out" / "same_bits"
ONLINE = ("learn_after=200", "warmup_steps=400", "log_every=100", "eval_every=300")
COMMANDS = {
    "offline": ["offline", "--sampler", "cluster", "--steps", "500", "--set", "log_every=50"],
    "online": ["online", "--metric", "td_error_rank", "--env-steps", "700", "--set", *ONLINE],
}


def main() -> int:
    """Run both commits and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old")
    parser.add_argument("new")
    chosen = parser.parse_args()
    old, new = (done(commit(name)) for name in (chosen.old, chosen.new))
    differ = [f"{phase}: {what}" for phase in COMMANDS for what in differences(old / phase, new / phase)]
    print("\n".join(differ) or f"the same bits: {old.name[:10]} and {new.name[:10]}, {', '.join(COMMANDS)}")
    return 1 if differ else 0


def commit(name: str) -> str:
    """Return the full hash of a commit."""
    asked = ["git", "-C", str(ROOT), "rev-parse", "--verify", f"{name}^{{commit}}"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def done(sha: str) -> Path:
    """Return the folder with both runs of a commit, made now if it is not there."""
    kept = KEPT / sha
    if kept.exists():
        return kept
    tree, scratch = KEPT / f"{sha}-tree", KEPT / f"{sha}-unfinished"
    shutil.rmtree(scratch, ignore_errors=True)
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--force", "--detach", str(tree), sha], check=True, capture_output=True)
    try:
        for phase, words in COMMANDS.items():
            source = ["--from", str(scratch / "offline")] if phase == "online" else []
            command = [
                sys.executable,
                "run.py",
                *words[:1],
                *source,
                *words[1:],
                "--out",
                str(scratch / phase),
            ]
            env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree)}
            subprocess.run(command, cwd=tree, env=env, check=True, stdout=subprocess.DEVNULL)
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=False)
    scratch.rename(kept)
    return kept


def differences(old: Path, new: Path) -> Iterator[str]:
    """Yield what differs between two run directories; what depends on the clock is left out."""
    for name in ("metrics.csv", "evals.csv"):
        left, right = rows(old / name), rows(new / name)
        if len(left) != len(right):
            yield f"{name}: {len(left)} and {len(right)} rows"
        for one, other in zip(left, right):
            wrong = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
            if wrong:
                yield f"{name}, step {one['step']}: {', '.join(wrong[:6])}"
                break
    left, right = state(old), state(new)
    wrong = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    if wrong:
        yield f"checkpoint: {len(wrong)} of {len(left)} arrays, the first {', '.join(wrong[:4])}"


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a csv file, under the names that columns have today."""
    with path.open(newline="") as file:
        return [{metric(name): value for name, value in row.items()} for row in csv.DictReader(file)]


def state(run: Path) -> dict[str, str]:
    """Return a digest of every tensor and array of the newest checkpoint, by its place there."""
    folder = run / "checkpoints" / (run / "checkpoints" / "latest").read_text().strip()
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.pt")):
        found |= dict(leaves(path.stem, torch.load(path, weights_only=True, map_location="cpu")))
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            found |= dict(leaves(path.stem, dict(arrays)))
    return found


def leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield (place, digest) of every tensor, array and plain value of a nested state."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(f"{name}.{key}", inner)
    elif isinstance(value, list | tuple):
        for key, inner in enumerate(value):
            yield from leaves(f"{name}.{key}", inner)
    elif isinstance(value, torch.Tensor | np.ndarray):
        array = value.detach().contiguous().view(-1) if isinstance(value, torch.Tensor) else value
        raw = (
            array.view(torch.uint8).numpy()
            if isinstance(array, torch.Tensor)
            else np.ascontiguousarray(array)
        )
        yield name, f"{tuple(value.shape)} {value.dtype} {hashlib.blake2b(raw.tobytes()).hexdigest()}"
    else:
        yield name, repr(value)


if __name__ == "__main__":
    sys.exit(main())
