"""p(e) of every case of `populations`, written out from the docstrings and free of the samplers' own code."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from trajrl.store.store import TrajectoryStore


class Facts(NamedTuple):
    """What a formula may look at: the live episodes (n,) and, for each of them, what is known of it."""

    length: np.ndarray  # T
    returns: np.ndarray  # G
    first: np.ndarray  # (n, obs), o_0
    online: np.ndarray  # bool
    td: np.ndarray  # mean absolute TD error of its drawn rows; NaN where none was drawn
    variance: np.ndarray  # of Q over the critics; NaN where nobody asked
    cluster: np.ndarray  # number of its cluster, which is no law

    def only(self, chosen: np.ndarray) -> "Facts":
        return Facts(*(column[chosen] for column in self))


def facts(store: TrajectoryStore, live: np.ndarray, td: np.ndarray, asked: int, cluster: np.ndarray) -> Facts:
    """Collect the facts of the live episodes; the agent was asked about the episodes below `asked`."""
    variance = np.where(live < asked, (0.05 * live) ** 2, np.nan)  # of q and q + 0.1 e
    first = np.stack([store.obs.rows(np.array([store.table.start[e] + e]))[0] for e in live])
    label = cluster[live] if len(cluster) else np.zeros(len(live))
    return Facts(
        store.table.length[live], store.table.returns[live], first.astype(float),
        store.table.phase[live] == 1, td[live], variance, label,
    )  # fmt: skip


def uniform(f: Facts) -> np.ndarray:
    return f.length / f.length.sum()


def episode(f: Facts) -> np.ndarray:
    return np.full(len(f.length), 1 / len(f.length))


def ranked(score: np.ndarray, alpha: float = 0.7, floor: float = 0.05) -> np.ndarray:
    """(1 - floor) (rank + 1)^-alpha / sum + floor / n; no evidence counts as the largest score."""
    score = np.where(np.isnan(score), np.nanmax(score), score)
    mass = rankdata(-score, method="average") ** -alpha
    return (1 - floor) * mass / mass.sum() + floor / len(score)


def balanced(f: Facts, q: np.ndarray, floor: float = 0.0, tilt: float = 0.0) -> np.ndarray:
    """(1 - floor) s_c q_e / q(c) + floor q_e, s_c ~ exp(tilt z_c) with z_c the standardised mean return."""
    names = np.unique(f.cluster)
    mean = np.array([f.returns[f.cluster == c].mean() for c in names])
    share = np.exp(tilt * (mean - mean.mean()) / mean.std())
    p = np.zeros(len(q))
    for c, s in zip(names, share / share.sum(), strict=True):
        p[f.cluster == c] = s * q[f.cluster == c] / q[f.cluster == c].sum()
    return (1 - floor) * p + floor * q / q.sum()


def mixed(f: Facts, share: float, offline: Callable, online: Callable) -> np.ndarray:
    p = np.zeros(len(f.length))
    p[~f.online], p[f.online] = share * offline(f.only(~f.online)), (1 - share) * online(f.only(f.online))
    return p


def top(f: Facts, share: float, floor: float) -> np.ndarray:
    """The steps of the floor(share n) best; those tied at the border share the places left."""
    places = int(share * len(f.returns))
    border = np.sort(f.returns)[-places]
    left = (places - (f.returns > border).sum()) / (f.returns == border).sum()
    mass = np.where(f.returns > border, 1.0, np.where(f.returns == border, left, 0.0)) * f.length
    return (1 - floor) * mass / mass.sum() + floor / len(mass)


def weighted(
    f: Facts, worth: np.ndarray, temperature: float = 0.1, exponent: float = 1.0, floor: float = 0.0
) -> np.ndarray:
    x = (worth - worth.min()) / (worth.max() - worth.min())
    mass = np.exp(x / temperature) * f.length**exponent
    return (1 - floor) * mass / mass.sum() + floor / len(mass)


def start_values(f: Facts) -> np.ndarray:
    """V of the first observation by fits without the episode; test_advantage writes it out."""
    from test_advantage import written_out

    return written_out(f.first.astype(float), f.returns)


def advantage(f: Facts) -> np.ndarray:
    """G minus the least squares of G on o_0 and 1."""
    design = np.column_stack([f.first, np.ones(len(f.first))])
    return f.returns - design @ np.linalg.lstsq(design, f.returns, rcond=None)[0]


def capped(p: np.ndarray, limit: float) -> np.ndarray:
    """No entry above the limit; what is cut off goes to the others in proportion."""
    full = np.zeros(len(p), bool)
    while (p[~full] > limit).any():
        full |= p > limit
        rest = ~full
        p = np.where(rest, p * (1 - limit * full.sum()) / p[rest].sum(), limit)
    return p


def recent(f: Facts, half_life: float, floor: float) -> np.ndarray:
    """Halve an episode's steps for every half-life of later ones, one episode at a time."""
    order = f.length[f.online]
    later = iter([sum(order[i + 1 :]) + t / 2 for i, t in enumerate(order)])
    data = sum(order) + sum(f.length[~f.online]) / 2
    later = [next(later) if new else data for new in f.online]
    mass = f.length * 0.5 ** (np.array(later) / (half_life * sum(f.length)))
    return (1 - floor) * mass / mass.sum() + floor / len(mass)


def at_last(f: Facts, p: np.ndarray) -> list[np.ndarray]:
    return [np.append(np.zeros(t - 1), mass) for t, mass in zip(f.length, p, strict=True)]


def at_any(f: Facts, p: np.ndarray) -> list[np.ndarray]:
    return [np.full(t, mass / t) for t, mass in zip(f.length, p, strict=True)]


# Case -> p over the live episodes after the third step: options as in `populations.CASES`.
LAWS: dict[str, Callable[[Facts], np.ndarray]] = {
    "advantage": lambda f: weighted(f, f.returns - start_values(f), temperature=0.5, floor=0.05),
    "cluster": lambda f: balanced(f, episode(f), floor=0.1),
    "cluster-auto": lambda f: balanced(f, episode(f)),
    "cluster-tilt": lambda f: balanced(f, episode(f), tilt=0.5 * 7 / 20),  # 3 / 8 of the ramp, in twentieths
    "episode": episode,
    "mixture": lambda f: mixed(f, 0.3, lambda g: balanced(g, episode(g)), lambda g: ranked(g.td)),
    "mixture-scheduled": lambda f: mixed(f, 0.35, uniform, uniform),  # 3 / 4 of the way from 0.8 to 0.2
    "priority-last": lambda f: ranked(f.returns),
    "priority-q": lambda f: ranked(f.variance),
    "priority-td": lambda f: ranked(f.td),
    "product": lambda f: balanced(f, ranked(f.td)),
    "recent": lambda f: recent(f, half_life=0.3, floor=0.2),
    "roles": lambda f: (weighted(f, advantage(f), temperature=0.5) + uniform(f)) / 2,
    "roles-late": lambda f: (
        (0.75 * uniform(f) + 0.25 * top(f, 0.4, 0.0) + ranked(f.td)) / 2
    ),  # 1 / 4 of the ramp
    "top": lambda f: top(f, share=0.4, floor=0.1),
    "uniform": uniform,
    "weighted": lambda f: weighted(f, advantage(f), temperature=0.5, floor=0.05),
    "weighted-rw": lambda f: capped(weighted(f, f.returns, exponent=0.0), 0.2),
}
