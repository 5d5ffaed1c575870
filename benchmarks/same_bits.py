"""Do two commits train the same numbers?  The demo's first 500 updates and a short online run, bit for bit.

    python benchmarks/same_bits.py OLD NEW

Each commit is checked out into a folder of its own and runs both commands; what a commit wrote is kept under
out/same_bits, so that a commit that was compared before is not run again.  Every row and column of
metrics.csv and evals.csv, and every tensor, array and number of the last checkpoint, that OLD wrote must be
in NEW unchanged; what NEW writes besides is its own.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
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


CORRECTED = {  # columns whose numbers were wrong, each as of the evaluation before the row's own
    f"online/finetune/{name}" for name in ("drop", "gain", "regret")
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
    """Yield what of the old run directory is not in the new one, or is there with another number."""
    for name in ("metrics.csv", "evals.csv"):
        left, right = rows(old / name), rows(new / name)
        if left.keys() - right.keys():
            yield f"{name}: no row for {', '.join(map(str, sorted(left.keys() - right.keys())[:6]))}"
        for place in sorted(left.keys() & right.keys()):
            one, other = left[place], right[place]
            wrong = sorted(key for key in one.keys() - CORRECTED if one[key] != other.get(key))
            if wrong:
                yield f"{name}, {place}: {', '.join(wrong[:6])}"
                break
    left_state, right_state = state(old), state(new)
    wrong = sorted(name for name, digest in left_state.items() if right_state.get(name) != digest)
    if wrong:
        yield f"checkpoint: {len(wrong)} of {len(left_state)} values, the first {', '.join(wrong[:4])}"


def rows(path: Path) -> dict[tuple[int, int], dict[str, str]]:
    """Return the rows of a csv file by (step, number within the step), columns under their present names."""
    found: dict[tuple[int, int], dict[str, str]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            step = int(row["step"])
            number = sum(1 for known, _ in found if known == step)
            found[step, number] = {metric(name): value for name, value in row.items()}
    return found


def state(run: Path) -> dict[str, str]:
    """Return a digest of every tensor, array and number of the newest checkpoint, by its place there."""
    folder = run / "checkpoints" / (run / "checkpoints" / "latest").read_text().strip()
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.pt")):
        found |= dict(leaves(path.stem, torch.load(path, weights_only=True, map_location="cpu")))
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            tree = json.loads(path.with_suffix(".json").read_text())
            found |= dict(leaves(path.stem, filled(tree, dict(arrays))))
    return found


def filled(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Put arrays in their places in a tree: {"__array__": NAME} stands for one."""
    if isinstance(tree, dict):
        named = tree.get("__array__") if len(tree) == 1 else None
        return arrays[named] if named else {key: filled(value, arrays) for key, value in tree.items()}
    return [filled(value, arrays) for value in tree] if isinstance(tree, list) else tree


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
