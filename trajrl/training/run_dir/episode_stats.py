"""EpisodeStats: what each episode gave to training: draws, TD errors, cluster, age, phase, probability.

`record` costs a few array additions per batch.  `frame` is what becomes episodes.parquet, `stats` what is
logged: how even the draws were over episodes and clusters, since the beginning and since the last log, where
in the episode they began, how many came from successes, by age and success how often a step was drawn
(`replay_stats`), and of the last batch the rewards of its segments and how likely its episodes were.  Its
state is part of the checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.samplers.base.distributions import share_stats
from trajrl.samplers.roles import draws_by_role, role_sampler
from trajrl.training.run_dir.replay_stats import replay_stats
from trajrl.training.run_dir.window_draws import WindowDraws

if TYPE_CHECKING:
    import pandas as pd

    from trajrl.samplers.base.protocol import Sampler
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import Anchors

KEEP = 0.99  # of the recent means, per batch: they look back about 100 batches
COLUMNS = ("draws", "draws_logged", "weight", "td_count", "td_sum", "td_last", "born")  # per episode (E,)
RECENT = ("batches", "start", "start_squared", "known", "success")  # decaying sums of batch means


class EpisodeStats:
    """Counts what is drawn from each episode of a store, by stable id.

    Args:
        horizon: steps of the segment whose rewards the critic learns from
    """

    def __init__(self, store: TrajectoryStore, sampler: Sampler, horizon: int = 1) -> None:
        self.store, self.sampler, self.horizon = store, sampler, horizon
        self.step = 0
        self._last = np.zeros((2, 0), np.int64)  # episode and step of the last batch
        self._columns = {name: np.zeros(0) for name in COLUMNS}
        self._recent = dict.fromkeys(RECENT, 0.0)
        self.windows = WindowDraws(store) if store.images else None  # None: not counted
        self.policy = self._of_policy() if draws_by_role(sampler) else None  # of the policy's draw
        self._grow()

    def _of_policy(self) -> EpisodeStats:
        """Return the counts of what is drawn for the policy, none yet."""
        return EpisodeStats(self.store, role_sampler(self.sampler, "policy"), self.horizon)

    def record(
        self, anchors: Anchors, td_error: np.ndarray, step: int, policy: Anchors | None = None
    ) -> None:
        """Take in one batch: its anchors and their TD errors (B,), NaN where unused, drawn at a step.

        Args:
            policy: the anchors that the policy learned from, if not these
        """
        if self.policy is not None:
            unused = np.full(len(td_error), np.nan)
            self.policy.record(anchors if policy is None else policy, unused, step)
        self.step = step
        self._grow()
        episode, columns = anchors.episode, self._columns
        np.add.at(columns["draws"], episode, 1.0)
        if self.windows is not None:
            self.windows.record(anchors)
        np.add.at(columns["weight"], episode, anchors.weight)
        usable = np.isfinite(td_error)
        if not usable.all():
            episode, td_error = episode[usable], td_error[usable]
        np.add.at(columns["td_count"], episode, 1.0)
        np.add.at(columns["td_sum"], episode, td_error)
        columns["td_last"][episode] = td_error
        self._remember(anchors)
        self._last = np.stack([anchors.episode, anchors.step])

    def stats(self, drawn_by: Sampler | None = None) -> dict[str, float]:
        """Return how even the draws were, over episodes and clusters, and what was drawn of late.

        Args:
            drawn_by: what drew the last batch, if not the sampler that this was made with
        """
        ids = self.store.live
        draws, logged, weight = (self._counted(name)[ids] for name in ("draws", "draws_logged", "weight"))
        stats: dict[str, float] = {}
        for name, count in (("draws", draws), ("draws_interval", draws - logged)):
            stats.update({f"{name}/{key}": value for key, value in share_stats(_shares(count)).items()})
            stats[f"{name}/none_share"] = float((count == 0).mean()) if len(ids) else 0.0
        masses = {
            "data": np.ones(len(ids)), "draw": draws, "interval_draw": draws - logged,
            "weighted_draw": weight,
        }  # fmt: skip
        table, age = self.store.table, self.step - self._counted("born")[ids]
        replay = replay_stats(table.length[ids], table.success[ids], age, draws, draws - logged)
        of_policy = self.policy.stats(drawn_by and role_sampler(drawn_by, "policy")) if self.policy else {}
        return {
            **stats,
            **replay,
            **self._cluster_stats(ids, masses),
            **self._recent_stats(),
            **self._segments(drawn_by),
            **{f"policy/{name}": value for name, value in of_policy.items()},
        }

    def begin_interval(self) -> None:
        """Count the draws of the next log from here."""
        if self.policy is not None:
            self.policy.begin_interval()
        self._grow()
        self._columns["draws_logged"] = self._columns["draws"].copy()

    def frame(self) -> pd.DataFrame:
        """Return the episode table with, for each episode, what was drawn from it and what came back."""
        columns = {name: self._counted(name) for name in COLUMNS}
        frame = self.store.table.to_frame()
        frame["draws"] = columns["draws"].astype(np.int64)
        with np.errstate(invalid="ignore"):
            frame["td_mean"] = np.where(
                columns["td_count"] > 0, columns["td_sum"] / columns["td_count"], np.nan
            )
        frame["td_last"] = columns["td_last"]
        frame["weight_sum"] = columns["weight"]
        frame["cluster"] = self._labels()
        frame["age"] = (self.step - columns["born"]).astype(np.int64)
        frame["probability"] = role_sampler(self.sampler, "values").probabilities()
        if self.policy is not None:
            for name, values in self.policy.frame()[["draws", "weight_sum", "probability"]].items():
                frame[f"policy_{name}"] = values
        return frame

    def state_dict(self) -> dict[str, Any]:
        """Return every count."""
        columns = {name: values.copy() for name, values in self._columns.items()}
        return {
            "columns": columns,
            "recent": dict(self._recent),
            "step": self.step,
            "last": self._last.copy(),
            **({"windows": self.windows.counts().copy()} if self.windows else {}),
            **({"policy": self.policy.state_dict()} if self.policy else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore every count."""
        kept = {"draws_logged": state["columns"]["draws"], **state["columns"]}  # older states lack it
        self._columns = {name: np.array(kept[name], np.float64) for name in COLUMNS}
        self._recent = {name: float(state["recent"][name]) for name in RECENT}
        self.step = int(state["step"])
        self._last = np.array(state.get("last", self._last), np.int64)
        self._load_windows(state.get("windows"))
        if "policy" in state and self.policy is None:  # of a phase before that drew by role
            self.policy = self._of_policy()
        if self.policy is not None:  # where that phase made one draw, it was the policy's too
            self.policy.load_state_dict(state.get("policy", state))

    def _load_windows(self, counts: np.ndarray | None) -> None:
        """Restore the counts of windows; a run that began without them is not counted from its middle on."""
        if counts is None:
            self.windows = None
        elif self.windows is not None:
            self.windows.load_counts(counts)

    def _grow(self) -> None:
        """Make room for episodes appended since; they are born at this step."""
        if len(self.store) > len(self._columns["draws"]):
            self._columns = {name: self._counted(name) for name in COLUMNS}

    def _counted(self, name: str) -> np.ndarray:
        """Return a count (E,) of every episode; those after the last batch are born at this step."""
        values = self._columns[name]
        fill = {"born": float(self.step), "td_last": np.nan}.get(name, 0.0)
        return np.append(values, np.full(len(self.store) - len(values), fill))

    def _remember(self, anchors: Anchors) -> None:
        """Move the decaying sums on by one batch."""
        table = self.store.table
        start = anchors.step / np.maximum(1, table.length[anchors.episode] - 1)  # (B,) 0 first, 1 last step
        success = table.success[anchors.episode]
        batch = (1.0, start.mean(), np.square(start).mean(), (success >= 0).mean(), (success == 1).mean())
        for name, value in zip(RECENT, batch, strict=True):
            self._recent[name] = KEEP * self._recent[name] + float(value)

    def _recent_stats(self) -> dict[str, float]:
        recent = self._recent
        if not recent["batches"]:
            return {}
        mean = recent["start"] / recent["batches"]
        spread = max(0.0, recent["start_squared"] / recent["batches"] - mean**2) ** 0.5
        stats = {"rel_start_mean": mean, "rel_start_std": spread}
        if recent["known"]:
            stats["success_share"] = recent["success"] / recent["known"]
        return stats

    def _cluster_stats(self, ids: np.ndarray, masses: dict[str, np.ndarray]) -> dict[str, float]:
        """Return how masses (n,) of live episodes spread over clusters: evenness, extremes, each share."""
        label, stats = self._labels()[ids], {}
        if not len(label) or label.max() < 0:
            return {}
        named = [*range(label.max() + 1), "none"][: None if label.min() < 0 else -1]
        place = np.where(label < 0, len(named) - 1, label)  # those that came after the clustering: last
        for name, mass in masses.items():
            count = np.bincount(place, mass)
            shares = _shares(count)
            stats.update({f"cluster/{name}_{key}": value for key, value in share_stats(shares).items()})
            stats.update(
                {f"cluster/{name}_min": float(count.min()), f"cluster/{name}_max": float(count.max())}
            )
            stats.update({f"cluster/{c}/{name}_share": float(share) for c, share in zip(named, shares)})
        return stats

    def _segments(self, drawn_by: Sampler | None) -> dict[str, float]:
        """Return what the last batch's segments paid, in all and at their ends, and how likely they were.

        Rewards are as the store has them; a segment ends with the horizon or with its episode.
        """
        table, (episode, step) = self.store.table, self._last
        if not len(episode):
            return {}
        real = np.minimum(self.horizon, table.length[episode] - step)  # (B,)
        offset = np.minimum(np.arange(self.horizon), real[:, None] - 1)  # (B, n) held at the last
        rewards = self.store.rewards.rows((table.start[episode] + step)[:, None] + offset)
        paid = np.where(np.arange(self.horizon) < real[:, None], rewards, 0).sum(1, dtype=np.float64)
        prior = role_sampler(drawn_by or self.sampler, "values").probabilities()[episode]  # (B,)
        likely = {"prior_mean": float(prior.mean()), "prior_std": float(prior.std())}
        if self.store.goals:  # each draw's goal pays its own
            return likely
        return {
            "segment_return_mean": float(paid.mean()), "segment_return_std": float(paid.std()),
            "last_reward": float(rewards[:, -1].mean()), **likely,
        }  # fmt: skip

    def _labels(self) -> np.ndarray:
        """Return the cluster (E,) of every episode: the sampler's, else the store's, else -1."""
        labels = np.full(len(self.store), -1, np.int64)
        drawers = [role_sampler(self.sampler, role) for role in ("values", "policy")]
        found = next((own for one in drawers if (own := getattr(one, "labels", None)) is not None), None)
        if found is None and "cluster" in self.store.table.extra_names:
            found = self.store.table.cluster
        if found is not None:
            labels[: len(found)] = found
        return labels


def _shares(mass: np.ndarray) -> np.ndarray:
    """Return masses (n,) as shares; zeros where there is none."""
    total = mass.sum()
    return mass / total if total else mass * 0.0
