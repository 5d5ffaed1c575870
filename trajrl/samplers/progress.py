"""Progress: starts move back from the end of episodes as learning succeeds there, in every cluster by itself.

    p(e, t) = (1 - floor) w / sum w + floor / N,   w(e, t) = exp(-max(0, d - f_c) / temperature),   N = sum T
    d = (T_e - 1 - t) / T_e     how far step t lies before the end
    f_c                         what is open of the episodes of cluster c, counted from the end

f_c begins at `begin` and never falls.  Where `by` is

    td_error   it grows by `stride` once the mean |TD error| of rows last opened (f_c - stride <= d <= f_c)
               has fallen to `fall` of the largest since they were opened, after `least` of them, or at the
               latest after `patience` training steps
    success    it is  begin + (1 - begin) successes / window  of the newest `window` online episodes of c

Where a cluster has successes, its failures have no goal to go back from: all their steps have w of d = 1.
With ess, the temperature is raised to the lowest whose draws are spread over that share of windows,
1 / (N sum p^2) >= ess.  Clusters are those of the sampler `cluster`; 1 is one frontier for all.

Paper: Salimans & Chen 2018 (arXiv 1812.03381); Tao et al. 2024 (by demonstration, arXiv 2405.03379).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.core.registry import unknown
from trajrl.samplers.base.distributions import check_share
from trajrl.samplers.base.frontier import Frontier
from trajrl.samplers.base.step_law import StepConfig, StepLaw
from trajrl.samplers.cluster import ClusterSampler
from trajrl.samplers.cluster import Config as Clusters
from trajrl.store.table import phase_code

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Score
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import Anchors

BY = ("success", "td_error")


@dataclass(frozen=True)
class Config(StepConfig):
    """What counts as success, and how fast starts move back."""

    ess: float = 0.1  # least share of windows that draws are spread over; higher: closer to uniform
    by: str = "td_error"  # what says that learning succeeds: td_error, or success of online episodes
    clusters: int | str = "auto"  # with a frontier each; higher: finer, slower to learn from.  1: one for all
    begin: float = 0.1  # share of an episode, at its end, that is open at first; higher: more at once
    stride: float = 0.1  # share that is opened at a time (td_error); higher: coarser, sooner through
    temperature: float = 0.02  # how soft the frontier is, in shares of an episode; higher: closer to uniform
    fall: float = 0.5  # of the largest TD error of the rows last opened; higher: opened sooner
    least: int = 500  # rows last opened that must have been learned from; higher: later, surer
    patience: int = 20_000  # training steps after which more is opened at the latest; higher: later
    rate: float = 0.1  # share of a batch in the moving average of TD errors; higher: follows faster, noisier
    window: int = 20  # newest online episodes of a cluster that are counted (success); higher: smoother
    refresh_every: int = 100  # training steps between two looks at the frontiers; higher: cheaper

    def validate(self) -> None:
        """Refuse unknown names and numbers out of range."""
        super().validate()
        if self.by not in BY:
            raise ValueError(unknown("measure of progress", self.by, BY))
        Clusters(clusters=self.clusters).validate()
        for name in ("begin", "stride", "fall", "rate"):
            check_share(name, getattr(self, name))
            if not getattr(self, name):
                raise ValueError(f"the sampler option '{name}' is above 0; got 0")
        if not self.temperature > 0:
            raise ValueError(f"the sampler option 'temperature' is above 0; got {self.temperature}")
        for name in ("least", "patience", "window", "refresh_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"the sampler option '{name}' is at least 1; got {getattr(self, name)}")


class ProgressSampler(StepLaw):
    """Steps from the end of episodes back, as far as each cluster is open."""

    config: Config
    config_type = Config

    def __init__(self, store: TrajectoryStore, config: Config, seed: int = 0) -> None:
        self.clusters = ClusterSampler(store, Clusters(clusters=config.clusters), seed)
        self.frontier = Frontier(config.begin, config.stride, config.rate)
        self._looked_at = 0
        super().__init__(store, config, seed)

    @property
    def reads_td_errors(self) -> bool:  # type: ignore[override]
        """Say whether starts move by TD errors."""
        return self.config.by == "td_error"

    @property
    def labels(self) -> np.ndarray:
        """Return the cluster (E,) of every episode taken in so far."""
        return self.clusters.labels

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Take in new episodes, and move the frontiers when it is time to look."""
        changed, due = self.watch.changed(self.store), step - self._looked_at >= self.config.refresh_every
        if not (changed or due):
            return
        self.clusters.refresh(step, score)
        self.frontier.grow(int(self.labels.max(initial=-1)) + 1, step)
        if due:
            self._looked_at = step
        if self._moved(step, due) or changed:
            self.law = self.make_law(self.store.live)

    def feedback(self, anchors: Anchors, td_error: np.ndarray) -> None:
        """Take in the TD errors of rows, those the critic left out aside."""
        usable = np.isfinite(td_error) & (anchors.episode < len(self.labels))
        if not self.reads_td_errors or not usable.any():
            return
        episode, step = anchors.episode[usable], anchors.step[usable]
        length = self.store.table.length[episode]
        self.frontier.learn(self.labels[episode], (length - 1 - step) / length, np.abs(td_error[usable]))

    def log_weights(self, ids: np.ndarray) -> np.ndarray:
        """Return -max(0, d - f_c) of every step."""
        length = self.store.table.length[ids]
        last = np.cumsum(length)
        distance = (np.repeat(last, length) - 1 - np.arange(last[-1])) / np.repeat(length, length)  # (R,) d
        goal = self._has_goal(ids)
        distance = np.where(np.repeat(goal, length), distance, 1.0)
        return -np.maximum(0.0, distance - np.repeat(self.frontier.open[self.labels[ids]], length))

    def least_temperature(self) -> float:
        """Return the softness of the frontier."""
        return self.config.temperature

    def stats(self) -> dict[str, float]:
        """Return the law's figures, and what is open: of all clusters, and of each."""
        found = self.frontier.open
        each = {f"open/{c}": float(share) for c, share in enumerate(found)}
        return {**super().stats(), "open": float(found.mean()) if len(found) else 0.0, **each}

    def state_dict(self) -> dict[str, Any]:
        """Return clusters and frontiers, beside the law."""
        parts = {"clusters": self.clusters.state_dict(), "frontier": self.frontier.state_dict()}
        return {**super().state_dict(), **parts, "looked_at": self._looked_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore everything."""
        super().load_state_dict(state)
        self.clusters.load_state_dict(state["clusters"])
        self.frontier.load_state_dict(state["frontier"])
        self._looked_at = int(state["looked_at"])

    def _moved(self, step: int, due: bool) -> bool:
        """Move the frontiers, and say whether one did."""
        if self.config.by == "success":
            return self.frontier.open_to(self._success_shares())
        config = self.config
        return due and self.frontier.advance(step, config.least, config.fall, config.patience)

    def _success_shares(self) -> np.ndarray:
        """Return successes / window (C,) of the newest online episodes of each cluster."""
        ids = self.store.live
        online = ids[self.store.table.phase[ids] == phase_code("online")]
        told = online[self.store.table.success[online] >= 0]
        if not len(told):
            self.note("progress: no online episode says whether it succeeded; starts stay where they are")
        shares = np.zeros(len(self.frontier.open))
        for c in range(len(shares)):
            newest = told[self.labels[told] == c][-self.config.window :]
            shares[c] = (self.store.table.success[newest] == 1).sum() / self.config.window
        return shares

    def _has_goal(self, ids: np.ndarray) -> np.ndarray:
        """Return for each episode (n,) whether its end is one to go back from."""
        label, success = self.labels[ids], self.store.table.success[ids]
        with_success = np.bincount(label, success == 1, minlength=len(self.frontier.open)) > 0  # (C,)
        return ~((success == 0) & with_success[label])
