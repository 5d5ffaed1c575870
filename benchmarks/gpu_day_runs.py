"""The runs of gpu_day: `offline --eval-async`, each a process that is stopped when its time is over."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpu_day_parts import agent_fields

from trajrl.cli.bench.generated import generate

if TYPE_CHECKING:
    from gpu_day import Book

PROGRAM = Path(__file__).parents[1] / "run.py"
LOOK, SAVING = 5.0, 90.0  # seconds between two looks at a run, and for its last checkpoint


class Task(NamedTuple):
    """What is trained on."""

    name: str
    obs_dim: int
    action_dim: int
    env: str  # where evaluations act
    package: str  # that the environment needs
    extras: dict[str, int] = {}  # further columns, with their widths, that its rewards follow from


HOPPER = Task("hopper-me", 11, 3, "Hopper-v4", "mujoco")
CUBE = Task(
    "cube-double", 37, 5, "ogbench:cube-double-play-singletask-v0", "ogbench", {"qpos": 28, "qvel": 26}
)
TRAINED = (
    ("diffusion_ql", HOPPER, {}),
    ("trajectory_ql", HOPPER, {}),
    ("acfql", CUBE, {"width": 512, "depth": 4}),
)


def runs(book: Book) -> None:
    """Train one after another; each has an equal share of the time that is left."""
    for place, (agent, task, config) in enumerate(TRAINED):
        seconds = book.left / (len(TRAINED) - place)
        if not book.due(f"{agent} on {task.name}"):
            continue
        train(book, agent, task, config, seconds)


def train(book: Book, agent: str, task: Task, config: dict[str, Any], seconds: float) -> None:
    """Train until the end or until the time is over; a row whenever it got further, and one of the end."""
    data, named = data_of(book, task)
    env = task.env if find_spec(task.package) else "none"
    folder = book.out / f"{agent}-{int(time.time())}"
    began = time.monotonic()
    with (book.out / f"{folder.name}.log").open("w") as log:
        child = subprocess.Popen(
            words(book, agent, config, data, env, folder), stdout=log, stderr=subprocess.STDOUT
        )
        seen = 0
        while child.poll() is None and time.monotonic() - began < seconds:
            time.sleep(min(LOOK, max(0.1, seconds - (time.monotonic() - began)), seconds / 4))
            if (now := logged(folder)) > seen:
                seen = now
                book.row("runs", agent, f"{task.name}, under way", steps=seen, after_seconds=since(began))
        stopped = child.poll() is None
        if stopped:
            child.send_signal(signal.SIGINT)  # it saves a checkpoint
            try:
                child.wait(SAVING)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
    found = ended(folder)
    how = (
        "stopped: no time"
        if stopped
        else "done"
        if child.returncode == 0
        else f"ended with {child.returncode}"
    )
    book.row("runs", agent, task.name, **found, wall_seconds=since(began), data=named, env=env, note=how)


def since(began: float) -> float:
    """Return the seconds since then."""
    return round(time.monotonic() - began, 1)


def words(book: Book, agent: str, config: dict[str, Any], data: str, env: str, folder: Path) -> list[str]:
    """Return the command of a run."""
    sizes = book.sizes
    every = max(1, sizes.steps // sizes.evaluations)
    graph = ["graph=true"] if book.device.type == "cuda" else []
    own = agent_fields(agent, {**config, **sizes.networks})
    return [
        sys.executable, str(PROGRAM), "offline", "--data", data, "--env", env, "--agent", agent,
        "--sampler", "uniform", "--device", str(book.device), "--steps", str(sizes.steps),
        "--batch-size", str(sizes.batch), "--eval-every", str(every),
        "--eval-episodes", str(sizes.eval_episodes), "--log-every", str(max(1, every // 5)),
        "--checkpoint-every", str(every), "--eval-async", "--holdout", "0", "--out", str(folder), "--json",
        "--set", *graph, "video_every=0", f"last_eval_episodes={sizes.eval_episodes}",
        *(sizes.env_options if env != "none" else ()),
        *(f"agent.{name}={json.dumps(value)}" for name, value in own.items()),
    ]  # fmt: skip


def data_of(book: Book, task: Task) -> tuple[str, str]:
    """Return a store in the task's shapes, and what a row calls it; the one given serves the first task."""
    if book.options.data and task == HOPPER:
        return book.options.data, Path(book.options.data).name
    path = book.out / f"{task.name}.h5"
    if not path.exists():
        generate(path, book.sizes.run_transitions, 0, task.obs_dim, task.action_dim, task.extras)
    return str(path), f"generated, {book.sizes.run_transitions:,} transitions"


def logged(folder: Path) -> int:
    """Return the step of the last row of metrics.csv."""
    path = folder / "metrics.csv"
    if not path.exists():
        return 0
    with path.open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if (row.get("step") or "").isdigit()]
    return max(steps, default=0)


def ended(folder: Path) -> dict[str, Any]:
    """Return what a run says of itself: its summary or, of one that was stopped, its last checkpoint."""
    summary = folder / "summary.json"
    if summary.exists():
        said = json.loads(summary.read_text())
        score = (said["scores"] or {}).get("last") or {}
        return {
            "steps": said["steps"], "updates_per_second": said["updates_per_second"],
            "seconds": said["seconds"], "last": score.get("value"), "evaluations": evaluations(folder),
        }  # fmt: skip
    saved = sorted(folder.glob("checkpoints/step-*/run.json"))
    if not saved:
        return {"steps": 0}
    said = json.loads(saved[-1].read_text())
    rate = said["step"] / said["seconds"] if said["seconds"] else 0.0
    return {"steps": said["step"], "updates_per_second": rate, "seconds": said["seconds"],
            "evaluations": evaluations(folder)}  # fmt: skip


def evaluations(folder: Path) -> int:
    """Return how many evaluations have their rows."""
    path = folder / "evals.csv"
    if not path.exists():
        return 0
    with path.open() as file:
        return len({row["step"] for row in csv.DictReader(file)})
