"""`sweep`: runs over a grid and seeds, here or on a cluster; killed and started again, it continues."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from trajrl.cli.common import say
from trajrl.cli.option import silent
from trajrl.cli.text_table import show_table
from trajrl.cli.train_command import Choices
from trajrl.core import old_names
from trajrl.core.atomic_files import write_text
from trajrl.core.json_file import as_written, read_object
from trajrl.core.out_paths import refuse_no_folder, refuse_taken
from trajrl.core.registry import find
from trajrl.samplers import SAMPLERS
from trajrl.samplers.auto import AUTO
from trajrl.samplers.options import choose_sampler
from trajrl.store.notes import counted
from trajrl.sweep import ENGINES
from trajrl.sweep.grid import read_grid, together, trials
from trajrl.sweep.process import Resources, reason

if TYPE_CHECKING:
    from trajrl.sweep.grid import Trial

OWN = {"grid", "seeds", "together", "engine", "address", "workers", "cpus", "gpus", "retries", "seed"}


@dataclass(frozen=True, kw_only=True)
class Sweep(Choices):
    """Do a run for every cell of a grid and every seed; run again, it continues with the rest."""

    grid: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE,VALUE ...")]
    """What varies: options or any fields, such as sampler=uniform,cluster agent.eta=1,2."""
    out: Annotated[str, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: runs/sweep)")] = ""
    """Folder of the sweep: runs under trials/, what they printed under logs/, results.csv."""
    seed: int = 0
    """The first seed."""
    seeds: int = 1
    """Runs of each cell, with seeds --seed, --seed + 1 and so on."""
    together: bool = False
    """Train the seeds of each cell as one program, in one process: `offline --seeds`."""
    engine: Literal["local", "ray"] = "local"
    """local: processes of this machine.  ray: Ray Tune, on this machine or a cluster."""
    address: Annotated[str, silent("NAME", "a Ray of this machine")] = ""
    """Ray cluster to join, such as auto or ray://head:10001."""
    workers: int = 0
    """Trials at a time; 0: as many as the cores allow."""
    cpus: int = 1
    """Cores, and threads, of a trial."""
    gpus: float = 0.0
    """GPUs of a trial; 0.5: two trials share one."""
    retries: int = 3
    """How often a trial that was killed is started again, from its checkpoint."""
    resume: tyro.conf.Suppress[bool] = False  # a sweep always continues
    resume_or_start: tyro.conf.Suppress[bool] = False
    config: tyro.conf.Suppress[Path | None] = None  # --set says it all

    def run(self) -> dict[str, Any]:
        """Run what has not finished, and print the results of all."""
        from trajrl.sweep.results import write_results
        from trajrl.training.run_dir.folder import lock

        out, grid, base = Path(self.out or "runs/sweep"), read_grid(self.grid), self.base()
        resources = engine_resources(self)
        seeds = range(self.seed, self.seed + self.seeds)
        planned = trials(out, grid, base, list(seeds), self.trust)
        check(planned, grid, self.set)
        refuse_no_folder(out, "a sweep")
        out.mkdir(parents=True, exist_ok=True)
        with lock(out, "lock"):
            remember(out, base, list(grid))
            left = [trial for trial in planned if not trial.finished]
            introduce(planned, left)
            todo = left
            if self.together:
                planned, todo = together(planned)
            try:
                if todo:
                    progress = Progress(len(planned), sum(trial.seeds for trial in todo))
                    find(ENGINES, self.engine, "engine")(todo, resources, progress)
            except KeyboardInterrupt:
                self.answer(out, write_results(out, planned), list(grid))
                raise
            found = write_results(out, planned)
        return self.answer(out, found, list(grid))

    def base(self) -> tuple[str, ...]:
        """Return what all trials share, as settings."""
        given = {name: value for name, value in self.chosen().items() if name not in OWN}
        plain = {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()
        }
        return (*(f"{name}={value}" for name, value in plain.items()), *self.set)

    def answer(self, out: Path, found: Any, names: list[str]) -> dict[str, Any]:
        """Print the table and return the counts."""
        from trajrl.sweep.results import HEADER, STATES, table
        from trajrl.sweep.unscored import judged, why

        say()
        if len(unscored := why(found)) == 0 or ("last" in found and found["last"].notna().any()):
            show_table((*names, *HEADER), table(found, names, self.seed), numbers=HEADER)
        if unscored:
            say(unscored)
            header, rows = judged(found, names)
            show_table((*names, *header), rows, numbers=header)
        states = {name: int((found["state"] == name).sum()) for name in STATES}
        for row in found[found["state"] == "failed"].itertuples():
            say(f"{row.trial} failed: {row.error}")
        open_ones = states["begun"] + states["waiting"]
        if open_ones:
            say(f"{counted('trial[s] [has|have]', open_ones)} not finished; the same command continues")
        whole = counted("trial[s] [has|have]", len(found))
        say(f"{states['finished']} of {whole} finished; {out / 'results.csv'}")
        return {
            "out": str(out), "results": str(out / "results.csv"), "trials": len(found), **states,
            "unfinished": open_ones, "rows": json.loads(found.to_json(orient="records")),
        }  # fmt: skip


def engine_resources(command: Any) -> Resources:
    """Return what the engine may use, by a command's options."""
    for name, least in (("seeds", 1), ("cpus", 1), ("workers", 0), ("retries", 0), ("gpus", 0)):
        if getattr(command, name) < least:
            raise ValueError(f"--{name} must be at least {least}; got {getattr(command, name)}")
    if not isfinite(command.gpus) or (command.gpus > 1 and not command.gpus.is_integer()):
        raise ValueError(f"--gpus is a whole number, or a share of one such as 0.5; got {command.gpus:g}")
    if command.address and command.engine != "ray":
        raise ValueError("--address is for --engine ray")
    return Resources(command.cpus, command.gpus, command.workers, command.retries, command.address)


class Progress:
    """Tells each trial's end in a line, with the time left."""

    def __init__(self, planned: int, todo: int) -> None:
        self.planned, self.todo, self.ended, self.began = planned, todo, 0, time.monotonic()

    def __call__(self, trial: Trial, code: int) -> None:
        """Print how a trial ended."""
        if code < 0:
            say(f"{trial.name} was killed; what it saved is kept")
            return
        self.ended += trial.seeds
        spent = time.monotonic() - self.began
        left = spent / self.ended * (self.todo - self.ended)
        score = "" if code else score_of(trial)
        how = f"failed: {reason(trial) or f'see {trial.log}'}" if code else f"finished{score}"
        place = f"[{self.planned - self.todo + self.ended} of {self.planned}]"
        say(f"{place} {trial.name} {how}, {spent:.0f} s, about {left:.0f} s left")


def score_of(trial: Trial) -> str:
    """Return the last score, or that of each seed, in words."""
    from trajrl.training.run_dir.evaluations import shown

    found, scale = [], "score"
    for folder in trial.folders:
        with as_written(path := folder / "summary.json"):
            summary = read_object(path)
            scores, scale = summary.get("scores"), summary.get("scale", "score")
            found += [shown(scores["last"]["value"], scale)] if scores else []
    return f", {scale} {', '.join(found)}" if found else ""


def check(planned: list[Trial], grid: dict[str, list[str]], settings: tuple[str, ...]) -> None:
    """Refuse, before anything runs, what a trial would refuse when it resolves its choices."""
    from trajrl.training.resolve_config import resolve_config

    if not grid:
        raise ValueError("--grid says what varies, such as sampler=uniform,cluster")
    names = [old_names.setting(setting.partition("=")[0]) for setting in planned[0].settings]
    twice = [name for name in grid if names.count(name) > 1]
    if twice:
        raise ValueError(f"{twice[0]} is in the grid, and given beside it as well")
    for trial in planned:
        if trial.seed == planned[0].seed:
            config = resolve_config({"phase": "offline", "seed": trial.seed}, trial.settings)
            if config.sampler != AUTO:
                choose_sampler(SAMPLERS, config.sampler, config.sampler_options)


def remember(out: Path, base: tuple[str, ...], names: list[str]) -> None:
    """Write what the sweep is of; refuse a folder that holds a sweep of something else."""
    path, made = out / "sweep.json", {"base": list(base), "grid": names}
    if (out / "config.json").exists():
        raise ValueError(f"{out} holds a run, not a sweep; give another --out")
    if not path.exists():
        refuse_taken(out / "results.csv", "sweep")
        write_text(path, json.dumps(made, indent=2) + "\n")
        return
    try:
        before = {name: list(read_object(path)[name]) for name in made}
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path} does not say what the sweep is of; give another --out") from error
    before["grid"] = [old_names.setting(name) for name in before["grid"]]
    for name in made:
        if before[name] != made[name]:
            was, now = (" ".join(part[name]) or "none" for part in (before, made))
            raise ValueError(
                f"{out} holds a sweep with other settings ({was}; now {now}); give another --out"
            )


def introduce(planned: list[Trial], todo: list[Trial]) -> None:
    """Say what there is to do."""
    kept, begun = len(planned) - len(todo), sum(trial.begun for trial in todo)
    words = [counted("trial[s]", len(planned))]
    words += [f"finished before and kept: {kept}"] if kept else []
    words += [f"continuing from a checkpoint: {begun}"] if begun else []
    say("; ".join(words))
