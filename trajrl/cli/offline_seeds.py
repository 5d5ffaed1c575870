"""`offline --seeds R`: R runs as one program, each in a folder of its own."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.cli.common import say
from trajrl.cli.text_table import show_table
from trajrl.cli.train_command import stop_politely, watched
from trajrl.cli.train_report import introduce
from trajrl.core.json_file import read_object

if TYPE_CHECKING:
    from trajrl.cli.train_command import Choices
    from trajrl.training.config import RunConfig
    from trajrl.training.seeds import Seeds

FOUND = ("env", "env_options")  # fields that are empty until a run is built
HEADER = ("seed", "last", "mean of ten", "best", "selected", "step")


def train_seeds(command: Choices, count: int) -> dict[str, Any]:
    """Train the runs, or continue with them."""
    from trajrl.core.distributed import from_environment
    from trajrl.training import seeds

    if from_environment().size > 1:
        raise ValueError("--seeds trains in one process, and torchrun started several: give one of them")
    numbers = range(command.seed or 0, (command.seed or 0) + count)
    found = resumed(command, numbers) if begun(command, numbers) else fresh(command, numbers)
    for run in found.runs:
        watched(run)
    with stop_politely(found, how=f"--resume --seeds {len(found.runs)} --out {command.out or found.folder}"):
        seeds.offline(found)
    return report(found)


def folder_of(out: str, seed: int) -> Path:
    """Return the folder of one seed's run."""
    return Path(out.replace("{seed}", str(seed))) if "{seed}" in out else Path(out) / f"s{seed}"


def begun(command: Choices, numbers: range) -> bool:
    """Say whether there are runs to resume; --resume wants all of them."""
    from trajrl.training.run_dir.folder import require_run

    if not (command.resume or command.resume_or_start):
        return False
    if not command.out:
        option = "--resume" if command.resume else "--resume-or-start"
        raise ValueError(f"{option} needs --out, the folder of the runs to continue with")
    folders = [folder_of(command.out, seed) for seed in numbers]
    if command.resume_or_start:
        return any((folder / "config.json").exists() for folder in folders)
    for folder in folders:
        require_run(folder)
    return True


def fresh(command: Choices, numbers: range) -> Seeds:
    """Build new runs; if one of them cannot be built, nothing of any is left."""
    from trajrl.training.build_seeds import build_seeds, refuse
    from trajrl.training.chosen_preset import asked_sampler, drawn_line, published_row
    from trajrl.training.resolve_config import short_line
    from trajrl.training.run_dir.folder import describe_run, fresh_folder, unused_name
    from trajrl.training.seeds import Seeds

    configs = resolved(command, numbers)
    refuse(configs[0])  # before there is a folder
    if row := published_row(configs[0]) if command.config is None else "":
        say(row)
    if line := drawn_line(asked_sampler(command.chosen(), command.set), configs[0]):
        say(line)
    span = f"s{configs[0].seed}-s{configs[-1].seed}"
    out = command.out or str(unused_name(configs[0], span))
    with ExitStack() as made:
        folders = [made.enter_context(fresh_folder(one, str(folder_of(out, one.seed)))) for one in configs]
        runs = build_seeds(configs, folders)
        for run in runs:
            describe_run(run.folder, run.config, run.store, run.arithmetic)
    introduce(runs[0], f"{len(runs)} seeds as one program; the runs are in {out}")
    if line := short_line(configs[0]):
        say(line)
    return Seeds(runs, Path(out))


def resolved(command: Choices, numbers: range) -> list[RunConfig]:
    """Return the config of every seed."""
    from trajrl.training.resolve_config import resolve_config
    from trajrl.training.saved_config import config_for_rerun

    if command.config is not None:
        config_for_rerun(command.config, "offline")
    chosen = {**command.chosen(), "phase": "offline"}
    if any(setting.partition("=")[0] == "seed" for setting in command.set):
        raise ValueError("--seeds counts from --seed on; leave seed out of --set")
    return [resolve_config({**chosen, "seed": seed}, command.set, command.config) for seed in numbers]


def resumed(command: Choices, numbers: range) -> Seeds:
    """Build the runs that the folders hold, all at one step; one that never began is begun."""
    from trajrl.training.build_seeds import build_seeds
    from trajrl.training.resume_seeds import restore_all
    from trajrl.training.run_dir.folder import (
        describe_run,
        fresh_folder,
        lock,
        refuse_config,
        refuse_other_data,
        remember_data,
    )
    from trajrl.training.saved_config import resume_config
    from trajrl.training.seeds import Seeds

    chosen, configs, folders = {**command.chosen(), "phase": "offline"}, [], []
    with ExitStack() as made:
        for seed in numbers:
            folder = folder_of(command.out, seed)
            if (folder / "config.json").exists():
                refuse_config(folder, command.config)
                lock(folder)
                configs.append(resume_config(folder, {**chosen, "seed": seed}, command.set))
            else:
                configs.append(resolved(command, numbers)[numbers.index(seed)])
                made.enter_context(fresh_folder(configs[-1], str(folder)))
            folders.append(folder)
        require_alike(configs, folders)
        runs = build_seeds(configs, folders)
        for run in runs:
            refuse_other_data(run.folder, run.config, run.store)
        restore_all(runs)
    for run in runs:
        if (run.folder / "versions.json").exists():
            run.config.save(run.folder / "config.json")
            remember_data(run.folder, run.store)
        else:
            describe_run(run.folder, run.config, run.store, run.arithmetic)
    step = max(run.step for run in runs)  # those that ended early stand behind it
    say(f"continuing with {len(runs)} seeds in {command.out} from step {step} of {runs[0].config.steps}")
    return Seeds(runs, Path(command.out))


def require_alike(configs: list[RunConfig], folders: list[Path]) -> None:
    """Refuse runs that differ in more than their seed."""
    first = configs[0]
    for config, folder in zip(configs, folders):
        for name, value in vars(config).items():
            pair = value, getattr(first, name)
            early = name in FOUND and not all(pair)  # one was killed before it found out
            if pair[0] != pair[1] and not early and name not in ("seed", "threads"):
                raise ValueError(
                    f"{folder} differs from {folders[0]} in more than the seed ({name}), and --seeds trains "
                    "runs that are alike: resume each by itself"
                )


def report(seeds: Seeds) -> dict[str, Any]:
    """Print a line of scores per seed, and return the summaries."""
    from trajrl.training.run_dir.evaluations import shown

    found = [read_object(run.folder / "summary.json") for run in seeds.runs]
    rows = []
    for run, summary in zip(seeds.runs, found):
        scores, scale = summary["scores"] or {}, summary.get("scale", "score")
        names = ("last", "mean_last_10", "best", "selected")
        of_each = [scores.get(name) for name in names]
        values = [shown(one["value"], scale) if one else "-" for one in of_each]
        rows.append([str(run.config.seed), *values, str(summary["steps"])])
    say()
    show_table(HEADER, rows, numbers=HEADER)
    for run, summary in zip(seeds.runs, found):
        if summary["stop_reason"]:
            say(f"seed {run.config.seed} stopped: {summary['stop_reason']}")
    seconds, memory = max(one["seconds"] for one in found), max(one["peak_memory_mib"] for one in found)
    rate = found[0].get("updates_per_second", 0.0)
    say(
        f"{len(found)} seeds, {rate:.0f} updates/s each, in {seconds:.0f} s, {memory:.0f} MiB; {seeds.folder}"
    )
    return {
        "out": str(seeds.folder), "seeds": [run.config.seed for run in seeds.runs], "seconds": seconds,
        "runs": [{"run": str(run.folder), **summary} for run, summary in zip(seeds.runs, found)],
    }  # fmt: skip
