"""Laws over episodes, ready to draw from: independent by probability, or balanced across groups.

    Categorical: p given                 Balanced: p(e) = (1 - floor) m_e / (C m(group of e)) + floor m_e /
    m(all)

Both keep a cumulative sum, so a draw costs one binary search per episode at any store size.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from trajrl.core.one_line import changed, one_line


class Law(Protocol):
    """Probabilities p (n,) over episode ids (n,), and how to draw from them."""

    ids: np.ndarray
    p: np.ndarray

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n ids with replacement."""


class Categorical:
    """Independent draws; what has no probability is never drawn."""

    def __init__(self, ids: np.ndarray, p: np.ndarray) -> None:
        self.ids, self.p = np.asarray(ids, np.int64), np.asarray(p, np.float64)  # (n,) both
        self._cumulative = np.cumsum(self.p)
        self._last = int(np.flatnonzero(self.p)[-1]) if len(self.p) else -1

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n ids with replacement."""
        if self._last < 0:
            raise ValueError("there is no episode to draw from; import data or collect some first")
        u = rng.random(n) * self._cumulative[-1]
        return self.ids[np.minimum(np.searchsorted(self._cumulative, u, side="right"), self._last)]


class Balanced:
    """Equal numbers from each group: n // C each, and the n mod C left over from distinct groups at random.

    Within a group an episode comes by its mass; groups without mass are left out of C.  With `weights` of the
    groups (by group number) a group comes n w_c / sum w times, rounded up or down at random.
    """

    def __init__(
        self,
        ids: np.ndarray,
        groups: np.ndarray,
        masses: np.ndarray,
        floor: float = 0.0,
        weights: np.ndarray | None = None,
    ) -> None:
        order = np.argsort(groups, kind="stable")
        order = order[masses[order] > 0]
        self._floor, self._plain = floor, Categorical(ids, normalised(masses, ids))
        self._ids = np.asarray(ids, np.int64)[order]
        self._cumulative = np.cumsum(masses[order], dtype=np.float64)
        names, first, self._group = np.unique(groups[order], return_index=True, return_inverse=True)
        self._shares = None if weights is None else weights[names] / weights[names].sum()  # (C,)
        self._first, self._last = first, np.append(first[1:], len(order)) - 1  # (C,) places in the order
        self._high = self._cumulative[self._last]
        self._low = np.append(0.0, self._high[:-1])
        self.ids = np.asarray(ids, np.int64)
        self.p = floor * self._plain.p
        of_group = np.full(len(first), 1 / max(1, len(first))) if self._shares is None else self._shares
        within = masses[order] / (self._high - self._low)[self._group]
        self.p[order] += (1 - floor) * within * of_group[self._group]

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n ids, group by group."""
        if not len(self._ids):
            raise ValueError("there is no episode to draw from; import data or collect some first")
        plain = rng.binomial(n, self._floor) if self._floor else 0
        group = self._groups(rng, n - plain)
        u = self._low[group] + rng.random(len(group)) * (self._high - self._low)[group]
        place = np.searchsorted(self._cumulative, u, side="right")
        drawn = self._ids[np.clip(place, self._first[group], self._last[group])]
        return np.concatenate([drawn, self._plain.draw(rng, plain)]) if plain else drawn

    def _groups(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return the group of each of n draws."""
        if self._shares is None:
            each, left = divmod(n, len(self._first))
            group = np.repeat(np.arange(len(self._first)), each)
            return np.concatenate([group, rng.permutation(len(self._first))[:left]])
        order = rng.permutation(len(self._first))  # systematic: one uniform number rounds all groups
        marks = np.floor(np.cumsum(self._shares[order]) * n + rng.random()).astype(np.int64)
        return np.repeat(order, np.diff(np.append(0, np.append(marks[:-1], n))))


def normalised(masses: np.ndarray, ids: np.ndarray, whose: str = "the sampler") -> np.ndarray:
    """Return masses (n,) of episodes as probabilities; what are no masses is refused, by whose they are."""
    try:
        if np.iscomplexobj(masses):
            raise TypeError("they are complex")
        masses = np.asarray(masses, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{whose} gave masses that are no real numbers: {error}") from error
    count = len(ids)
    if masses.shape != (count,):
        raise ValueError(
            f"{whose} gave masses of shape {masses.shape} for {count} episodes; give one each, ({count},)"
        )
    usable = np.isfinite(masses) & (masses >= 0)
    if not usable.all():
        episode, mass = ids[~usable][0], masses[~usable][0]
        raise ValueError(
            f"{whose}: episode {episode} has a sampling mass of {mass}; give finite ones, 0 or more"
        )
    total = masses.sum()
    if len(masses) and total <= 0:
        raise ValueError(f"{whose}: none of {len(masses)} episodes has any sampling mass")
    return masses / total if len(masses) else np.zeros(0)


def require_probabilities(p: np.ndarray, live: np.ndarray, episodes: int, whose: str) -> None:
    """Refuse what cannot be probabilities over all episodes; those not live have none, and the sum is 1."""
    p = np.asarray(p)
    if p.shape != (episodes,):
        raise ValueError(
            f"{whose}.probabilities() has shape {p.shape}; give one for each of {episodes} episodes"
        )
    if not (np.isfinite(p) & (p >= 0)).all():
        raise ValueError(f"{whose}.probabilities() has entries that are below 0 or not finite")
    total = float(p[live].sum())
    if len(live) and not (np.isclose(total, 1, atol=1e-6) and np.isclose(p.sum(), total)):
        raise ValueError(f"{whose}.probabilities() sums to {total:g} over the live episodes; it must be 1")


def with_floor(p: np.ndarray, floor: float) -> np.ndarray:
    """Return (1 - floor) p + floor / n, p normalised first."""
    return (1 - floor) * p / p.sum() + floor / len(p)


def check_share(name: str, value: float) -> None:
    """Refuse an option that is not a share."""
    if not 0 <= value <= 1:
        raise ValueError(f"the sampler option '{name}' is a share between 0 and 1; got {value}")


def importance(p: np.ndarray, q: np.ndarray, beta: float) -> np.ndarray:
    """Return weights (n,) of drawing by p where q was meant; 0 for what is never drawn."""
    if beta == 0:
        return np.ones(len(p))
    drawn = p > 0
    weight = np.zeros(len(p))
    weight[drawn] = (q[drawn] / p[drawn]) ** beta
    return weight / (p @ weight)


def average_ranks(scores: np.ndarray) -> np.ndarray:
    """Return ranks (n,) from 0, the largest score first; ties share the mean of their places."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))  # (groups,)
    ends = np.append(begins[1:], len(scores))
    ranks = np.empty(len(scores))
    ranks[order] = np.repeat((begins + ends - 1) / 2, ends - begins)
    return ranks


def rank_law(scores: np.ndarray, alpha: float = 0.7, floor: float = 0.05) -> np.ndarray:
    """Return p (n,); alpha 0 or equal scores give the uniform law."""
    if not len(scores):
        return np.zeros(0)
    places = average_ranks(scores) + 1
    weight = (places / places.min()) ** -alpha  # the first weighs 1: no power makes all of them 0
    return (1 - floor) * weight / weight.sum() + floor / len(scores)


def described(sampler: Any) -> str:
    """Return a sampler in one line: what is set other than by default, and what it draws from."""
    p = sampler.probabilities()
    drawn, ess = np.count_nonzero(p), share_stats(p)["ess"]
    return one_line(sampler, *changed(sampler.config), f"{drawn:,} of {len(p):,} episodes", f"ess {ess:.1f}")


def share_stats(p: np.ndarray) -> dict[str, float]:
    """Describe shares (n,) that sum to 1; empty shares give zeros."""
    if not len(p):
        return {"entropy": 0.0, "kl_uniform": 0.0, "ess": 0.0}
    seen = p[p > 0]
    entropy = float(-(seen * np.log(seen)).sum())
    ess = float(1 / np.square(p).sum()) if len(seen) else 0.0
    return {"entropy": entropy, "kl_uniform": float(np.log(len(p)) - entropy), "ess": ess}
