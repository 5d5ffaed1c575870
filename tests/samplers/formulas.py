"""p(e) of every case of `populations`, written out from the docstrings and free of the samplers' own code."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize, root
from scipy.stats import rankdata

from trajrl.core.rng import stream
from trajrl.store.store import TrajectoryStore


class Facts(NamedTuple):
    """What a formula may look at: the live episodes (n,) and, for each of them, what is known of it."""

    length: np.ndarray  # T
    returns: np.ndarray  # G
    first: np.ndarray  # (n, obs), o_0
    obs: np.ndarray  # (n,) of (T + 1, obs)
    actions: np.ndarray  # (n,) of (T, act)
    rewards: np.ndarray  # (n,) of (T,)
    success: np.ndarray  # 1, 0 or -1
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
    told = list(store.episodes())
    obs, actions, rewards = (
        ragged([getattr(e, name) for e in told]) for name in ("obs", "actions", "rewards")
    )
    return Facts(
        store.table.length[live], store.table.returns[live], first.astype(float),
        obs, actions, rewards, store.table.success[live],
        store.table.phase[live] == 1, td[live], variance, label,
    )  # fmt: skip


def ragged(arrays: list[np.ndarray]) -> np.ndarray:
    """Return arrays of different lengths as one array (n,) of them."""
    out = np.empty(len(arrays), object)
    out[:] = [np.asarray(array, float) for array in arrays]
    return out


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


def within(f: Facts, steps: list[np.ndarray]) -> list[np.ndarray]:
    """Balance a law over steps across the clusters."""
    p = np.array([row.sum() for row in steps])
    return [row * q / mass for row, q, mass in zip(steps, balanced(f, p), p, strict=True)]


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


def quality(f: Facts, low: float) -> np.ndarray:
    """Steps of episodes above the split of merits that parts them most weigh 1, the others `low`."""
    to_go = [
        [sum(0.99 ** (j - t) * r[j] for j in range(t, len(r))) for t in range(len(r))] for r in f.rewards
    ]
    merit = np.array([np.mean(own) for own in to_go])
    rows = np.repeat(merit, f.length)

    def parted(limit: float) -> float:
        above, below = rows[rows > limit], rows[rows <= limit]
        return len(above) * len(below) * (above.mean() - below.mean()) ** 2

    mass = f.length * np.where(merit > max(np.unique(merit)[:-1], key=parted), 1.0, low)
    return mass / mass.sum()


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


def density(f: Facts, kl: float, floor: float, ess: float = 0.3, ridge: float = 0.001) -> list[np.ndarray]:
    """Solve for theta and eta: as much is brought to states as is taken, and the divergence is the bound."""
    steps = np.concatenate([o[:-1] for o in f.obs])

    def phi(o: np.ndarray) -> np.ndarray:
        z = np.clip((o - steps.mean(0)) / steps.std(0), -5, 5)
        return np.concatenate([z, z * z - 1], axis=-1)

    start = np.mean([phi(o[0]) for o in f.obs], axis=0)
    after = [np.concatenate([phi(o[1:-1]), start[None]]) for o in f.obs]
    psi = np.concatenate([there - phi(o[:-1]) for there, o in zip(after, f.obs, strict=True)])
    r = np.concatenate(list(f.rewards))
    r = r / r.std()

    def ratio(theta: np.ndarray, temperature: float) -> np.ndarray:
        w = np.exp((r + psi @ theta - (r + psi @ theta).max()) / temperature)
        return w / w.sum()

    def conditions(x: np.ndarray) -> np.ndarray:
        p = ratio(x[:-1], np.exp(x[-1]))
        return np.append(p @ psi + ridge * x[:-1], p @ np.log(p * len(p)) - kl)

    found = root(conditions, np.zeros(psi.shape[1] + 1), tol=1e-13)
    assert np.abs(found.fun).max() < 1e-9
    theta, temperature = found.x[:-1], np.exp(found.x[-1])

    def law(temperature: float) -> np.ndarray:
        return (1 - floor) * ratio(theta, temperature) + floor / len(r)

    while 1 / (len(r) * np.square(law(temperature)).sum()) < ess:
        temperature *= 1.00002
    return np.split(law(temperature), np.cumsum(f.length)[:-1])


def onpolicy(
    f: Facts, seed: int, recent: float, score_steps: int, width: int, ridge: float = 0.01
) -> np.ndarray:
    """Return the mean logit of each episode, newest online ones against all."""
    later, newest = 0, np.zeros(len(f.length), bool)
    for e in np.flatnonzero(f.online)[::-1]:
        newest[e] = later < recent * f.length[f.online].sum()
        later += f.length[e]
    rows = [np.concatenate([o[:-1], a], axis=1) for o, a in zip(f.obs, f.actions, strict=True)]
    everything = np.concatenate(rows)
    rng = stream(seed, "onpolicy", 0)
    inside = rng.normal(size=(everything.shape[1], width)) / np.sqrt(everything.shape[1])
    bias = rng.normal(size=width)

    def hidden(x: np.ndarray) -> np.ndarray:
        z = np.clip((x - everything.mean(0)) / everything.std(0), -5, 5)
        return np.column_stack([np.ones(len(z)), z, np.maximum(0, z @ inside + bias)])

    positive, every = hidden(np.concatenate([rows[e] for e in np.flatnonzero(newest)])), hidden(everything)

    def loss(beta: np.ndarray) -> float:
        told = np.log1p(np.exp(-positive @ beta)).mean() + np.log1p(np.exp(every @ beta)).mean()
        return float(told + ridge / 2 * beta @ beta)

    beta = minimize(loss, np.zeros(every.shape[1]), method="BFGS", options={"gtol": 1e-7}).x
    chosen = [row[np.linspace(0, len(row) - 1, score_steps).astype(int)] for row in rows]
    return np.array([(hidden(x) @ beta).mean() for x in chosen])


def kept_share(f: Facts, worth: np.ndarray, ess: float) -> np.ndarray:
    """Return the exponential law of the lowest temperature whose windows have the effective share."""

    def short(log_temperature: float) -> float:
        p = weighted(f, worth, np.exp(log_temperature))
        return 1 / (f.length.sum() * (p**2 / f.length).sum()) - ess

    return weighted(f, worth, np.exp(brentq(short, -5, 7, xtol=1e-12)))


def progress(
    f: Facts, opened: Callable, temperature: float, floor: float, ess: float = 0.0
) -> list[np.ndarray]:
    """Weigh every step by how far it lies before what is open of its cluster, one at a time."""
    beyond = []
    for e, length in enumerate(f.length):
        goals = f.success[f.cluster == f.cluster[e]] == 1
        for t in range(length):
            d = 1.0 if goals.any() and f.success[e] == 0 else (length - 1 - t) / length
            beyond.append(max(0.0, d - opened(f.cluster[e])))

    def law(temperature: float) -> np.ndarray:
        w = np.exp(-np.array(beyond) / temperature)
        return (1 - floor) * w / w.sum() + floor / len(w)

    while 1 / (len(beyond) * np.square(law(temperature)).sum()) < ess:
        temperature *= 1.00002
    return np.split(law(temperature), np.cumsum(f.length)[:-1])


def at_last(f: Facts, p: np.ndarray) -> list[np.ndarray]:
    return [np.append(np.zeros(t - 1), mass) for t, mass in zip(f.length, p, strict=True)]


def at_any(f: Facts, p: np.ndarray) -> list[np.ndarray]:
    return [np.full(t, mass / t) for t, mass in zip(f.length, p, strict=True)]


# Case -> p over the live episodes after the third step: options as in `populations.CASES`.  Lists: of steps.
LAWS: dict[str, Callable[[Facts], np.ndarray | list[np.ndarray]]] = {
    "advantage": lambda f: weighted(f, f.returns - start_values(f), temperature=0.5, floor=0.05),
    "cluster": lambda f: balanced(f, episode(f), floor=0.1),
    "cluster-auto": lambda f: balanced(f, episode(f)),
    "cluster-tilt": lambda f: balanced(f, episode(f), tilt=0.5 * 7 / 20),  # 3 / 8 of the ramp, in twentieths
    "density": lambda f: density(f, kl=0.4, floor=0.1),
    "density-ess": lambda f: density(f, kl=0.7, floor=0.05, ess=0.8),
    "episode": episode,
    "mixture": lambda f: mixed(f, 0.3, lambda g: balanced(g, episode(g)), lambda g: ranked(g.td)),
    "mixture-scheduled": lambda f: mixed(f, 0.35, uniform, uniform),  # 3 / 4 of the way from 0.8 to 0.2
    "onpolicy": lambda f: weighted(f, onpolicy(f, 3, 0.5, 4, 8), temperature=0.3, floor=0.1),
    "onpolicy-ess": lambda f: kept_share(f, onpolicy(f, 3, 0.3, 32, 4), 0.5),
    "priority-last": lambda f: ranked(f.returns),
    "priority-q": lambda f: ranked(f.variance),
    "priority-td": lambda f: ranked(f.td),
    "product": lambda f: balanced(f, ranked(f.td)),
    "product-density": lambda f: within(f, density(f, kl=0.3, floor=0.05)),
    "progress": lambda f: progress(f, lambda c: 0.5, temperature=0.1, floor=0.05),
    "progress-success": lambda f: progress(
        f, lambda c: 0.1 + 0.9 * 8 / 16, temperature=0.02, floor=0.05, ess=0.6
    ),
    "quality": lambda f: quality(f, low=0.55),  # half way from 1 to 0.1
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
