"""`offline`: learn a policy from a store, in one process or, under torchrun, in several."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from trajrl.cli.common import say
from trajrl.cli.train_command import Choices, stop_politely, watched
from trajrl.cli.train_report import introduce, report
from trajrl.core.console import silence
from trajrl.core.trust import allow
from trajrl.training.run_dir.mark import calls

if TYPE_CHECKING:
    from trajrl.core.distributed import Team
    from trajrl.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Offline(Choices):
    """Learn a policy from a store, evaluate it on the way, and say what it learned."""

    eval_async: bool = False
    """Evaluate beside the training, which never waits: in processes that act on the CPU with copies of the
    weights, in the same episodes.  --set eval_workers=N says in how many; the last alone is filmed."""
    seeds: int = 1
    """Runs that one program trains together, with seeds --seed, --seed + 1 and so on.  Each has a folder of
    its own, s0, s1 and so on in --out; {seed} in --out stands for the number instead."""

    COUNTS: ClassVar[tuple[str, ...]] = ("seeds",)

    def run(self) -> dict[str, Any]:
        """Train, or continue training; under torchrun as one of several processes."""
        from trajrl.core.distributed import from_environment, joined
        from trajrl.training import loop

        if self.help_config:
            return self.explain("offline")
        if self.seeds > 1:
            from trajrl.cli.offline_seeds import train_seeds

            return train_seeds(self, self.seeds)
        with joined(from_environment()) as team:
            run = watched(self.opened(team))
            with stop_politely(run, several=team.size > 1):
                loop.offline(run)
        return report(run) if team.leads else {}

    def opened(self, team: Team) -> Run:
        """Build the run, new or where it stood; the first process chooses and broadcasts the choice."""
        if not team.leads:
            return followed(team)
        return self.resumed(team) if self.resumes() else self.fresh(team)

    def fresh(self, team: Team) -> Run:
        """Build a new run."""
        from trajrl.training import build
        from trajrl.training.chosen_preset import asked_sampler, drawn_line, published_row
        from trajrl.training.resolve_config import resolve_config, short_line
        from trajrl.training.run_dir.folder import describe_run, fresh_folder
        from trajrl.training.saved_config import config_for_rerun

        if self.config is not None:
            config_for_rerun(self.config, "offline")
        config = resolve_config({**self.chosen(), "phase": "offline"}, self.set, self.config)
        if row := published_row(config) if self.config is None else "":
            say(row)
        if line := drawn_line(asked_sampler(self.chosen(), self.set), config):
            say(line)
        with fresh_folder(config, self.out) as folder:
            team.broadcast((config, folder, None))
            run = build.build(config, folder, team=team)
            describe_run(folder, run.config, run.store, run.arithmetic)
        introduce(run)
        if line := short_line(config):
            say(line)
        return run

    def resumed(self, team: Team) -> Run:
        """Build the run that a folder holds, at its latest checkpoint."""
        from trajrl.training import build
        from trajrl.training.resume import begin_again, restore
        from trajrl.training.run_dir import checkpoint
        from trajrl.training.run_dir.folder import lock, refuse_config, refuse_other_data, remember_data
        from trajrl.training.saved_config import resume_config

        folder = Path(self.out)
        refuse_config(folder, self.config)
        lock(folder)
        config = resume_config(folder, {**self.chosen(), "phase": "offline"}, self.set)
        found = checkpoint.newest(folder / "checkpoints")
        team.broadcast((config, folder, found))
        run = build.build(config, folder, team=team)
        refuse_other_data(folder, config, run.store)
        if found is not None:
            restore(run, found)
        else:
            begin_again(run)
        run.config.save(folder / "config.json")  # only now: options that do not fit leave the run as it was
        remember_data(folder, run.store)
        say(f"continuing with {folder} from step {run.step} of {run.config.steps}")
        return run


def followed(team: Team) -> Run:
    """Build what the first process of the team builds, and be silent."""
    from trajrl.training import build
    from trajrl.training.resume import restore

    silence()
    config, folder, found = team.broadcast(None)
    allow(name for name, _ in calls(config))  # the first process looked where they come from
    run = build.build(config, folder, team=team)
    if found is not None:
        restore(run, found)
    return run
