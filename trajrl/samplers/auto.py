"""Auto: which draw suits a store, decided from its episodes before a run; no score of a policy is looked at.

    gap  = how far apart the two groups of merits lie, in their deviation (base/split.py, store/merit.py)
    x_e  = minmax(G_e - V(o_0)),   p(e) ~ T_e,   q(e) ~ T_e exp(x_e / 0.1)
    gain = sum_e (q_e - p_e) x_e             what drawing by return would add, in ranges of the returns
    good = sum_e p_e 1(x_e > 1/2)            share of the steps in the better half of that range

    returns of two values at most            uniform: on sparse rewards weighting has cost more than it won
    rewards of two values at most            the same: -1 a step until the goal is sparse, whatever G is
    gap >= 4, two percent in the upper one   quality: the episodes of the upper group alone
    gain < 0.3, or good < 0.02               uniform: nothing to win, or too little to learn a policy from
    else                                     weighted

Of an agent with values, the policy's draw alone narrows so, and from half of the run on: narrowing from the
start has cost where most data is medium.

Paper: Hong et al. 2023 (arXiv 2306.13085); Yue et al. 2023 (arXiv 2306.05412).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trajrl.samplers.base.returns import first_observations, minmax, returns_of
from trajrl.samplers.base.split import split
from trajrl.samplers.base.start_values import start_values
from trajrl.store.features import step_rows
from trajrl.store.merit import merits

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

AUTO = "auto"  # what asks for it
OFFLINE_ALONE = "auto decides by recorded returns before training; name a sampler for the online phase"
TEMPERATURE, GAIN, GOOD, GAP, NARROW_AT = 0.1, 0.3, 0.02, 4.0, 0.5
FEWEST = 10  # episodes that anything can be said of
COST = "on such rewards drawing by return has cost more than it won"
UPPER = {"low_start": 0.0, "low_end": 0.0}  # of quality: none of the lower group
BOTH = {"policy", "values"}


class Facts(NamedTuple):
    """What a store says of how its trajectories differ."""

    episodes: int
    values: int  # different returns, counted to three
    rewards: int  # different rewards of steps, counted to three
    gap: float  # between two groups of merits, in their deviation; NaN where rewards say nothing
    upper: float  # share of the steps in the upper group; NaN as well
    gain: float  # of drawing by return, in ranges of x; NaN where returns say nothing
    good: float  # share of the steps in the better half of the range; NaN as well


class Decision(NamedTuple):
    """A sampler, its options, and why."""

    sampler: str
    options: dict[str, Any]
    reason: str
    facts: Facts


def decide(store: TrajectoryStore, roles: Collection[str] = ("policy", "values")) -> Decision:
    """Return what draws from a store, for an agent whose terms are of these roles."""
    facts = facts_of(store)
    grouped = facts.gap >= GAP and facts.upper >= GOOD
    if why := says_nothing(facts) or ("" if grouped else against(facts)):
        return Decision("uniform", {}, f"auto draws every step alike: {why}", facts)
    law, options = ("quality", UPPER) if grouped else ("weighted", {})
    what, found = (of_groups if grouped else by_return)(facts)
    if set(roles) >= BOTH:
        late = f"the policy's steps {what} from {NARROW_AT:.0%} of the run on, the values' alike"
        own = {f"policy.{name}": value for name, value in options.items()}
        name = f"policy={law} values=uniform"
        return Decision(name, {"narrow_at": NARROW_AT, **own}, f"auto draws {late}: {found}", facts)
    if set(roles) == {"policy"}:
        return Decision(law, dict(options), f"auto draws {what}: {found}, and the agent has no values", facts)
    return Decision(
        "uniform", {}, "auto draws every step alike: the agent takes no draw of its policy", facts
    )


def of_groups(facts: Facts) -> tuple[str, str]:
    """Say from where is drawn where there are two groups, and why."""
    return "from the better episodes", (
        f"by the rewards ahead of their steps episodes are of two groups, {facts.gap:.1f} deviations apart, "
        f"and {facts.upper:.0%} of the steps are in the better one"
    )


def by_return(facts: Facts) -> tuple[str, str]:
    """Say from where is drawn where there are no groups, and why."""
    return "by return", (
        f"drawing by return would add {facts.gain:.0%} of the range of returns, and {facts.good:.0%} of the "
        "steps lie in its better half"
    )


def facts_of(store: TrajectoryStore) -> Facts:
    """Return the facts of a store's live episodes."""
    ids = store.live
    returns = returns_of(store, ids)
    values = min(3, len(np.unique(returns)))
    rewards = different_rewards(store, ids)
    if len(ids) < FEWEST or min(values, rewards) < 3:
        return Facts(len(ids), values, rewards, *[float("nan")] * 4)
    predicted = start_values(first_observations(store, ids), returns) if store.obs_dim else returns.mean()
    x = minmax(returns - predicted)  # (n,)
    steps = store.table.length[ids].astype(np.float64)
    tilted = steps * np.exp(x / TEMPERATURE)
    p, q = steps / steps.sum(), tilted / tilted.sum()
    merit = merits(store)[ids]  # (n,)
    limit, gap = split(merit, steps)
    upper = float(p[merit > limit].sum())
    return Facts(
        len(ids), values, rewards, gap, upper, float((q - p) @ x), float(p[x > 0.5].sum())
    )  # fmt: skip


def different_rewards(store: TrajectoryStore, ids: np.ndarray) -> int:
    """Return how many different rewards the steps of episodes (n,) have, counted to three."""
    found = np.zeros(0)
    for _, rows, _ in step_rows(store, ids):
        found = np.union1d(found, store.rewards.rows(rows))
        if len(found) > 2:
            return 3
    return len(found)


def says_nothing(facts: Facts) -> str:
    """Return why rewards cannot say which episodes are better; nothing where they can."""
    if facts.episodes < FEWEST:
        return f"{facts.episodes} episodes are too few to tell good ones by"
    if facts.values < 3:
        many = "all returns are the same" if facts.values == 1 else "returns take two values"
        return f"{many}, and {COST}"
    if facts.rewards < 3:
        many = "all rewards are the same" if facts.rewards == 1 else "rewards take two values"
        return f"{many}, and {COST}"
    return ""


def against(facts: Facts) -> str:
    """Return why every step should be drawn alike; nothing where by return is better."""
    if facts.gain < GAIN:
        return f"drawing by return would add {facts.gain:.0%} of the range of returns, less than {GAIN:.0%}"
    if facts.good < GOOD:
        return f"{facts.good:.1%} of the steps lie in the better half of the returns, less than {GOOD:.0%}"
    return ""
