"""Cluster-balanced: k-means groups trajectories by their features; every group is drawn equally often.

    p(e, t) = ((1 - floor) s_c / n_c(e) + floor / n) / T_e,  s_c = 1 / C, or with a pull  s_c ~ exp(pull z_c)
    pull    = tilt_start, from step tilt_from on moving to `tilt` over tilt_ramp steps

z_c is the standardised mean return of cluster c: a pull moves draws towards clusters that do well, below 0
towards those that do badly.  It may set in late, when the policy has seen everything else (tilt_start 0), or
fade (tilt 0): good clusters first, the rest blended in.  Without it a batch holds n // C from each cluster
and the remainder from distinct clusters at random.  An episode that arrives is put to the nearest centre; the
centres move only at a re-fit.  A clustering stored with the file is used as it is.

Paper: none; code by Revivekirin.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.samplers.base.distributions import Balanced, Law, check_share, share_stats
from trajrl.samplers.base.episode_law import EpisodeLaw
from trajrl.samplers.base.returns import returns_of
from trajrl.samplers.clustering.fit import Clustering, ClusterSpec, cluster_store
from trajrl.samplers.clustering.labels import read_clustering
from trajrl.store.features import Scaler

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Score
    from trajrl.store.store import TrajectoryStore


@dataclass(frozen=True)
class Config(ClusterSpec):
    """How trajectories are grouped and how the groups are drawn from."""

    floor: float = 0.0  # share of draws that is uniform over all episodes; higher: less balanced
    refit_every: int = 0  # steps between re-fits of the centres; higher: rarer.  0: never
    tilt: float = 0.0  # last pull to clusters of high return; below 0: of low; higher: more from the best
    tilt_start: float = 0.0  # first pull, the same way; higher: more from the best.  0: balanced at first
    tilt_from: int = 0  # step at which the pull begins to move from the first to the last; higher: later
    tilt_ramp: int = 0  # steps over which it moves; higher: gentler
    stored: bool = True  # use the clustering that `store cluster` wrote, where it answers to these options

    def validate(self) -> None:
        """Refuse numbers out of range."""
        super().validate()
        check_share("floor", self.floor)
        for name in ("tilt", "tilt_start"):
            if not isfinite(getattr(self, name)):
                raise ValueError(f"the sampler option '{name}' is a finite number; got {getattr(self, name)}")
        for name in ("tilt_from", "tilt_ramp"):
            if getattr(self, name) < 0:
                raise ValueError(f"the sampler option '{name}' is at least 0; got {getattr(self, name)}")
        if self.refit_every < 0:
            raise ValueError(f"the sampler option 'refit_every' is at least 0; got {self.refit_every}")


PRESETS: dict[str, dict[str, Any]] = {
    # balanced first, then the better clusters; its figures are those of clusters by shape
    "demo": {"tilt": 0.8, "tilt_from": 5_000, "tilt_ramp": 500, "describe": "shape"},
}


class ClusterSampler(EpisodeLaw):
    """Equal numbers of trajectories from each cluster."""

    config_type = Config

    def __init__(self, store: TrajectoryStore, config: Config, seed: int = 0) -> None:
        self.clustering: Clustering | None = None
        self._fitted_on = 0  # trajectories at the last fit
        self._fitted_at = 0  # step of the last fit
        self._pull = 0.0  # the tilt in force
        self._short = False  # fewer clusters than asked for: fit again when there are twice the trajectories
        super().__init__(store, config, seed)

    @property
    def labels(self) -> np.ndarray:
        """Return the cluster (E,) of every episode taken in so far, -1 for those never alive."""
        return np.zeros(0, np.int64) if self.clustering is None else self.clustering.labels

    @property
    def scores(self) -> dict[int, float]:
        """Return J of every count tried."""
        return {} if self.clustering is None else self.clustering.scores

    def refresh(self, step: int, score: Score | None = None) -> None:
        """Assign new episodes to the nearest centre; fit again where the schedule says so."""
        pulled = self._pulled(step)
        changed = self.watch.changed(self.store) or pulled
        due = bool(self.config.refit_every) and step - self._fitted_at >= self.config.refit_every
        if not (changed or due):
            return
        ids = self.store.live
        if len(ids) and (self.clustering is None or due or (self._short and len(ids) >= 2 * self._fitted_on)):
            self.refit(step)
        else:
            self._assign(ids)
            self.law = self.make_law(ids)

    def refit(self, step: int = 0) -> None:
        """Cluster all live trajectories anew."""
        first, ids = self.clustering is None, self.store.live
        found = self._stored() if first else None
        spec = ClusterSpec(**{field.name: getattr(self.config, field.name) for field in fields(ClusterSpec)})
        if found is None:
            found = cluster_store(self.store, self._possible(spec, len(ids)), self.seed)
        for text in found.notes:
            self.note(f"cluster: {text}")
        self.clustering, self._fitted_on, self._fitted_at = found, len(ids), step
        self._short = found.count < (2 if isinstance(spec.clusters, str) else spec.clusters)
        self._assign(ids)
        self.law = self.make_law(ids)

    def make_law(self, ids: np.ndarray) -> Law:
        """Balance the live episodes (n,) across their clusters."""
        if not len(ids):
            return super().make_law(ids)
        return self.balance(ids, np.ones(len(ids)))

    def balance(self, ids: np.ndarray, masses: np.ndarray) -> Balanced:
        """Return the law that draws clusters by the pull, and the episodes (n,) within by their mass."""
        groups = self.labels[ids]
        weights = cluster_weights(groups, returns_of(self.store, ids), self._pull) if self._pull else None
        return Balanced(ids, groups, masses, self.config.floor, weights)

    def masses(self, ids: np.ndarray) -> np.ndarray:
        """Return 1, the mass within a cluster."""
        return np.ones(len(ids))

    def stats(self) -> dict[str, float]:
        """Return the law's figures, the score of every count, and size, length and return of each cluster."""
        stats = {
            **super().stats(),
            "pull": self._pull,
            "clusters": float(len(np.unique(self.labels[self.law.ids]))),
        }
        stats.update({f"score/{count}": score for count, score in self.scores.items()})
        for c, row in cluster_table(self.store, self.labels, self.law.ids).items():
            stats.update({f"cluster/{c}/{name}": value for name, value in row.items()})
        counts = np.bincount(self.labels[self.law.ids]) if len(self.law.ids) else np.zeros(0)
        shares = share_stats(counts / max(1, counts.sum()))
        return {**stats, **{f"cluster/data_{name}": value for name, value in shares.items()}}

    def state_dict(self) -> dict[str, Any]:
        """Return labels, centres, scaler and scores, beside the law."""
        fitted = {
            "fitted_on": self._fitted_on,
            "fitted_at": self._fitted_at,
            "describe": self.config.describe,
        }
        state = {**super().state_dict(), **fitted, "pull": self._pull}
        if self.clustering is None:
            return state
        found = self.clustering
        return {
            **state, "short": self._short, "labels": found.labels, "centres": found.centres,
            **{f"scaler_{name}": values for name, values in found.scaler.state().items()},
            "counts": np.array(list(found.scores), np.int64), "scores": np.array(list(found.scores.values())),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the clustering, and the law with it."""
        super().load_state_dict(state)
        self.config = replace(self.config, describe=str(state.get("describe", "shape")))  # 0.1 knew no other
        self._fitted_on, self._fitted_at = int(state["fitted_on"]), int(state["fitted_at"])
        self._short, self.clustering = bool(state.get("short", False)), None
        self._pull = float(state["pull"])
        if "labels" in state:
            scaler = Scaler(*(np.asarray(state[f"scaler_{name}"]) for name in ("mean", "divisor", "axes")))
            scores = {int(c): float(j) for c, j in zip(state["counts"], state["scores"], strict=True)}
            labels, centres = np.asarray(state["labels"], np.int64), np.asarray(state["centres"])
            self.clustering = Clustering(labels, centres, scaler, self.config, self.seed, scores)
            self.law = self.make_law(np.asarray(state["ids"], np.int64))

    def _pulled(self, step: int) -> bool:
        """Move the pull along its ramp, in twentieths, and say whether it changed."""
        config, past = self.config, step - self.config.tilt_from
        done = past / config.tilt_ramp if config.tilt_ramp else float(past >= 0)
        moved = np.floor(20 * min(1.0, max(0.0, done))) / 20
        pull = (1 - moved) * config.tilt_start + moved * config.tilt
        changed, self._pull = pull != self._pull, float(pull)
        return changed

    def _assign(self, ids: np.ndarray) -> None:
        """Give every live episode that has no label yet that of the nearest centre."""
        if self.clustering is None:
            return
        labels = np.full(len(self.store), -1)
        labels[: len(self.clustering.labels)] = self.clustering.labels
        new = ids[labels[ids] < 0]
        if len(new):
            labels[new] = self.clustering.assign(self.store, new)
        self.clustering = replace(self.clustering, labels=labels)

    def _stored(self) -> Clustering | None:
        """Return the clustering of the store's file where it answers to the options."""
        found = read_clustering(self.store) if self.config.stored else None
        if found is None:
            return None
        counted = self.config.clusters in ("auto", found.count)
        same = all(getattr(found.spec, name) == getattr(self.config, name) for name in FEATURE_OPTIONS)
        if counted and same:
            return found
        self.note(f"cluster: the store holds {found.count} clusters under other options; fitting anew")
        return None

    def _possible(self, spec: ClusterSpec, trajectories: int) -> ClusterSpec:
        """Ask for no more clusters than there are trajectories."""
        if isinstance(spec.clusters, str) or spec.clusters <= trajectories:
            return spec
        asked = f"{spec.clusters} clusters asked for and {trajectories} trajectories"
        self.note(f"cluster: {asked}: as many clusters")
        return replace(spec, clusters=trajectories)


def cluster_weights(groups: np.ndarray, returns: np.ndarray, tilt: float) -> np.ndarray:
    """Return exp(tilt (z_c - z_first)) by cluster number (C,), z_c the standardised mean return of a cluster.

    z_first is that of the cluster drawn most, so that no tilt is too large for exp.
    """
    counts = np.bincount(groups)
    mean = np.bincount(groups, returns) / np.maximum(1, counts)  # (C,)
    known = mean[counts > 0]
    z = (mean - known.mean()) / (known.std() or 1.0)
    first = z[counts > 0].max() if tilt > 0 else z[counts > 0].min()
    with np.errstate(over="ignore"):  # exp of what is below every number is 0
        return np.where(counts > 0, np.exp(np.minimum(0.0, tilt * (z - first))), 0.0)


FEATURE_OPTIONS = ("describe", "keyframes", "actions", "returns", "components", "block_scale")


def cluster_table(store: TrajectoryStore, labels: np.ndarray, ids: np.ndarray) -> dict[int, dict[str, float]]:
    """Return size, mean and std of length, and mean return of each cluster of live episodes (n,)."""
    label, length, returns = labels[ids], store.table.length[ids], store.table.returns[ids]
    return {
        int(c): {
            "episodes": float((label == c).sum()), "length_mean": float(length[label == c].mean()),
            "length_std": float(length[label == c].std()), "return_mean": float(returns[label == c].mean()),
        }
        for c in np.unique(label)
    }  # fmt: skip
