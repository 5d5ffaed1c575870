"""`protocol`: offline, then online, on every task of a suite and for several seeds, as it is published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from trajrl.cli.common import Common, say
from trajrl.cli.option import silent
from trajrl.cli.protocol_results import main_figure, remember, show_outcomes, write_rows
from trajrl.cli.sweep import Progress, engine_resources
from trajrl.core.out_paths import refuse_no_folder
from trajrl.core.registry import find
from trajrl.envs import ORACLES, find_kind
from trajrl.sweep import ENGINES
from trajrl.sweep.process import reason

if TYPE_CHECKING:
    from trajrl.sweep.grid import Trial
    from trajrl.sweep.protocol import Pair
    from trajrl.sweep.published import Published

MADE = "data.h5"  # what --collect records
PUBLISHED = {"steps": 1_000_000, "eval_every": 100_000, "eval_episodes": 50}  # of the offline phase
BOTH = ("eval_every", "eval_episodes", "batch_size")  # options of either phase
WHOLE_EPISODES = (
    "online, a transition is drawn from once its episode has ended (published code: as soon as it is seen)"
)


@dataclass(frozen=True, kw_only=True)
class Protocol(Common):
    """Learn offline, then online, on every task and for every seed; run again, it continues with the rest."""

    environment: Annotated[
        str, tyro.conf.Positional, tyro.conf.arg(metavar="SUITE:TASK", help_behavior_hint="")
    ]
    """A family of tasks such as ogbench:cube-double, or one environment such as toy:rooms."""
    tasks: Annotated[str, silent("1-5", "all")] = ""
    """Which tasks of the family: 2, 1-5 or 1,3."""
    seeds: int = 1
    """Runs of each task, with seeds --seed, --seed + 1 and so on."""
    agent: str = "acfql"
    """The algorithm."""
    preset: str = "paper"
    """paper: a million updates, then a million steps.  small: a tenth, and networks for two cores; some
    agents have more."""
    out: Annotated[str, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: runs/protocol)")] = ""
    """Folder of the protocol: runs under trials/, rows.csv, aggregates.csv, outcomes.csv, curves.png and
    protocol.html."""
    data: Annotated[str, silent("PATH|NAME", "the environment's own")] = ""
    """One store for all tasks; rewards are relabelled for each as it is loaded."""
    collect: Annotated[int, silent("N", "0: none")] = 0
    """Record so many transitions by the environment's own script, into the folder, and learn from them."""
    steps: Annotated[int | None, silent("N", "the preset's")] = None
    """Updates of the offline phase."""
    env_steps: Annotated[int | None, silent("N", "the preset's")] = None
    """Environment steps of the online phase."""
    eval_every: Annotated[int | None, silent("N", "the preset's")] = None
    """Updates, and online environment steps, between evaluations."""
    eval_episodes: Annotated[int | None, silent("E", "the preset's")] = None
    """Episodes of each evaluation."""
    batch_size: Annotated[int | None, silent("B", "the preset's")] = None
    """Windows per update."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="")] = ()
    """Any field of both phases, such as agent.alpha=100 sampler=cluster."""
    online: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="")] = ()
    """Fields of the online phase alone, such as sampler=priority offline_mode=mix."""
    engine: Literal["local", "ray"] = "local"
    """local: processes of this machine.  ray: Ray Tune, on this machine or a cluster."""
    address: Annotated[str, silent("NAME", "a Ray of this machine")] = ""
    """Ray cluster to join, such as auto or ray://head:10001."""
    workers: int = 0
    """Runs at a time; 0: as many as the cores allow."""
    cpus: int = 1
    """Cores, and threads, of a run."""
    gpus: float = 0.0
    """GPUs of a run; 0.5: two runs share one."""
    retries: int = 3
    """How often a run that was killed is started again, from its checkpoint."""

    def run(self) -> dict[str, Any]:
        """Run what has not finished, and write the results of all."""
        from trajrl.sweep import protocol
        from trajrl.training.run_dir.folder import lock

        resources = engine_resources(self)
        chosen = self.chosen_tasks()
        out = Path(self.out or "runs/protocol")
        refuse_no_folder(out, "a protocol")
        settings = {phase: self.settings(phase, out, chosen) for phase in protocol.PHASES}
        self.check_settings(chosen, settings)
        out.mkdir(parents=True, exist_ok=True)
        with lock(out, "lock"):
            remember(out, {"environment": self.environment, **{k: list(v) for k, v in settings.items()}})
            self.record(out, chosen)
            planned = protocol.pairs(
                out, chosen, range(self.seed, self.seed + self.seeds), settings, self.trust
            )
            trials = [trial for pair in planned for trial in (pair.offline, pair.online)]
            todo = [trial for trial in trials if not trial.finished]
            say(f"{len(planned)} runs, offline and online; parts finished before: {len(trials) - len(todo)}")
            shown = Progress(len(trials), len(todo))

            def ended(trial: Trial, code: int) -> None:
                shown(trial, code)
                write_rows(out, planned)

            try:
                protocol.run(planned, find(ENGINES, self.engine, "engine"), resources, ended)
            except KeyboardInterrupt:
                write_rows(out, planned)
                raise
            return self.answer(out, planned)

    def chosen_tasks(self) -> dict[int, str]:
        """Return the full names of the tasks by their numbers."""
        from trajrl.sweep.protocol import chosen_tasks, tasks_of

        names = tasks_of(self.environment)
        return {number: names[number - 1] for number in chosen_tasks(self.tasks, len(names))}

    def settings(self, phase: str, out: Path, tasks: dict[int, str]) -> tuple[str, ...]:
        """Return what all runs of a phase share, as settings."""
        given = {name: value for name in BOTH if (value := getattr(self, name)) is not None}
        both = {**self.sizes(next(iter(tasks.values())), phase), **given}
        first = {"data": self.data_of(out, next(iter(tasks.values()))), "agent": self.agent}
        own = {**first, "preset": self.preset} if phase == "offline" else {"phase": "online"}
        length = {"offline": "steps", "online": "env_steps"}[phase]
        if (value := getattr(self, length)) is not None:
            own[length] = value
        more = self.online if phase == "online" else ()
        return (*(f"{name}={value}" for name, value in {**both, **own}.items()), *self.set, *more)

    def sizes(self, task: str, phase: str) -> dict[str, int]:
        """Return the published sizes, for presets of a publication; an agent's own count of updates wins."""
        from trajrl.training.chosen_preset import agent_preset
        from trajrl.training.presets import PRESETS

        if self.preset in PRESETS.keys() - {"paper"}:
            return {}
        said, _ = agent_preset(self.preset, self.agent, task)
        own = PUBLISHED if phase == "offline" else {}
        return {name: value for name, value in own.items() if name != "steps" or "steps" not in said}

    def data_of(self, out: Path, task: str) -> str:
        """Return what to learn from: what was named, what --collect records, or the environment's own."""
        if self.data and self.collect:
            raise ValueError("--data names what to learn from, and --collect records it: give one")
        if self.data or self.collect:
            return self.data or str(out / MADE)
        kind, own = find_kind(task)
        if name := kind.data_name(own):
            return name
        raise ValueError(f"no offline data belongs to {task}; name some with --data, or --collect it")

    def check_settings(self, tasks: dict[int, str], settings: dict[str, tuple[str, ...]]) -> None:
        """Refuse, before anything runs, what a run would refuse when it resolves its choices."""
        from trajrl.training.resolve_config import resolve_config

        if self.collect < 0:
            raise ValueError(f"--collect must not be negative; got {self.collect}")
        if self.collect and self.environment.partition(":")[0] not in ORACLES:
            raise ValueError(
                f"--collect needs an environment with a script of its own; {self.environment} has none"
            )
        for task in tasks.values():
            chosen = {"phase": "offline", "seed": self.seed, "env": task}
            resolve_config(chosen, [*settings["offline"], *self.online])

    def record(self, out: Path, tasks: dict[int, str]) -> None:
        """Record the data that --collect asks for, unless it is there."""
        if not self.collect or (out / MADE).exists():
            return
        from trajrl.cli.collect.command import Collect
        from trajrl.cli.collect.recipes import recipe_for

        first = next(iter(tasks.values()))
        name = recipe_for(first)
        made = Collect(
            env=first, recipe=name, policy="" if name else "oracle", steps=self.collect, out=out / MADE,
            resume_or_start=True, seed=self.seed,
        )  # fmt: skip
        made.check()
        made.run()

    def answer(self, out: Path, planned: list[Pair]) -> dict[str, Any]:
        """Write tables and figure, print the results, and return them."""
        from trajrl.sweep import protocol_figure
        from trajrl.sweep.published import published

        rows, aggregates, results = write_rows(out, planned)
        beside = published(self.environment, self.agent, self.preset)
        notes = self.notes(beside)
        trials = [trial for pair in planned for trial in (pair.offline, pair.online)]
        unfinished = sum(not trial.finished for trial in trials)
        for trial in trials:
            if not trial.finished and (why := reason(trial)):
                say(f"{trial.name} failed: {why}")
        title = f"{self.environment}, {self.agent}, preset {self.preset}"
        files = []
        if len(rows):
            files = protocol_figure.write(
                out, title, main_figure(rows), rows, aggregates, results, beside, notes
            )
            show_outcomes(results, beside, main_figure(rows) == "success")
        for note in notes:
            say(f"note: {note}")
        if unfinished:
            say(f"{unfinished} runs have not finished; the same command continues with them")
        say(f"{out / 'rows.csv'}" + "".join(f", {path}" for path in files))
        return {
            "out": str(out), "rows": len(rows), "unfinished": unfinished, "notes": notes,
            "files": [str(path) for path in files], "outcomes": json.loads(results.to_json(orient="records")),
        }  # fmt: skip

    def notes(self, beside: dict[str, Published]) -> list[str]:
        """Return what must be read beside the numbers."""
        kind, _ = find_kind(self.environment)
        source = sorted({one.source for one in beside.values()})
        return [
            *([kind.note()] if kind.note() else []),
            *([f"published: {', '.join(source)}; offline read at 0.9M of 1M updates"] if source else []),
            WHOLE_EPISODES,
        ]
