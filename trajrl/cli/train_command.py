"""What `offline` and `online` share: their options, and how they begin and stop."""

from __future__ import annotations

import signal
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import tyro

from trajrl.agents import DEFAULT_AGENT
from trajrl.cli.common import Common, say
from trajrl.cli.option import silent
from trajrl.core.console import fresh_line
from trajrl.samplers.options import split_roles
from trajrl.store.places import join_places

if TYPE_CHECKING:
    from trajrl.training.run import Run

NOT_FIELDS = {"json", "trust", "debug", "out", "resume", "resume_or_start", "set", "config", "help_config",
              "seeds"}  # fmt: skip
SPOKEN = ("sampler", "offline_sampler")  # options of one name, or of one for each role


@dataclass(frozen=True, kw_only=True)
class Choices(Common):
    """Options that every training command shares; what is not given comes from the preset."""

    data: Annotated[tuple[str, ...] | None, silent("PATH|NAME ...", "the embedded demo store")] = None
    """A store, a file or folder of a known format, or a name such as hopper-medium-v2; several stores, or a
    pattern in quotes such as 'shards/*.h5', are one."""
    obs_keys: Annotated[str | None, silent("state,NAME,...", "all that the data has")] = None
    """What is seen of observations with images: state, the vector, and images by name."""
    env: Annotated[str | None, silent("ID", "the one the data was recorded in")] = None
    """suite:name, a Gymnasium id, package.module:callable, or none: learn without evaluating."""
    agent: Annotated[str | None, silent("NAME", DEFAULT_AGENT)] = None
    """The algorithm."""
    sampler: Annotated[
        tuple[str, ...] | None, silent("NAME|policy=NAME values=NAME", "uniform, or the preset's")
    ] = None
    """What decides which trajectories are learned from; names joined by * make a product, and a name for each
    role draws one batch for the policy and another for the values."""
    metric: Annotated[str | None, silent("NAME", "the sampler's own")] = None
    """What the priority sampler ranks trajectories by, such as td_error_rank."""
    steps: Annotated[int | None, silent("N", "the preset's")] = None
    """Gradient steps."""
    batch_size: Annotated[int | None, silent("B", "the preset's")] = None
    """Windows per update."""
    log_every: Annotated[int | None, silent("N", "the preset's, and at most a twentieth of the run")] = None
    """Steps between rows of metrics.csv; steps are updates, online those of the environment."""
    eval_every: Annotated[int | None, silent("N", "the preset's, and at most a fifth of the run")] = None
    """Steps between evaluations; 0: only at the end."""
    eval_episodes: Annotated[int | None, silent("E", "the preset's")] = None
    """Episodes of each evaluation."""
    checkpoint_every: Annotated[int | None, silent("N", "the preset's, and at most a fifth of the run")] = (
        None
    )
    """Steps between checkpoints, and the most that is done again after a kill."""
    seed: Annotated[int | None, silent("S", "0, or the seed of the run or config continued from")] = None  # type: ignore[assignment]
    """Seed of every random stream."""
    preset: Annotated[
        str | None, silent("demo|standard|paper", "demo for the embedded store, else standard")
    ] = None
    """Settings to start from; some agents have more."""
    out: Annotated[
        str, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: a new one under runs/)")
    ] = ""
    """Folder of the run."""
    resume: bool = False
    """Continue the run in --out from its latest checkpoint; other options given change the rest of it."""
    resume_or_start: bool = False
    """Resume the run in --out, or start it where there is none: for jobs that a scheduler starts again."""
    device: Annotated[str | None, silent("auto|cpu|cuda|cuda:1", "auto")] = None
    """Where to learn; auto is the GPU where there is one."""
    dtype: Annotated[Literal["float32", "bfloat16"] | None, silent("float32|bfloat16", "float32")] = None
    """Arithmetic of the update; weights stay float32."""
    matmul: Annotated[Literal["exact", "fast"] | None, silent("exact|fast", "exact")] = None
    """Products of float32 matrices.  fast: rounded factors, TF32 on a GPU, bfloat16 on a CPU that can;
    sums stay float32."""
    format: Annotated[str | None, silent("NAME", "auto, by content")] = None
    """Format of foreign data."""
    memory: Annotated[Literal["auto", "ram", "map"] | None, silent("auto|ram|map", "auto, by size")] = None
    """Read the store whole, or map it."""
    holdout: Annotated[
        float | None, silent("SHARE", "0; with --preset standard 0.1 where the data has 50 episodes or more")
    ] = None
    """Share of the episodes that is never learned from, to measure the agent on at each evaluation."""
    distil: Annotated[int | None, silent("N", "0: none")] = None
    """Updates of a student, trained at the end, that acts in one step where a diffusion policy takes several;
    `evaluate --checkpoint distilled` acts by it, and `export` writes it."""
    reward: Annotated[str | None, silent("NAME", "no")] = None
    """Reward transform for learning: no, normalize, iql_antmaze, iql_locomotion, cql_antmaze, antmaze."""
    actions: Annotated[
        Literal["as_found", "clip", "scale", "scaled", "rescale"] | None,
        silent("as_found|clip|scale|scaled|rescale", "as_found"),
    ] = None
    """Units of recorded actions.  as_found: the store's box, which is the environment's too, and none lies
    outside; clip: the same, and cut to it; scale: the environment's; scaled: [-1, 1], which it scales to its
    box; rescale: the store's box, brought to the environment's."""
    after_success: Annotated[Literal["keep", "cut"] | None, silent("keep|cut", "keep")] = None
    """Train on steps recorded after the task was solved, or end the episode at the first solved step."""
    wandb: bool = False
    """Also log to Weights & Biases, offline unless WANDB_MODE says otherwise."""
    mlflow: bool = False
    """Also log to MLflow: at MLFLOW_TRACKING_URI, else in its own local files."""
    select_by: Annotated[str | None, silent("NAME", "none: the smallest behaviour-cloning loss")] = None
    """At the end rank what the run kept, and write selection.json; criteria are those of `select --by`."""
    early_stop: Annotated[float | None, silent("X", "0, never")] = None
    """Stop when a policy is worse than the one before by more than this, in units of --early-stop-by."""
    early_stop_by: Annotated[str | None, silent("NAME", "bc_loss, over the updates in between")] = None
    """The behaviour-cloning loss, or another criterion of `select --by`, measured anew on both policies."""
    config: Annotated[Path | None, silent("FILE", "none")] = None
    """A config.json to run again; options given beside it win."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="")] = ()
    """Any field that --help-config lists, such as --set agent.eta=2.0 sampler.clusters=8 first_eval=500."""
    help_config: bool = False
    """Print every field of the run, agent, sampler and environment chosen, with its value, and leave."""

    def check(self) -> None:
        """Refuse names of samplers that lack a part."""
        super().check()
        for option in SPOKEN:
            words = getattr(self, option, None)
            if words is not None:
                require_sampler(f"--{option.replace('_', '-')}", spoken(words))

    def resumes(self) -> bool:
        """Say whether --out is to be resumed; a folder that holds no run is refused or, if asked, started."""
        from trajrl.training.run_dir.folder import require_run

        if not (self.resume or self.resume_or_start):
            return False
        if not self.out:
            option = "--resume" if self.resume else "--resume-or-start"
            raise ValueError(f"{option} needs --out, the folder of the run to continue with")
        if self.resume_or_start:
            return (Path(self.out) / "config.json").exists()
        require_run(Path(self.out))
        return True

    def chosen(self) -> dict[str, Any]:
        """Return the options that were given."""
        names = [f.name for f in fields(self) if f.name not in NOT_FIELDS]
        values = {name: getattr(self, name) for name in names}
        values |= {name: spoken(values[name]) for name in SPOKEN if values.get(name) is not None}
        if self.data is not None:
            values["data"] = join_places(self.data)
        return {name: value for name, value in values.items() if value is not None and value is not False}

    def explain(self, phase: str, source: str = "") -> dict[str, Any]:
        """Print every field that this command line leads to; nothing is opened and nothing is trained."""
        from trajrl.cli.help_config import planned, show_config

        folder = self.out if self.resume else ""
        return show_config(planned(phase, self.chosen(), self.set, self.config, source, folder))


def spoken(words: str | tuple[str, ...]) -> str:
    """Return the words of an option as a sampler's name."""
    return words if isinstance(words, str) else " ".join(words)


def require_sampler(option: str, name: str) -> None:
    """Refuse what is neither a name, nor names joined by *, nor such for each role."""
    parts = list(split_roles(name).values()) or [name]
    if len(name.split()) > len(parts) or not all(word.strip() for part in parts for word in part.split("*")):
        raise ValueError(
            f"{option} takes a name, names joined by * such as cluster*priority, or one for each role, "
            f"policy=NAME values=NAME; got '{name}'"
        )


def watched(run: Run) -> Run:
    """Let TensorBoard show more of a run than its scalars."""
    from trajrl.report.draw.tensorboard import LiveView

    run.show_with(LiveView())
    return run


class Stoppable(Protocol):
    """A run, or several that train together."""

    folder: Path
    interrupted: bool

    def interrupt(self) -> None:
        """End after the step under way, with a checkpoint."""


class stop_politely:  # noqa: N801 - reads as a statement
    """Turn Ctrl-C into a checkpoint after the step under way."""

    def __init__(self, run: Stoppable, how: str = "", several: bool = False) -> None:
        """Stop `run`; `how` says what continues it, if not --resume --out and its folder.

        Each of several processes hears a Ctrl-C more than once, as their launcher passes it on; it has a
        limit of its own, so that repeats need not end anything.
        """
        self.several = several
        self.run_under_way, self.how = run, how or f"--resume --out {run.folder}"

    def __enter__(self) -> None:
        self.before = signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN if self.several else self.before)

    def _note(self, *signal_and_frame: object) -> None:
        if self.run_under_way.interrupted:
            if self.several:
                return
            raise KeyboardInterrupt
        self.run_under_way.interrupt()
        fresh_line()
        say(f"stopping after this step with a checkpoint; {self.how} continues")
