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

    from trajrl.training.run_dir.evaluations import Evaluation


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
        from trajrl.envs import note_in_process
        from trajrl.rollout.collector import EnvFailureError
        from trajrl.rollout.evaluate import evaluate
        from trajrl.training import build
        from trajrl.training.resolve_config import agent_settings, env_settings
        from trajrl.training.run_dir.evaluations import Evaluation, shown, task_line
        from trajrl.training.run_dir.load_run import load_run
        from trajrl.training.settings import split_settings

        if self.episodes < 1 or self.envs < 1:
            raise ValueError("--episodes and --envs must be at least 1")
        if self.video < 0:
            raise ValueError(f"--video must not be negative; got {self.video}")
        if self.video:
            refuse_links_out(self.folder)
        run = load_run(self.folder)
        build.set_threads(run.config)
        asked = split_settings(self.set)
        if of_training := [name for part in ("run", "sampler", "goals") for name in asked[part]]:
            name = of_training[0]
            raise ValueError(f"evaluate sets env.NAME and agent.NAME; '{name}' is of training")
        options = agent_settings(run.config, asked["agent"])
        agent = run.agent(self.checkpoint, str(build.choose_device(self.device)), **options)
        around = env_settings(asked["env"])
        acts_in = run.vetted_environment(self.checkpoint, self.env)
        if not around.get("env_timeout"):
            note_in_process(acts_in)
        suite = run.suite(self.checkpoint, self.env, **around)
        name = suite.name
        step = run.step(self.checkpoint)
        broken: list[EnvFailureError] = []
        rows = evaluate(
            agent, suite, self.seed, step, self.episodes, self.envs, broken=broken.append, watch=Steps()
        )
        if not rows:
            raise broken[-1]
        found = Evaluation.of(step, rows, None, suite)
        videos = self._videos(agent, suite, step, run.folder) if self.video else []
        if broken:
            say(f"{counted('episode[s] broke off and [is|are] left out', len(broken))}; last: {broken[-1]}")
        acted = counted("episode[s]", len(rows))
        say(f"{name}, policy of step {step}, {acted}: return {found.return_mean:.1f}")
        intervals = self._intervals(found)
        for scale, one in intervals.items():
            value, low, high = (shown(one[end], scale) for end in ("value", "low", "high"))
            named = f"  ({found.score_name})" if scale == "score" and found.score_name != "none" else ""
            say(f"{scale} {value}, 95 % interval {low} to {high}{named}")
        by_task = found.success_by_task()
        if by_task:
            say(task_line(by_task))
        for path in videos:
            say(f"wrote {path}")
        return {
            "return_mean": found.return_mean,
            "score_mean": found.value if found.scale == "score" else None,
            "success_mean": found.success_mean, "returns": [row["return"] for row in rows],
            "intervals": {scale: [one["low"], one["high"]] for scale, one in intervals.items()},
            "score_name": found.score_name, "environment": name, "step": step, "episodes": len(rows),
            "broken": len(broken), "videos": [str(path) for path in videos],
            **({"success_by_task": {str(task): share for task, share in by_task.items()}} if by_task else {}),
        }  # fmt: skip

    def _intervals(self, found: Evaluation) -> dict[str, dict[str, float]]:
        """Return the means of score and success, where they are known, with their intervals over episodes."""
        from trajrl.training.run_dir.evaluations import interval

        values = {"success": found.successes}
        if found.scale == "score":
            values = {"score": found.values, **values}
        return {scale: interval(one, self.seed, scale) for scale, one in values.items() if len(one)}

    def _videos(self, agent: Any, suite: Any, step: int, folder: Path) -> list[Path]:
        """Record the first episodes of this evaluation."""
        return record(agent, suite, self.seed, step, self.video, folder)
