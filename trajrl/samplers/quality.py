"""Quality buckets: rows of good episodes are high, the others low; their weights blend over training.

    p(e, t) = w_b(e, t) / sum w,       w_b goes linearly from a start to an end over `over_steps`
    judge=trajectory    high: merit(e) above the split of all rows' merits, or in the best `share` of rows
    judge=critic        high: Q beats the threshold of its state's cluster, their mean or (1 - share) quantile

Merit is the mean return to go along an episode (store/merit.py) and asks no agent.  A critic is asked about
some rows at a time; one that it has not been asked about yet weighs the mean of both.

Paper: none; code by RDG0818.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.registry import unknown
from trajrl.core.rng import stream
from trajrl.samplers.base.distributions import check_share, described, share_stats
from trajrl.samplers.base.evidence import ask
from trajrl.samplers.base.expert_auroc import expert_episodes, separation
from trajrl.samplers.base.quality_buckets import (
    HIGH,
    LOW,
    THRESHOLDS,
    UNKNOWN,
    Buckets,
    group_scores,
    is_high,
)
from trajrl.samplers.base.returns import all_finite
from trajrl.samplers.base.split import estimated_share, limit_of_best, split
from trajrl.samplers.base.store_view import StoreWatch, note_once
from trajrl.samplers.clustering.states import StateClusters
from trajrl.store.features import step_rows
from trajrl.store.merit import merits
from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Score
    from trajrl.store.store import TrajectoryStore

JUDGES = ("trajectory", "critic")


@dataclass(frozen=True)
class Config:
    """How rows are judged, and how much each bucket counts."""

    judge: str = "trajectory"  # what is judged: the whole trajectory, or each row by the agent's critic
    threshold: str = "mean"  # of Q in a cluster of states (critic): mean, or quantile at 1 - share
    share: float = 0.0  # of rows expected to be high (but for mean); higher: more are high.  0: estimated
    states: int = 10  # clusters of states with a threshold each; higher: fairer, noisier.  1: one for all
    components: int = 0  # principal components of the states kept for clustering; 0: no projection
    low_start: float = 1.0  # weight of a low row at the start; higher: closer to uniform
    low_end: float = 0.25  # weight of a low row at the end
    high_start: float = 1.0  # weight of a high row at the start
    high_end: float = 1.0  # weight of a high row at the end; higher: greedier
    over_steps: int = 100_000  # training steps from start to end; higher: slower
    refresh_every: int = 5000  # training steps between two labellings; higher: cheaper, staler
    score_rows: int = 50_000  # rows the agent is asked about at each; higher: fresher, slower
    expert: str = ""  # source that counts as expert in reports; empty: the one of highest mean return

    def validate(self) -> None:
        """Refuse unknown names and numbers out of range."""
        if self.judge not in JUDGES:
            raise ValueError(unknown("judge", self.judge, JUDGES))
        if self.threshold not in THRESHOLDS:
            raise ValueError(unknown("threshold", self.threshold, THRESHOLDS))
        check_share("share", self.share)
        least = {"states": 1, "components": 0, "over_steps": 0, "refresh_every": 1, "score_rows": 1}
        for name in ("low_start", "low_end", "high_start", "high_end"):
            least[name] = 0
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"the sampler option '{name}' is at least {low}; got {getattr(self, name)}")
        if not max(self.low_start, self.high_start) * max(self.low_end, self.high_end) > 0:
            raise ValueError(
                "one of the weights of low and high rows is above 0, at the start and at the end"
            )

    def weights(self, step: int) -> np.ndarray:
        """Return the weight (3,) of a low, a high and an unknown row at a training step."""
        gone = min(1.0, step / self.over_steps) if self.over_steps else 1.0
        low = self.low_start + gone * (self.low_end - self.low_start)
        high = self.high_start + gone * (self.high_end - self.high_start)
        return np.array([low, high, (low + high) / 2])


class QualitySampler:
    """Rows by bucket; the rows of one bucket are equally likely."""

    config_type = Config
    reads_td_errors = False

    def __init__(self, store: TrajectoryStore, config: Config, seed: int = 0) -> None:
        self.store, self.config, self.seed = store, config, seed
        self.notes: list[str] = []
        self.q = np.zeros(0, np.float32)  # (S,) last value; NaN: never asked
        self.bucket = np.zeros(0, np.int8)  # (S,)
        self.watch, self.states = StoreWatch(), self._state_clusters()
        self._report: dict[str, float] | None = {}  # None: not compared since the last labelling
        self._step = self._judged_at = self._turn = (
            0  # now; the last labelling due; how often the agent was asked
        )
        self._arrange(store.live[:0])
        self.refresh(0)

    @property
    def report(self) -> dict[str, float]:
        """Return how well the last labelling tells sources apart, as far as the store names any."""
        if self._report is None:
            rows = self.buckets.rows
            high = self.bucket[rows] == HIGH
            self._report = self._compared(rows, self.q[rows].astype(np.float64), high, float(high.mean()))
        return self._report

    def _state_clusters(self) -> StateClusters:
        """Return the clusters of states that are judged apart: trajectories visit many of them."""
        count = self.config.states if self.config.judge == "critic" else 1
        return StateClusters(count, self.config.components, self.seed)

    def __repr__(self) -> str:
        """Return it in one line."""
        return described(self)

    def sample(self, rng: np.random.Generator, n: int) -> Anchors:
        """Draw n anchors: a bucket by its mass, then a row of it."""
        row = self.buckets.draw(rng, n, self.config.weights(self._step))
        start = self.store.table.start
        episode = np.searchsorted(start, row, side="right") - 1
        return Anchors(episode, row - start[episode], np.ones(n, np.float32))

    def feedback(self, anchors: Anchors, td_error: np.ndarray) -> None:
        """Take in TD errors; this law does not use them."""

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Take in new episodes; ask the agent about more rows and judge anew when due."""
        self._step = step
        changed = self.watch.changed(self.store)
        if self.config.judge == "trajectory":
            if changed:
                self._judge_episodes(self.store.live)
            return
        due = step - self._judged_at >= self.config.refresh_every
        first = score is not None and not self._turn and len(self.q) > 0
        if not (changed or due or first):
            return
        if changed:
            self._arrange(self.store.live)
        if due:
            self._judged_at = step
        if score is not None and (due or first) and len(self.buckets.rows):
            self._ask(score)
            self._judge()
            self._arrange(self.buckets.ids)
        elif due and score is None:
            note_once(self.notes, "quality: there is no agent to ask; the buckets stay as they are")

    def probabilities(self) -> np.ndarray:
        """Return p over episodes (E,): the mass of its rows, 0 for evicted ones."""
        p = np.zeros(len(self.store))
        mass = self.buckets.per_episode @ self.config.weights(self._step)
        p[self.buckets.ids] = mass / mass.sum() if mass.sum() else mass
        return p

    def stats(self) -> dict[str, float]:
        """Return shares and weights of buckets, the law's figures, and how well it tells sources apart."""
        rows, weights = max(1, len(self.buckets.rows)), self.config.weights(self._step)
        stats = {"notes": float(len(self.notes)), "episodes": float(len(self.buckets.ids))}
        for b, name in enumerate(("low", "high", "unknown")):
            stats[f"{name}_share"] = float(self.buckets.count[b] / rows)
            stats[f"{name}_weight"] = float(weights[b])
        return {**stats, **share_stats(self.probabilities()[self.buckets.ids]), **self.report}

    def state_dict(self) -> dict[str, Any]:
        """Return what the agent said, the buckets, the clusters of states and the schedule."""
        judged = {"q": self.q.copy(), "bucket": self.bucket.copy(), "report": dict(self.report)}
        judged["judge"] = self.config.judge
        when = {"steps": [self._step, self._judged_at, self._turn], "mark": list(self.watch.mark)}
        return {**judged, **when, **self.states.state_dict(), "ids": self.buckets.ids, "notes": [*self.notes]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore everything; what a run was begun with judges on, in runs of before that was the critic."""
        self.config = replace(self.config, judge=state.get("judge", "critic"))
        self.states = self._state_clusters()
        self.q, self.bucket = np.array(state["q"], np.float32), np.array(state["bucket"], np.int8)
        self._report = {name: float(value) for name, value in state["report"].items()}
        self._step, self._judged_at, self._turn = (int(part) for part in state["steps"])
        self.watch.restore(state["mark"])
        self.notes = [str(note) for note in state["notes"]]
        self.states.load_state_dict(state)
        self._arrange(np.asarray(state["ids"], np.int64))

    def _arrange(self, ids: np.ndarray) -> None:
        """Make room for rows appended since, label their states, and sort the rows of episodes by bucket."""
        self._make_room()
        self.states.follow(self.store)
        self.buckets = Buckets(self.store, ids, self.bucket)

    def _make_room(self) -> None:
        """Make room for rows appended since."""
        missing = len(self.store.actions) - len(self.q)
        if missing > 0:
            self.q = np.append(self.q, np.full(missing, np.nan, np.float32))
            self.bucket = np.append(self.bucket, np.full(missing, UNKNOWN, np.int8))

    def _ask(self, score: Score) -> None:
        """Ask the agent about rows: those never asked about first, then others, at random."""
        rows = self.buckets.rows
        self._turn += 1
        lottery = stream(self.seed, "quality", self._turn).random(len(rows)) + ~np.isnan(self.q[rows])
        count = min(self.config.score_rows, len(rows))
        chosen = np.sort(rows[np.argpartition(lottery, count - 1)[:count]])  # (m,)
        episode = self._episodes(chosen)
        values = ask(score, episode, chosen - self.store.table.start[episode])  # (m, E)
        self.q[chosen] = all_finite(values.min(1), episode, "Q")

    def _judge(self) -> None:
        """Put every row that was asked about into its bucket, and compare with the sources."""
        rows = self.buckets.rows[~np.isnan(self.q[self.buckets.rows])]
        group = self.states.labels[rows]
        score = group_scores(self.q[rows].astype(np.float64), group)
        share = self.config.share or estimated_share(score)
        high = is_high(score, group, self.config.threshold, share)
        self.bucket[rows] = np.where(high, HIGH, LOW)
        self._report = self._compared(rows, score, high, share)

    def _judge_episodes(self, ids: np.ndarray) -> None:
        """Put every row into the bucket of its episode (n,); where none is better all are high."""
        merit = all_finite(merits(self.store)[ids], ids, "merit")  # (n,)
        length, share = self.store.table.length[ids], self.config.share
        high = np.ones(len(ids), bool)
        if len(ids):
            limit = limit_of_best(merit, length, share) if share else split(merit, length).limit
            high = merit > limit if np.isfinite(limit) else high
        self._make_room()
        for part, rows, _ in step_rows(self.store, ids):
            self.q[rows] = np.repeat(merit[part], length[part])
            self.bucket[rows] = np.repeat(np.where(high[part], HIGH, LOW), length[part])
        self.buckets = Buckets(self.store, ids, self.bucket)
        self._report = None if len(ids) else {}

    def _compared(
        self, rows: np.ndarray, score: np.ndarray, high: np.ndarray, share: float
    ) -> dict[str, float]:
        """Compare the scores of rows (m,), and which of them are high, with the sources."""
        expert = expert_episodes(self.store, self.config.expert)
        known = {} if expert is None else separation(score, high, expert[self._episodes(rows)])
        return {**known, "expected_share": share}

    def _episodes(self, rows: np.ndarray) -> np.ndarray:
        """Return the episodes (m,) that action rows (m,) belong to."""
        return np.searchsorted(self.store.table.start, rows, side="right") - 1
