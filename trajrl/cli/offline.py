"""`offline`: learn a policy from a store."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from trajrl.cli.common import Common, say

NOT_FIELDS = {"json", "debug", "out", "resume", "set", "config", "seed"}


@dataclass(frozen=True, kw_only=True)
class Choices(Common):
    """Options that every training command shares; what is not given comes from the preset."""

    data: str | None = None
    """A store, a file or folder of a known format, or a name such as hopper-medium-v2.  Default: the embedded demo store."""
    env: str | None = None
    """suite:name, a Gymnasium id, or package.module:callable.  Default: the environment the data was recorded in."""
    agent: str | None = None
    """Algorithm.  Default: trajectory_ql."""
    sampler: str | None = None
    """What decides which trajectories are learned from; names joined by * make a product.  Default: uniform."""
    metric: str | None = None
    """What the priority sampler ranks trajectories by, such as td_error_rank."""
    steps: int | None = None
    """Gradient steps.  Default: the preset's."""
    batch_size: int | None = None
    """Windows per update."""
    preset: Literal["demo", "standard", "paper"] | None = None
    """Settings to start from.  Default: demo for the embedded store, else standard."""
    out: str = ""
    """Folder of the run.  Default: a new one under runs/."""
    resume: bool = False
    """Go on with the run in --out from its latest checkpoint."""
    device: str | None = None
    """auto, cpu, cuda or cuda:1.  Default: auto."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Arithmetic of the update; weights stay float32."""
    format: str | None = None
    """Format of foreign data.  Default: auto, by content."""
    memory: Literal["auto", "ram", "map"] | None = None
    """Read the store whole, or map it.  Default: auto, by size."""
    reward: str | None = None
    """Reward transform for learning: no, normalize, iql_antmaze, iql_locomotion, cql_antmaze, antmaze."""
    actions: Literal["as_found", "clip", "scale"] | None = None
    """What to do with recorded actions outside [-1, 1]; as_found refuses them."""
    after_success: Literal["keep", "cut"] | None = None
    """Train on steps recorded after the task was solved, or not."""
    early_stop: float | None = None
    """Stop when the behaviour-cloning loss rises by more than this between evaluations."""
    config: Path | None = None
    """A config.json to run again; options given beside it win."""
    set: tuple[str, ...] = ()
    """Any field of the resolved config, such as --set agent.eta=2.0 sampler.clusters=8 eval_every=500."""

    def chosen(self) -> dict[str, Any]:
        """Return the options that were given."""
        names = [f.name for f in fields(self) if f.name not in NOT_FIELDS]
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return given if self.config and not self.seed else {**given, "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class Offline(Choices):
    """Learn a policy from a store, evaluate it on the way, and say what it learned."""

    def run(self) -> dict[str, Any]:
        """Train, or go on training."""
        from trajrl import train

        run = self.resumed() if self.resume else self.fresh()
        with stop_politely(run):
            train.offline(run)
        return report(run)

    def fresh(self) -> Any:
        """Build a new run."""
        from trajrl import assemble

        config = assemble.resolve({**self.chosen(), "phase": "offline"}, self.set, self.config)
        folder = assemble.new_folder(config, self.out)
        assemble.lock(folder)
        run = assemble.build(config, folder)
        assemble.describe(folder, config, run.store)
        introduce(run)
        return run

    def resumed(self) -> Any:
        """Build the run that a folder holds, at its latest checkpoint."""
        from trajrl import assemble, checkpoint, train
        from trajrl.config import RunConfig

        if not self.out:
            raise ValueError("--resume needs --out, the folder of the run to go on with")
        folder = Path(self.out)
        if not (folder / "config.json").exists():
            return self.fresh()
        assemble.lock(folder)
        run = assemble.build(RunConfig.load(folder / "config.json"), folder)
        found = checkpoint.newest(folder / "checkpoints")
        if found is not None:
            train.restore(run, found)
        else:
            run.logger.cut_back(0)
            run.scores.cut_back(0)
        say(f"going on with {folder} from step {run.step} of {run.config.steps}")
        return run


class stop_politely:  # noqa: N801 - reads as a statement
    """Turn Ctrl-C into a checkpoint after the step under way."""

    def __init__(self, run: Any) -> None:
        self.run_under_way = run

    def __enter__(self) -> None:
        import signal

        self.before = signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *error: object) -> None:
        import signal

        signal.signal(signal.SIGINT, self.before)

    def _note(self, *signal_and_frame: object) -> None:
        if self.run_under_way.interrupted:
            raise KeyboardInterrupt
        self.run_under_way.interrupted = True
        say(f"stopping after this step with a checkpoint; --resume --out {self.run_under_way.folder} goes on")


def introduce(run: Any) -> None:
    """Say what is about to be learned from what."""
    config, store = run.config, run.store
    say(f"{config.agent} on {len(store)} episodes, {store.num_steps} steps of {Path(config.data).name}; sampler {config.sampler}")
    average = run.scores.average
    score = "" if average["average_score"] is None else f", score {average['average_score']:.1f}"
    say(f"the data's average return is {average['average_return']:.1f}{score}; the run is in {run.folder}")


def report(run: Any) -> dict[str, Any]:
    """Print the four scores and return the summary."""
    import json

    summary = json.loads((run.folder / "summary.json").read_text())
    scores = summary["scores"]
    if scores is None:
        say(f"done: {summary['steps']} steps in {summary['seconds']:.0f} s; no environment, no scores ({run.folder})")
        return {"run": str(run.folder), **summary}
    say()
    say(f"{summary['score_name']}" if summary["score_name"] != "none" else "raw return")
    for name, text in (
        ("last", "last evaluation"), ("mean_last_10", "mean of the last ten"), ("best", "best (chosen by score)"),
        ("selected", "selected offline"),
    ):  # fmt: skip
        found = scores[name]
        if found is not None:
            say(f"  {text:<24} {found['value']:7.1f}   95 % interval {found['low']:6.1f} to {found['high']:6.1f}   step {found['step']}")
    average = summary["data"]["average_score"]
    average = summary["data"]["average_return"] if average is None else average
    say(f"  {'average of the data':<24} {average:7.1f}")
    say(f"{summary['updates_per_second']:.0f} updates/s, {summary['seconds']:.0f} s, {summary['peak_memory_mib']:.0f} MiB; {run.folder}")
    return {"run": str(run.folder), **summary}
