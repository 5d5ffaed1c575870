"""What a page that watches a run shows: evaluations, drop, draws by age and by cluster, the last episode.

Looks when an evaluation or a log row has been written; draws no random number and changes nothing of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.console import say
from trajrl.report.draw.clips import film_policy
from trajrl.report.draw.video import NoFramesError
from trajrl.report.page.watch import write_film, write_state
from trajrl.training.online import finetuning
from trajrl.training.run_dir.evaluations import common_scale, interval

if TYPE_CHECKING:
    import pandas as pd

    from trajrl.training.run import Run

QUARTERS = ("newest", "newer", "older", "oldest")  # of the online episodes, by their steps
MOST_CLUSTERS = 12
RATE = 15  # frames per second of the film
NO_FILM = "no film yet: it is made after each evaluation"


class Watch:
    """Writes the page of a run: a view of its evaluations, and a board of its log."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._film: dict[str, str] = {"name": "", "text": NO_FILM}
        self._draws = run.episode_stats.frame()["draws"].to_numpy()  # (E,) at the last look that saw more
        self._since = np.zeros(0, np.int64)  # (E,) and what it saw
        self._given_up = False  # True: the page cannot be written
        self._films = True  # False: the environment cannot be filmed
        self.write(run, False)

    def __call__(self, run: Run, last: bool) -> None:
        """Film the last episode, and write the page."""
        seen = run.evaluations.entries
        if self._films and run.suite is not None and seen and seen[-1].step == run.clock:
            self.film(run)  # of an evaluation that comes later the policy of its step is gone
        self.write(run, last)

    def film(self, run: Run) -> None:
        """Film the last episode of the last evaluation; where it cannot be, say so on the page."""
        import pandas as pd

        assert run.suite is not None
        found = run.evaluations.entries[-1]
        rows = pd.DataFrame(found.rows[-1:])
        try:
            (clip,) = film_policy(run.agent, run.suite, run.config.seed, rows, RATE)
        except Exception as error:  # a picture is no reason to end a run
            self._films = not isinstance(error, NoFramesError)
            self._film = {"name": "", "text": f"no film: {' '.join(str(error).split())}"}
            return
        name = write_film(run.folder, found.step, clip.mp4)
        self._film = {"name": name, "text": f"step {found.step}, {clip.text.partition(': ')[2]}"}

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write the page when a row is logged, as a board does."""
        self.write(self._run, False)

    def facts(self, values: Mapping[str, float], step: int) -> None:
        """Leave constants to the other boards."""

    def video(self, name: str, mp4: bytes, step: int) -> None:
        """Leave their videos to the other boards."""

    def close(self) -> None:
        """Write the page of a run that has ended."""
        self.write(self._run, True)

    def write(self, run: Run, last: bool) -> None:
        """Write the page as the run stands."""
        config = run.config
        title = f"{config.agent} in {run.suite.name if run.suite else 'no environment'}, seed {config.seed}"
        state = self.state(run, last)
        if self._given_up:
            return
        try:
            write_state(run.folder, f"{title}: {Path(run.folder).name}", state)
        except OSError as error:  # nor is a page
            self._given_up = True
            say(f"note: the run continues without its page: {error}")

    def state(self, run: Run, last: bool) -> dict[str, Any]:
        """Return what the page shows."""
        assert run.online is not None
        seen, config = run.evaluations.entries, run.config
        scale = common_scale(seen) if seen else "return"
        found = finetuning(seen)
        ends = [(one.step, interval(one.on(scale), config.seed, scale)) for one in seen]
        curve = [{"step": step, "mean": end["value"], **end} for step, end in ends]
        episodes = run.episode_stats.frame()
        since = self.since(episodes["draws"].to_numpy())
        return {
            "named": scale.capitalize(), "share": scale == "success",
            "env_steps": config.env_steps, "step": run.clock, "updates": run.online.updates,
            "episodes": run.online.collector.kept, "drop": found.get("drop"), "regret": found.get("regret"),
            "evaluations": curve, "film": self._film, "ended": last,
            "by_age": by_age(episodes, since), "by_cluster": by_cluster(episodes, since),
        }  # fmt: skip

    def since(self, drawn: np.ndarray) -> np.ndarray:
        """Return the draws (E,) since the last look that saw any, of counts (E,) that only grow."""
        before = np.zeros(len(drawn), np.int64)
        before[: len(self._draws)] = self._draws
        if (drawn > before).any():
            self._draws, self._since = drawn, drawn - before
        found = np.zeros(len(drawn), np.int64)
        found[: len(self._since)] = self._since
        return found


def by_age(episodes: pd.DataFrame, draws: np.ndarray) -> list[dict[str, Any]]:
    """Return shares of draws (E,) and of steps: of the data, and of online episodes by quarters of steps."""
    alive = episodes["alive"].to_numpy(bool)
    online = episodes["phase"].to_numpy() == "online"
    steps = episodes["length"].to_numpy(np.float64) * alive
    parts = {"data": ~online}
    own = np.flatnonzero(online & alive)
    if len(own):
        later = np.cumsum(steps[own][::-1])[::-1]  # steps from this episode on to the newest
        place = np.minimum(3, np.floor(4 * (later - steps[own]) / later[0])).astype(int)
        for number, name in enumerate(QUARTERS):
            mine = np.zeros(len(draws), bool)
            mine[own[place == number]] = True
            parts[name] = mine
    return shares(parts, draws, steps)


def by_cluster(episodes: pd.DataFrame, draws: np.ndarray) -> list[dict[str, Any]]:
    """Return the shares of draws (E,) and of steps of each cluster; episodes without one are `none`."""
    label = episodes["cluster"].to_numpy(int)
    steps = episodes["length"].to_numpy(np.float64) * episodes["alive"].to_numpy(bool)
    names = [int(one) for one in np.unique(label)]
    parts = {"none" if one < 0 else str(one): label == one for one in names[: MOST_CLUSTERS + 1]}
    return shares(parts, draws, steps)


def shares(parts: dict[str, np.ndarray], draws: np.ndarray, steps: np.ndarray) -> list[dict[str, Any]]:
    """Return what share of all draws and of all steps each part (E,) has; nothing before the first draw."""
    if not draws.sum():
        return []
    return [
        {
            "name": name,
            "draws": float(draws[mine].sum() / draws.sum()),
            "steps": float(steps[mine].sum() / steps.sum()),
        }
        for name, mine in parts.items()
    ]
