"""Strata: which rows are good for their state, judged on a fixed subsample of what was seen.

    score = q - mean of q over the state's cluster
    selected above  the (1 - f) quantile of the cluster's scores
    good above      0 (cluster_mean) | mean q - mean of the cluster (global_mean)
                    | the (1 - share) quantile of the cluster's scores (cluster_quantile)

States are standardised, projected if asked, and clustered by k-means once the subsample is whole.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from trajrl.agents.base.protocol import History
from trajrl.core.rng import integer
from trajrl.samplers.base.split import estimated_share
from trajrl.samplers.clustering.kmeans import fit_centres
from trajrl.store.features import Scaler

THRESHOLDS = ("cluster_mean", "cluster_quantile", "global_mean")
RESTARTS = 5  # k-means starts
LEAST_MEMBERS = 10  # rows per cluster while the subsample is still small


class Strata:
    """The subsample, its clusters, and the limits of the last labelling; all of it is saved."""

    in_losses: ClassVar[tuple[str, ...]] = ()  # tensors that losses and acting read

    def __init__(self, clusters: int, components: int, capacity: int, seed: int, device: torch.device):
        self.clusters, self.components, self.capacity, self.seed = clusters, components, capacity, seed
        self.device = device
        self.rows: dict[str, Tensor] = {}  # obs (n, H, obs), prev_actions, mask, actions (n, 1, act)
        self.tables: dict[str, Tensor] = {}  # clusters and limits; empty until the first labelling

    @property
    def size(self) -> int:
        """Return how many rows the subsample holds."""
        return len(self.rows["actions"]) if self.rows else 0

    @property
    def is_open(self) -> bool:
        """Say whether there is room for more."""
        return self.size < self.capacity

    @property
    def judged(self) -> bool:
        """Say whether there are limits."""
        return "select_above" in self.tables

    @property
    def history(self) -> History:
        """Return the histories of the subsample."""
        return History(self.rows["obs"], self.rows["prev_actions"], self.rows["mask"])

    @property
    def actions(self) -> Tensor:
        """Return the actions (n, 1, act) of the subsample."""
        return self.rows["actions"]

    @property
    def good_above(self) -> Tensor:
        """Return the score (C,) above which a row counts as good."""
        return self.tables["good_above"]

    @property
    def select_above(self) -> Tensor:
        """Return the score (C,) above which a row is selected."""
        return self.tables["select_above"]

    def take(self, history: History, actions: Tensor, real: Tensor) -> bool:
        """Add real rows while there is room; say whether the clusters were fitted to more of them."""
        if not self.is_open:
            return False
        room = self.capacity - self.size
        obs = torch.where(history.mask[..., None], history.obs, 0.0)
        before = torch.where(history.mask[..., None], history.prev_actions, 0.0)
        new = {"obs": obs, "prev_actions": before, "mask": history.mask, "actions": actions}
        for name, values in new.items():
            kept = values[real][:room].detach()
            self.rows[name] = torch.cat((self.rows[name], kept)) if name in self.rows else kept.clone()
        fitted = int(self.tables["fitted"]) if self.tables else 0
        if self.size and (self.size >= 2 * fitted or self.size == self.capacity):
            self.fit()
            return True
        return False

    def fit(self) -> None:
        """Cluster the states of the subsample."""
        obs = self.rows["obs"][:, -1].float().cpu().numpy()  # (n, obs)
        scaler = Scaler.fit(obs, [1] * obs.shape[1], block_scale=False, components=self.components)
        count = max(1, min(self.clusters, len(obs) // LEAST_MEMBERS))
        centres = fit_centres(scaler(obs), count, integer(self.seed, "strata"), RESTARTS)
        found = {**scaler.state(), "centres": centres, "fitted": np.array(len(obs))}
        kept = {name: torch.as_tensor(np.asarray(values)) for name, values in found.items()}
        self.tables = {
            name: (v.float() if v.is_floating_point() else v).to(self.device) for name, v in kept.items()
        }

    def cluster(self, obs: Tensor) -> Tensor:
        """Return the cluster (V,) of raw observations (V, obs)."""
        x = (obs - self.tables["mean"]) / self.tables["divisor"]
        if self.tables["axes"].shape[1]:
            x = x @ self.tables["axes"]
        return torch.cdist(x, self.tables["centres"]).argmin(1)

    def score(self, obs: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return score (V,) and cluster (V,) of rows with value q (V,) at raw observations (V, obs)."""
        cluster = self.cluster(obs)
        return q - self.tables["mean_q"][cluster], cluster

    def judge(self, q: Tensor, fraction: float, threshold: str, share: float) -> None:
        """Set the limits from the values q (n,) of the subsample."""
        cluster = self.cluster(self.rows["obs"][:, -1])
        count = len(self.tables["centres"])
        size = torch.bincount(cluster, minlength=count).clamp(min=1)
        mean = torch.bincount(cluster, q, minlength=count) / size  # (C,)
        score = q - mean[cluster]
        self.tables["mean_q"] = mean
        self.tables["select_above"] = limits(score, cluster, count, fraction)
        if threshold == "cluster_mean":
            good = torch.zeros_like(mean)
        elif threshold == "global_mean":
            good = q.mean() - mean
        else:
            good = limits(score, cluster, count, share or estimated(score))
        self.tables["good_above"] = good

    def state_dict(self) -> dict[str, Any]:
        """Return subsample, clusters and limits."""
        return {"rows": dict(self.rows), "tables": dict(self.tables)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.rows = {name: values.to(self.device) for name, values in state["rows"].items()}
        self.tables = {name: values.to(self.device) for name, values in state["tables"].items()}


def limits(score: Tensor, cluster: Tensor, count: int, share: float) -> Tensor:
    """Return the (1 - share) quantile (C,) of each cluster's scores; nothing is above it at share 0."""
    return torch.stack(
        [
            torch.quantile(score[cluster == c], 1 - share)
            if share < 1 and bool((cluster == c).any())
            else torch.full((), -torch.inf if share >= 1 else torch.inf, device=score.device)
            for c in range(count)
        ]
    )


def estimated(score: Tensor) -> float:
    """Return the share of good rows by Otsu's split of the scores."""
    return estimated_share(score.double().cpu().numpy())
