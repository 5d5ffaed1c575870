"""Execute the notebooks of analysis/ into out/notebooks, where the site finds them; `make docs` does it.

Short runs are made for them beforehand.  What was executed is kept as long as the notebook, the package and
what both read stay the same; a stored key says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "out" / "notebooks"
WORKERS = min(2, os.cpu_count() or 1)
STEPS = ("--steps", "500", "--batch-size", "64", "--set", "log_every=20", "eval_every=100", "eval_episodes=3",
         "last_eval_episodes=10")  # fmt: skip
ONLINE = ("--env-steps", "500", "--metric", "td_error_rank", "--set", "log_every=50", "eval_every=125",
          "eval_episodes=3", "last_eval_episodes=10")  # fmt: skip
COMPARED = [(sampler, seed) for sampler in ("uniform", "cluster") for seed in range(3)]
SHOWN = [*((sampler, seed, ()) for sampler, seed in COMPARED), ("quality", 0, ("sampler.judge=critic",))]
CONVERT = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--stdout"]
LIMITS = ("--ExecutePreprocessor.timeout=900", "--ExecutePreprocessor.startup_timeout=300")  # seconds
READS = {  # the runs that a notebook reads, by how its name begins; 01 and 07 read none
    "02": "[uc]*-s?", "03": "[uc]*-s?", "04": "[uc]*-s?", "05": "quality-s0", "06": "*cluster-s0",
}  # fmt: skip


def main() -> int:
    """Make the runs and execute what changed; print a line for each."""
    notebooks = sorted((ROOT / "analysis").glob("*.ipynb"))
    package = digest([*(ROOT / "trajrl").rglob("*.py"), *(ROOT / "data").glob("*.h5"), Path(__file__)])
    keys = {path: digest([path, *(ROOT / "docs" / "evidence").glob("*.csv")], package) for path in notebooks}
    stale = [path for path in notebooks if kept_key(PLACE / path.name) != keys[path]]
    print(f"{len(notebooks)} notebooks, {len(stale)} to execute; kept in out/notebooks", flush=True)
    runs = PLACE / f"runs-{package[:12]}"
    if any(path.name[:2] in READS for path in stale):
        make_runs(runs)
    at_once([lambda path=path: timed(path.name, lambda: execute(path, keys[path], runs)) for path in stale])
    return 0


def digest(paths: Iterable[Path], also: str = "") -> str:
    """Return a key of the contents of files, in the order of their names."""
    found = hashlib.sha256(also.encode())
    for path in sorted(paths):
        found.update(f"\n{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return found.hexdigest()


def kept_key(path: Path) -> str:
    """Return the key with which a notebook was executed, or nothing."""
    return json.loads(path.read_text())["metadata"].get("made_from", "") if path.exists() else ""


def make_runs(folder: Path) -> None:
    """Make the runs that are missing, and drop those of another state of the package."""
    for other in PLACE.glob("runs-*"):
        if other != folder:
            shutil.rmtree(other)
    words = {
        f"{sampler}-s{seed}": ["offline", "--sampler", sampler, "--seed", str(seed), *STEPS, *own]
        for sampler, seed, own in SHOWN
    }
    after = {"online-from-cluster-s0": ["online", "--from", str(folder / "cluster-s0"), *ONLINE]}
    for wave in (words, after):
        missing = [name for name in wave if not (folder / name / "summary.json").exists()]
        at_once([lambda n=name, w=wave: timed(n, lambda: train(folder / n, w[n])) for name in missing])


def train(folder: Path, words: list[str]) -> None:
    """Make one run, as the command line does."""
    shutil.rmtree(folder, ignore_errors=True)  # one that was broken off
    ran([sys.executable, str(ROOT / "run.py"), *words, "--out", str(folder)])


def execute(path: Path, key: str, runs: Path) -> None:
    """Execute one notebook in a kernel of its own, and keep it whole or not at all."""
    pattern = str(runs / READS.get(path.name[:2], "none"))
    notebook = json.loads(ran([*CONVERT, *LIMITS, str(path)], {"TRAJRL_RUNS": pattern}))
    notebook["metadata"]["made_from"] = key
    scratch = PLACE / f".{path.name}"
    scratch.write_text(json.dumps(notebook))
    scratch.replace(PLACE / path.name)


def ran(line: list[str], also: dict[str, str] | None = None) -> str:
    """Run a program on this checkout and return what it printed; where it fails, that is all that is said."""
    env = {**environment(), **(also or {})}
    ended = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(line)}\n{ended.stderr}")
    return ended.stdout


def environment() -> dict[str, str]:
    """Return the variables of a kernel or a run: this checkout, one thread, every cache in out/."""
    caches = {"XDG_CACHE_HOME": PLACE / "cache", "IPYTHONDIR": PLACE / "ipython"}
    for folder in caches.values():
        folder.mkdir(parents=True, exist_ok=True)
    own = {name: str(folder) for name, folder in caches.items()}
    return {**os.environ, **own, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def timed(name: str, work: Callable[[], None]) -> None:
    """Do the work and print what it took."""
    start = time.monotonic()
    work()
    print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


def at_once(tasks: Iterable[Callable[[], None]]) -> None:
    """Do the tasks, as many at a time as there are processors; the first failure ends it."""
    with ThreadPoolExecutor(WORKERS) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result()


if __name__ == "__main__":
    sys.exit(main())
