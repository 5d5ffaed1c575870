"""`evaluate`: run episodes with the policy of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from trajrl.cli.common import Common, say
from trajrl.cli.option import silent
from trajrl.core.out_paths import refuse_links_out
from trajrl.report.draw.video import record
from trajrl.store.notes import counted

if TYPE_CHECKING:
    import gymnasium

    from trajrl.agents.base.protocol import Agent
    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.rollout.collector import EnvFailureError
    from trajrl.training.run_dir.evaluations import Evaluation
    from trajrl.training.run_dir.load_run import LoadedRun


SAY_SECONDS = 5.0  # between two lines of progress


class Steps:
    """Counts steps as an evaluation takes them, and prints their number every few seconds."""

    def __init__(self, seconds: float = SAY_SECONDS) -> None:
        self.seconds, self.count, self._said = seconds, 0, time.monotonic()

    def __call__(self, episode: int, env: gymnasium.Env) -> None:
        """Count one step, of any episode."""
        self.count += 1
        now = time.monotonic()
        if now - self._said >= self.seconds:
            self._said = now
            say(f"evaluate: {self.count:,} steps taken, now in episode {episode}")


@dataclass(frozen=True, kw_only=True)
class Evaluate(Common):
    """Run episodes with the policy of a run and print its returns and score."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Folder of the run."""
    episodes: int = 10
    """Number of episodes; the same seed gives the same episodes, however many environments step together."""
    checkpoint: str = "last"
    """Which policy: last, best, selected, distilled, or the step of an evaluation."""
    env: Annotated[str, silent("ID", "the run's own")] = ""
    """Another environment to act in: suite:name, a Gymnasium id, or package.module:callable."""
    envs: int = 10
    """Environments stepped together."""
    video: int = 0
    """Write this many MP4 videos of the first episodes into the run's folder."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="")] = ()
    """Options of the environment or of acting that differ from the run's, such as --set env.time_limit=200
    agent.candidates=32."""
    device: str = "auto"
    """Where to act; auto is the GPU where there is one."""

    def run(self) -> dict[str, Any]:
        """Evaluate and answer."""
        from trajrl.training.run_dir.load_run import load_run

        self._check()
        run = load_run(self.folder)
        agent, suite = self._agent(run), self._suite(run)
        found, broken = self._episodes(agent, suite, run.step(self.checkpoint))
        videos = self._videos(agent, suite, found.step, run.folder) if self.video else []
        if broken:
            say(f"{counted('episode[s] broke off and [is|are] left out', len(broken))}; last: {broken[-1]}")
        intervals = self._intervals(found)
        tell(found, suite.name, intervals)
        for path in videos:
            say(f"wrote {path}")
        by_task = found.success_by_task()
        return {
            "return_mean": found.return_mean,
            "score_mean": found.value if found.scale == "score" else None,
            "success_mean": found.success_mean, "returns": [row["return"] for row in found.rows],
            "intervals": {scale: [one["low"], one["high"]] for scale, one in intervals.items()},
            "score_name": found.score_name, "environment": suite.name, "step": found.step,
            "episodes": len(found.rows), "broken": len(broken), "videos": [str(path) for path in videos],
            **({"success_by_task": {str(task): share for task, share in by_task.items()}} if by_task else {}),
        }  # fmt: skip

    def _check(self) -> None:
        """Refuse what can be refused without reading the run."""
        if self.episodes < 1 or self.envs < 1:
            raise ValueError("--episodes and --envs must be at least 1")
        if self.video < 0:
            raise ValueError(f"--video must not be negative; got {self.video}")
        if self.video:
            refuse_links_out(self.folder)

    def _asked(self) -> dict[str, dict[str, Any]]:
        """Return what --set says, by part; only acting and the environment can be set here."""
        from trajrl.training.settings import split_settings

        asked = split_settings(self.set)
        if of_training := [name for part in ("run", "sampler", "goals") for name in asked[part]]:
            name = of_training[0]
            raise ValueError(f"evaluate sets env.NAME and agent.NAME; '{name}' is of training")
        return asked

    def _agent(self, run: LoadedRun) -> Agent:
        """Return the run's agent as it was at the checkpoint, with the threads that the run had."""
        from trajrl.training import build
        from trajrl.training.resolve_config import agent_settings

        build.set_threads(run.config)
        options = agent_settings(run.config, self._asked()["agent"])
        return run.agent(self.checkpoint, str(build.choose_device(self.device)), **options)

    def _suite(self, run: LoadedRun) -> EnvSuite:
        """Return the environment to act in, vetted; say so where none of its calls is timed."""
        from trajrl.envs import note_in_process
        from trajrl.training.resolve_config import env_settings

        around = env_settings(self._asked()["env"])
        acts_in = run.vetted_environment(self.checkpoint, self.env)
        if not around.get("env_timeout"):
            note_in_process(acts_in)
        return run.suite(self.checkpoint, self.env, **around)

    def _episodes(self, agent: Agent, suite: EnvSuite, step: int) -> tuple[Evaluation, list[EnvFailureError]]:
        """Run the episodes; return those that ended, and what broke the others."""
        from trajrl.rollout.evaluate import evaluate
        from trajrl.training.run_dir.evaluations import Evaluation

        broken: list[EnvFailureError] = []
        rows = evaluate(
            agent, suite, self.seed, step, self.episodes, self.envs, broken=broken.append, watch=Steps()
        )
        if not rows:
            raise broken[-1]
        return Evaluation.of(step, rows, None, suite), broken

    def _intervals(self, found: Evaluation) -> dict[str, dict[str, float]]:
        """Return the means of score and success, where they are known, with their intervals over episodes."""
        from trajrl.training.run_dir.evaluations import interval

        values = {"success": found.successes}
        if found.scale == "score":
            values = {"score": found.values, **values}
        return {scale: interval(one, self.seed, scale) for scale, one in values.items() if len(one)}

    def _videos(self, agent: Agent, suite: EnvSuite, step: int, folder: Path) -> list[Path]:
        """Record the first episodes of this evaluation."""
        return record(agent, suite, self.seed, step, self.video, folder)


def tell(found: Evaluation, environment: str, intervals: dict[str, dict[str, float]]) -> None:
    """Print what an evaluation came to: its return, then score and success with their intervals."""
    from trajrl.training.run_dir.evaluations import shown, task_line

    acted = counted("episode[s]", len(found.rows))
    say(f"{environment}, policy of step {found.step}, {acted}: return {found.return_mean:.1f}")
    for scale, one in intervals.items():
        value, low, high = (shown(one[end], scale) for end in ("value", "low", "high"))
        named = f"  ({found.score_name})" if scale == "score" and found.score_name != "none" else ""
        say(f"{scale} {value}, 95 % interval {low} to {high}{named}")
    if by_task := found.success_by_task():
        say(task_line(by_task))
