"""`online`: continue from an offline run in its environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from trajrl.cli.common import say
from trajrl.cli.offline import Offline
from trajrl.cli.option import silent
from trajrl.cli.train_command import Choices, spoken, stop_politely, watched
from trajrl.cli.train_report import introduce, report
from trajrl.samplers.auto import AUTO, OFFLINE_ALONE
from trajrl.store.notes import counted
from trajrl.training.presets import ONLINE_SAMPLER

if TYPE_CHECKING:
    from trajrl.training.config import RunConfig
    from trajrl.training.run import Run

SHORT_STEPS = 2_000  # of the offline phase that runs first where there is no run to continue from
LEARNED = (  # what a policy is made of
    "data", "obs_keys", "env", "agent", "format", "reward", "actions", "after_success", "holdout",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Online(Choices):
    """Continue from an offline run in its environment: act, keep every episode, learn from both."""

    from_run: Annotated[
        str,
        tyro.conf.arg(
            name="from", metavar="RUN",
            help_behavior_hint="(default: the newest finished offline run under runs/ that fits)",
        ),
    ] = ""  # fmt: skip
    """Folder of the offline run; without any, an offline phase of --steps (at most 2000) runs first."""
    env_steps: Annotated[int | None, silent("N", "the preset's")] = None
    """Steps in the environment, all environments together."""
    utd: Annotated[float | None, silent("U", "1")] = None
    """Updates per environment step; the critic steps of an agent that has agent.utd count as one update."""
    envs: Annotated[int | None, silent("V", "1")] = None
    """Environments stepped together."""
    learning_starts: Annotated[int | None, silent("N", "the preset's")] = None
    """Environment steps before the first update."""
    begin_with: Annotated[Literal["policy", "random"] | None, silent("policy|random", "policy")] = None
    """Who acts until the first update."""
    warmup_steps: Annotated[int | None, silent("N", "the preset's")] = None
    """Environment steps until --sampler takes over; until then draws are uniform."""
    buffer: Annotated[int | None, silent("N", "0: all")] = None
    """Steps that may be drawn: the oldest episodes, the data's first, give way to new ones."""
    critic_warmup: Annotated[int | None, silent("N", "0")] = None
    """Updates over which the critics' learning rates rise from 0 to their own."""
    explore_noise: Annotated[float | None, silent("S", "0")] = None
    """Standard deviation of noise added to actions while collecting; actions lie in [-1, 1]."""
    offline_mode: Annotated[
        Literal["keep", "mix", "anneal", "drop"] | None,
        silent("keep|mix|anneal|drop", "keep; mix where --offline-fraction is given"),
    ] = None
    """Offline episodes: keep in one pool with the new ones, mix at an exact share, anneal that, or drop."""
    offline_fraction: Annotated[float | None, silent("F", "0.5")] = None
    """Share of every batch that is offline, exactly; where anneal begins."""
    offline_sampler: Annotated[
        tuple[str, ...] | None,
        silent("NAME|policy=NAME values=NAME", "the offline run's, else cluster; uniform for images"),
    ] = None
    """What draws the offline share, and the short offline phase."""
    env_timeout: Annotated[float | None, silent("SECONDS", "the preset's; 0: wait for ever")] = None
    """Seconds until a silent environment counts as hung and is started again."""
    max_failures: Annotated[int | None, silent("K", "10")] = None
    """Environments that crash or hang until the run stops, with a checkpoint."""
    watch: bool = False
    """Show the run as a page that refreshes, to browsers of this machine alone; DIR/watch/index.html
    keeps it."""
    watch_port: Annotated[int, silent("N", "any that is free")] = 0
    """Port of 127.0.0.1 that the page is given at."""
    data: Annotated[tuple[str, ...] | None, silent("PATH|NAME ...", "the offline run's")] = None
    """The offline run's data; without --from only runs that learned from it are taken."""
    env: Annotated[str | None, silent("ID", "the offline run's")] = None
    """Environment to act in: suite:name, a Gymnasium id or package.module:callable."""
    agent: Annotated[str | None, silent("NAME", "the offline run's")] = None
    """The offline run's algorithm; without --from only runs of it are taken."""
    sampler: Annotated[
        tuple[str, ...] | None, silent("NAME|policy=NAME values=NAME", f"{ONLINE_SAMPLER}, or the preset's")
    ] = None
    """What draws trajectories after --warmup-steps: as offline, a name, A*B, or one for each role."""
    holdout: Annotated[float | None, silent("SHARE", "the offline run's")] = None
    """Share of the episodes that the offline run holds out, and this one with it."""
    steps: Annotated[int | None, silent("N", "a tenth of --env-steps, 100 to 2000")] = None
    """Gradient steps of the short offline phase, where one runs first."""

    def check(self) -> None:
        """Refuse what decides by recorded returns."""
        super().check()
        named = (words for words in (self.sampler, self.offline_sampler) if words is not None)
        if AUTO in map(spoken, named):
            raise ValueError(OFFLINE_ALONE)

    def run(self) -> dict[str, Any]:
        """Collect and learn, or continue it."""
        if self.help_config:
            return self.explain("online", self.from_run)
        run = watched(self.resumed() if self.resumes() else self.fresh())
        from trajrl.training import loop

        with self.shown(run), stop_politely(run):
            loop.online(run)
        answer = report(run)
        say_outcome(answer["online"], run.evaluations.scale)
        gave_up = run.online is not None and run.online.collector.gave_up
        return {**answer, "failed": bool(run.stop_reason and gave_up)}

    @contextmanager
    def shown(self, run: Run) -> Iterator[None]:
        """Give the page of a run while it works, if that was asked for."""
        if not self.watch:
            yield
            return
        from trajrl.report.draw.watch import Watch
        from trajrl.report.page.watch import Server

        page, others = Watch(run), run.view
        run.logger.show_on(page)

        def view(run: Run, last: bool) -> None:
            if others is not None:
                others(run, last)
            page(run, last)

        run.show_with(view)
        server = Server(run.folder, self.watch_port)
        say(f"watch it at {server.address}; {run.folder}/watch/index.html keeps what it said last")
        try:
            yield
        finally:
            server.close()

    def fresh(self) -> Run:
        """Build a new run from an offline one."""
        from trajrl.training import build, offline_to_online
        from trajrl.training.resolve_online import online_config
        from trajrl.training.run_dir.folder import describe_run, fresh_folder, refuse_other_data

        source = self.source()
        config = online_config(source, self.chosen(), self.set, self.config)
        with fresh_folder(config, self.out) as folder:
            run = build.build(config, folder)
            refuse_other_data(source, config, run.store)
            offline_to_online.take_over(run, source)
            describe_run(folder, run.config, run.store, run.arithmetic)
        introduce(run)
        say(f"continuing from {source}, which made {config.first_step} updates")
        say(schedule(config))
        return run

    def resumed(self) -> Run:
        """Build the run that a folder holds, at its latest checkpoint."""
        from trajrl.training import build, offline_to_online, resume
        from trajrl.training.run_dir import checkpoint
        from trajrl.training.run_dir.folder import lock, refuse_config, refuse_other_data, remember_data
        from trajrl.training.saved_config import resume_config

        folder = Path(self.out)
        refuse_config(folder, self.config)
        lock(folder)
        config = resume_config(folder, {**self.chosen(), "phase": "online"}, self.set)
        run = build.build(config, folder)
        refuse_other_data(folder, config, run.store)
        found = checkpoint.newest(folder / "checkpoints")
        if found is not None:
            resume.restore(run, found)
        else:
            refuse_other_data(Path(config.from_run), config, run.store)
            offline_to_online.take_over(run, Path(config.from_run))
            resume.begin_again(run)
        run.config.save(folder / "config.json")  # only now: options that do not fit leave the run as it was
        remember_data(folder, run.store)
        say(f"continuing with {folder} from environment step {run.clock} of {config.env_steps}")
        return run

    def chosen(self) -> dict[str, Any]:
        """Return the options that were given; the seed and the data are the offline run's unless given."""
        own = ("from_run", "steps", "watch", "watch_port")
        given = {name: value for name, value in super().chosen().items() if name not in own}
        if "offline_fraction" in given and self.config is None and not self.resumes():
            given.setdefault("offline_mode", "mix")
        return given

    def source(self) -> Path:
        """Return the offline run to start from: the one named, the newest that fits, or a short new one."""
        from trajrl.training.run_dir.folder import newest_run
        from trajrl.training.saved_config import config_for_rerun

        again = config_for_rerun(self.config, "online") if self.config is not None else None
        if self.from_run:
            return Path(self.from_run)
        if again is not None:
            return Path(again.from_run)
        wanted = {name: value for name, value in self.chosen().items() if name in (*LEARNED, "seed")}
        found = newest_run(Path("runs"), wanted, self.set)
        if found is not None:
            say(f"the newest offline run that fits is {found}")
            return found
        say("no finished offline run under runs/ fits: a short offline phase runs first")
        run, here = Path(self.short_offline().run()["run"]), Path.cwd()
        return run.relative_to(here) if run.is_relative_to(here) else run

    def short_offline(self) -> Offline:
        """Return the command of the offline phase that runs first."""
        shared = {name: getattr(self, name) for name in (*LEARNED, "batch_size", "preset", "device", "dtype")}
        mine = tuple(part for part in self.set if part.startswith("agent."))
        out = f"{self.out.rstrip('/')}-offline" if self.out else ""
        steps = self.steps or min(SHORT_STEPS, max(100, (self.env_steps or SHORT_STEPS * 10) // 10))
        quick = (f"eval_every={steps}", "first_eval=0")
        return Offline(
            **shared, seed=self.seed, steps=steps, out=out, resume_or_start=bool(out),
            sampler=self.offline_sampler or self.drawn_before(), set=(*quick, *mine),
        )  # fmt: skip

    def drawn_before(self) -> tuple[str, ...]:
        """Return what the short offline phase draws with: clusters, which are of vectors, else all alike."""
        from trajrl.store.places import join_places
        from trajrl.training.config import RunConfig
        from trajrl.training.data import sees_images_alone

        data = join_places(self.data) if self.data else RunConfig.data
        if sees_images_alone(data, self.obs_keys or ""):
            say("observations are images alone, which are not clustered: the offline phase draws uniformly")
            return ("uniform",)
        return ("cluster",)


def schedule(config: RunConfig) -> str:
    """Say how much of the phase is learned in, and how."""
    steps = max(0, config.env_steps - config.learning_starts)
    if not steps:
        return (
            f"nothing is learned: --learning-starts {config.learning_starts}, --env-steps {config.env_steps}"
        )
    draws = f"draws are {config.warmup_sampler} until step {config.warmup_steps}, then {config.sampler}"
    if config.warmup_steps <= config.learning_starts or config.warmup_sampler == config.sampler:
        draws = f"draws are {config.sampler}"
    return (
        f"{config.env_steps} environment steps, learning from step {config.learning_starts} on: "
        f"{int(config.utd * steps)} updates; {draws}"
    )


def say_outcome(found: dict[str, Any], scale: str) -> None:
    """Say what the phase did, in numbers on this scale: score, success or return."""
    from trajrl.training.run_dir.evaluations import shown

    if "before" in found:
        before, last, drop = (shown(found[name], scale) for name in ("before", "last", "drop"))
        regret = shown(found["regret"], scale, digits=2)
        say(f"{scale} {before} before, {last} at the end; deepest drop {drop}, mean regret {regret}")
    shares = ", ".join(f"{name} {share:.0%}" for name, share in found["rows"].items())
    after = f"{found['sampler_share']['updates']:.0%} of the updates came after the warm-up"
    say(f"{counted('episode[s]', found['episodes'])}; {after}; rows: {shares}")
