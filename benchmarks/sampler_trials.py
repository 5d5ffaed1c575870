"""The runs of the table that decides among samplers, as data: all under three agents on every mixture.

Agents, presets and lengths are those of the gauntlet (gauntlet_trials.py): `trajectory_ql` with `standard`
and 50,000 updates, `td3_bc` and `iql` with `paper` and 100,000.  What `auto` decides by was tuned on
X-medium-expert and X-expert25, which are left out; seeds 1, 2 and 3 judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import evidence_trials
import gauntlet_trials
from evidence_data import MAZE, ROBOTS, TOY
from evidence_trials import Trial
from gauntlet_trials import FLAGSHIP, SEEDS

TABLE = "samplers"
UNDER = "under"  # between the sampler and the agent in the name of a cell
AGENTS = (FLAGSHIP, "td3_bc", "iql")
LATE = "policy=weighted values=uniform"  # the policy's draw by return from half of the run on
SAMPLERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # what draws, and what is set of it
    "uniform": (("uniform",), ()),
    "auto": (("auto",), ()),
    LATE: (tuple(LATE.split()), ("sampler.narrow_at=0.5",)),
    "weighted": (("weighted",), ()),
    "cluster": (("cluster",), ()),
    "cluster*priority": (("cluster*priority",), ()),
}
RANDOM = tuple(f"{robot}-expert5" for robot in ROBOTS)  # mostly random, a twentieth expert
MIXTURES = (  # in the order in which they are done
    *RANDOM, *(f"{robot}-expert10" for robot in ROBOTS), *(f"{robot}-medium" for robot in ROBOTS),
    TOY, MAZE, "cube-single-oracle",
)  # fmt: skip


def trials() -> Iterator[Trial]:
    """Yield the runs, all samplers of an agent on a mixture before the next: a comparison is early whole."""
    for agent in AGENTS:
        for data in MIXTURES:
            for name in SAMPLERS:
                yield from (trial(data, agent, name, seed) for seed in SEEDS)


def trial(data: str, agent: str, name: str, seed: int) -> Trial:
    """Return one run."""
    words, settings = SAMPLERS[name]
    found = gauntlet_trials.trial(data, agent, seed, *words)
    cell = f"{name} {UNDER} {agent}"
    return replace(found, table=TABLE, cell=cell, settings=(*found.settings, *settings))


def every_trial() -> Iterator[Trial]:
    """Yield the runs of all tables of the evidence."""
    yield from evidence_trials.trials()
    yield from trials()
