"""Is the critic right?  Q of the data's own actions against the return that followed them in the data.

    G_t = sum_i gamma^i r_{t+i}        bias of an n-step target = gamma^n (Q(o_{t+n}, a_{t+n}) - G_{t+n})

G stops where no target takes a value from beyond: at the first solved step, else at the episode's end.  It is
what the data's own policy earned; a critic of a better policy may rightly lie above.  Where a recording was
cut, what came after is not known: steps are used only where it counts for less than 5 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trajrl.core.rng import stream
from trajrl.report import stats
from trajrl.report.charts import captions
from trajrl.report.charts.chart import Chart, Series
from trajrl.report.charts.qfunction import q_of_data
from trajrl.store.return_to_go import known_returns, steps_that_count, stops

if TYPE_CHECKING:
    import pandas as pd

    from trajrl.agents.base.protocol import Agent
    from trajrl.store.store import TrajectoryStore


def calibration(
    agent: Agent, store: TrajectoryStore, gamma: float, count: int = 400, seed: int = 0
) -> pd.DataFrame:
    """Return one row per step drawn: episode, step, steps_left, q, and mc, the discounted return after it."""
    import pandas as pd

    episode, step = usable_steps(store, gamma)
    if not len(episode):
        raise ValueError("no step of the data is far enough from its end to know the return that followed")
    chosen = np.sort(
        stream(seed, "report/calibration").choice(len(episode), min(count, len(episode)), replace=False)
    )
    episode, step = episode[chosen], step[chosen]
    mc, left = returns_at(store, episode, step, gamma)
    q = q_of_data(agent, store, episode, step)
    return pd.DataFrame({"episode": episode, "step": step, "steps_left": left, "q": q, "mc": mc})


def n_step_bias(
    agent: Agent,
    store: TrajectoryStore,
    gamma: float,
    horizons: Sequence[int],
    count: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Return one row per horizon: n, and bias with its interval over steps; the first one, 0, is Q itself."""
    import pandas as pd

    base = calibration(agent, store, gamma, count, seed)
    rows = []
    for n in (0, *horizons):
        own = base[base["steps_left"] > n]
        if len(own):
            ahead = q_of_data(agent, store, own["episode"].to_numpy(), own["step"].to_numpy() + n)
            after, _ = returns_at(store, own["episode"].to_numpy(), own["step"].to_numpy() + n, gamma)
            found = stats.interval([gamma**n * (ahead - after)], stats.weighted_mean, seed=seed)
            rows.append((n, *map(float, found), len(own)))
    return pd.DataFrame(rows, columns=["n", "bias", "low", "high", "steps"])


def calibration_chart(rows: pd.DataFrame, key: str = "calibration") -> Chart:
    """Return Q against the return that followed, with the diagonal."""
    series = [Series("steps of the data", rows["mc"].to_numpy(), rows["q"].to_numpy())]
    words = "Q against the return that followed", captions.CALIBRATION, "discounted return", "Q"
    return Chart(key, *words, series, kind="points", diagonal="Q equals return")


def bias_chart(rows: pd.DataFrame, key: str = "n-step-bias") -> Chart:
    """Return the bias of n-step targets over n."""
    series = [
        Series("target minus return", *(rows[name].to_numpy() for name in ("n", "bias", "low", "high")))
    ]
    words = "Bias of n-step targets", captions.N_STEP, "n", "target minus return"
    return Chart(key, *words, series, marks={"unbiased": 0.0})


def usable_steps(store: TrajectoryStore, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return every (episode, step) whose return is known: it ends, or what is hidden hardly counts."""
    length = store.table.length[store.live]
    episode = np.repeat(store.live, length)
    step = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    row = store.table.start[episode] + step
    stop, ended = stops(store, episode, row)
    known = ended | (stop - row > steps_that_count(gamma))
    return episode[known], step[known]


def returns_at(
    store: TrajectoryStore, episode: np.ndarray, step: np.ndarray, gamma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return G (n,) at any steps, of rewards as training saw them, and the steps (n,) it sums over."""
    found, steps, _ = known_returns(store, episode, step, gamma)
    return found, steps
