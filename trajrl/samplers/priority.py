"""Trajectory-level prioritised replay: trajectories by the rank of a metric, ties sharing their rank.

    p(e, t) = ((1 - floor) (rank_e + 1)^-alpha / sum + floor / n) * start(t | e)
    weight(e) = (q_e / p_e)^beta / sum_e p_e (q_e / p_e)^beta,      q_e = T_e / sum T

A trajectory never drawn, as every new one, is tied with the largest score known.  TD errors are tracked per
trajectory under its stable id; rows that the critic did not use say nothing.  Ranks are renewed every
`refresh_every` steps and when the store changes.

Paper: Liu et al. 2023 (PTR, arXiv 2306.15503).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.registry import unknown
from trajrl.samplers.base.backward_cursor import STARTS, BackwardCursor
from trajrl.samplers.base.distributions import Law, check_share, importance, rank_law
from trajrl.samplers.base.episode_law import EpisodeLaw
from trajrl.samplers.base.evidence import Evidence, ask, per_episode
from trajrl.samplers.metrics import METRICS
from trajrl.store.window import Anchors

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Score
    from trajrl.store.store import TrajectoryStore

AGGREGATES = ("max", "mean")
ORDERS = ("high", "low")


@dataclass(frozen=True)
class Config:
    """What ranks trajectories, and how strongly."""

    metric: str = "td_error_rank"  # what trajectories are ranked by; see METRICS
    order: str = "high"  # which end of the metric comes first: high or low
    alpha: float = 0.7  # power of the rank; higher: greedier.  0: uniform
    floor: float = 0.05  # share of draws that is uniform over trajectories; higher: none is left out for long
    refresh_every: int = 100  # training steps between two rankings; higher: cheaper, later to follow
    rate: float = 0.1  # share of new evidence in the moving average; higher: follows faster, noisier
    aggregate: str = "mean"  # of the rows of one trajectory in a batch: mean or max
    beta: float = 0.0  # exponent of the importance weight; higher: less biased, less prioritised.  1: exact
    beta_end: float | None = None  # where beta ends up; None: it stays
    beta_steps: int = 0  # training steps beta takes from start to end; higher: slower
    start: str = "uniform"  # step inside the trajectory: uniform, last (whole window) or backward_cursor
    window: int = 0  # n, steps of that window; higher: starts earlier.  0: those the run's agent sees
    score_steps: int = 8  # rows per trajectory the agent is asked about (q_uncertainty); higher: slower
    score_episodes: int = 2000  # trajectories asked about at each ranking; higher: fresher, slower

    def validate(self) -> None:
        """Refuse unknown names and numbers out of range."""
        for what, value, known in (
            ("metric", self.metric, METRICS), ("start", self.start, STARTS),
            ("aggregate", self.aggregate, AGGREGATES), ("order", self.order, ORDERS),
        ):  # fmt: skip
            if value not in known:
                raise ValueError(unknown(what, value, known))
        for name in ("floor", "rate", "beta"):
            check_share(name, getattr(self, name))
        if self.beta_end is not None:
            check_share("beta_end", self.beta_end)
        least = {
            "alpha": 0, "refresh_every": 1, "beta_steps": 0, "window": 0, "score_steps": 1,
            "score_episodes": 1,
        }  # fmt: skip
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"the sampler option '{name}' is at least {low}; got {getattr(self, name)}")

    def beta_at(self, step: int) -> float:
        """Return the exponent of the importance weight at a training step."""
        if self.beta_end is None:
            return self.beta
        gone = min(1.0, step / self.beta_steps) if self.beta_steps else 1.0
        return self.beta + gone * (self.beta_end - self.beta)


class PrioritySampler(EpisodeLaw):
    """Trajectories by rank of a metric."""

    config_type = Config

    def __init__(self, store: TrajectoryStore, config: Config, seed: int = 0) -> None:
        if config.start == "last" and not config.window:
            raise ValueError(
                "start=last begins where the last whole window does and was not given its steps; "
                "give window=agent.spec.n"
            )
        self.evidence, self.cursor = Evidence(), BackwardCursor()
        self._step = self._ranked_at = self._made_at = 0  # now; the last scheduled ranking; the law in force
        self._asked = 0  # id after the last one the agent was asked about
        self._weighed: tuple[Law, np.ndarray] | None = None
        super().__init__(store, config, seed)

    @property
    def reads_td_errors(self) -> bool:  # type: ignore[override]
        """Say whether trajectories are ranked by TD errors."""
        return METRICS[self.config.metric].evidence == "feedback"

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Rank anew when due or when the store changed; ask the agent where the metric is its Q."""
        changed = self.watch.changed(self.store)
        self.evidence.grow(len(self.store))
        self._step = step
        due = step - self._ranked_at >= self.config.refresh_every
        asks = METRICS[self.config.metric].evidence == "score"
        first = asks and score is not None and not self.evidence.seen.any()
        if not (changed or due or first):
            return
        self._ranked_at = step if due else self._ranked_at
        if asks and score is not None and (due or first):
            self._ask(score)
        elif asks and due:
            self.note(f"priority: {self.config.metric} has no agent to ask; the law stays as it is")
        self.law = self.make_law(self.store.live)

    def masses(self, ids: np.ndarray) -> np.ndarray:
        """Return the rank law of the scores."""
        return rank_law(self._scores(ids), self.config.alpha, self.config.floor)

    def make_law(self, ids: np.ndarray) -> Law:
        """Rank the live episodes (n,), and remember when: the importance weights belong to this ranking."""
        self._made_at = self._step
        return super().make_law(ids)

    def feedback(self, anchors: Anchors, td_error: np.ndarray) -> None:
        """Reduce the TD errors of each trajectory's rows that were used to one; move its average one step."""
        metric = METRICS[self.config.metric]
        if metric.evidence != "feedback" or not len(td_error):
            return
        usable = ~np.isinf(td_error)
        if not usable.all():
            self.note("priority: TD errors that are not finite were left out; the critic may have diverged")
        found = metric.of(np.asarray(td_error, np.float64)[usable])
        ids, evidence = per_episode(anchors.episode[usable], found, self.config.aggregate == "max")
        self.evidence.grow(len(self.store))
        self.evidence.average(ids, evidence, self.config.rate, self._step)
        self.evidence.note_drawn(anchors.episode)

    def anchors(self, rng: np.random.Generator, n: int, law: Law) -> Anchors:
        """Draw episodes by a law, and the step of each where the options say; weights undo the law's bias."""
        length = self.store.table.length
        if self.config.start == "backward_cursor":
            episode, step = self.cursor.walk(rng, n, law, length.__getitem__)
        else:
            episode = law.draw(rng, n)
            last = self.config.start == "last"
            whole = length[episode] - self.config.window
            step = np.maximum(0, whole) if last else rng.integers(length[episode])
        return Anchors(episode, step, self._weights(law)[episode])

    def stats(self) -> dict[str, float]:
        """Return the law's figures, how many trajectories have evidence, its size, and how old it is."""
        stats = {**super().stats(), "beta": self.config.beta_at(self._made_at)}
        if METRICS[self.config.metric].evidence == "store" or not len(self.law.ids):
            return stats
        seen = self.evidence.seen[self.law.ids]
        value = self.evidence.value[self.law.ids][seen] if seen.any() else np.zeros(1)
        stats.update(
            seen=float(seen.mean()), evidence_mean=float(value.mean()), evidence_max=float(value.max())
        )
        stale = self.evidence.staleness(self.law.ids, self._step)
        if len(stale):
            stats.update(staleness_mean=float(stale.mean()), staleness_max=float(stale.max()))
        return stats

    def state_dict(self) -> dict[str, Any]:
        """Return evidence, cursors and schedule, beside the law."""
        state = {**super().state_dict(), **self.evidence.state_dict()}
        state.update({f"cursor_{name}": values for name, values in self.cursor.state_dict().items()})
        return {**state, "steps": [self._step, self._ranked_at, self._made_at, self._asked]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore everything."""
        super().load_state_dict(state)
        self.evidence.load_state_dict(state)
        self.cursor.load_state_dict({name: state[f"cursor_{name}"] for name in ("episode", "step")})
        self._step, self._ranked_at, self._made_at, self._asked = (int(part) for part in state["steps"])

    def _scores(self, ids: np.ndarray) -> np.ndarray:
        """Return the score (n,) of live episodes, larger for what is to come first."""
        sign = 1.0 if self.config.order == "high" else -1.0
        metric = METRICS[self.config.metric]
        if metric.evidence != "store":
            return self.evidence.scores(ids, sign)
        kept = (PrioritySampler, self.config.metric)  # forgotten by the store when it is relabelled or cut
        facts = self.store.derived.get(kept, np.zeros(0))  # (E,) NaN where not yet measured
        facts = np.append(facts, np.full(len(self.store) - len(facts), np.nan))
        new = ids[np.isnan(facts[ids])]
        if len(new):
            facts[new] = metric.of(self.store, new)
        self.store.derived[kept] = facts
        return sign * facts[ids]

    def _weights(self, law: Law) -> np.ndarray:
        """Return the importance weight (E,) of every episode under a law; kept until the law changes."""
        if self._weighed is None or self._weighed[0] is not law:
            length = self.store.table.length[law.ids].astype(np.float64)
            p = law.p * length / (law.p @ length) if self.config.start == "backward_cursor" else law.p
            weights = np.zeros(len(self.store), np.float32)
            weights[law.ids] = importance(p, length / length.sum(), self.config.beta_at(self._made_at))
            self._weighed = law, weights
        return self._weighed[1]

    def _ask(self, score: Score) -> None:
        """Ask the agent about the next trajectories in order of id, at rows spread over each."""
        ids, config = self.store.live, self.config
        if not len(ids):
            return
        turn = np.searchsorted(ids, self._asked) + np.arange(min(config.score_episodes, len(ids)))
        chosen = ids[turn % len(ids)]  # (m,)
        self._asked = int(chosen[-1]) + 1
        step = np.linspace(0, self.store.table.length[chosen] - 1, config.score_steps, axis=1).astype(
            np.int64
        )
        values = ask(score, np.repeat(chosen, config.score_steps), step.ravel())  # (m * steps, E)
        found = METRICS[config.metric].of(values).reshape(len(chosen), -1).mean(1)
        self.evidence.put(chosen, found, self._step)
