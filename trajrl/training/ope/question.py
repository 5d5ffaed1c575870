"""What is asked of kept policies: which ones, on which data, at which discount, over which episodes.

The data is opened as training opened it, with rewards as the environment gives them where values are compared
with returns.  An environment that is not installed here is done without: rewards are then as recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from trajrl.core.console import say
from trajrl.core.source_place import short
from trajrl.envs import NO_ENVIRONMENT
from trajrl.envs.base.protocol import NoEnvironmentError
from trajrl.store.journal import NAME, replay
from trajrl.store.places import named
from trajrl.training.action_units import trained_units
from trajrl.training.data import find_suite, open_data, shape
from trajrl.training.goals import seen_dim
from trajrl.training.holdout import held_out
from trajrl.training.ope import fqe
from trajrl.training.run_dir.folder import known_versions

if TYPE_CHECKING:
    from trajrl.agents.base.protocol import Agent
    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.store.store import TrajectoryStore
    from trajrl.training.config import RunConfig
    from trajrl.training.run_dir.load_run import LoadedRun

GAMMA = 0.99  # where runs name no discount, or several
EPISODES = ("auto", "held", "all")


class Kept(NamedTuple):
    """A policy that a run keeps."""

    run: LoadedRun
    step: int

    def agent(self) -> Agent:
        """Build the agent with its weights."""
        return self.run.agent(str(self.step))

    def __str__(self) -> str:
        return f"{short(self.run.folder)} at step {self.step}"


@dataclass(frozen=True)
class Question:
    """How policies are judged."""

    data: str = ""  # data to judge on; empty: the runs' own
    on: str = "auto"  # episodes of td, bc_loss: held, all, or auto: held where there are any
    gamma: float | None = None  # discount per step; None: the runs' own
    horizon: int = 0  # of fitted values, see windows
    most: int = 20_000  # steps that values are fitted to
    seed: int = 0
    caution: float = 1.0  # of cautious_fqe: the price of leaving the data's actions, see fqe
    fitting: fqe.Config = field(default_factory=fqe.Config)

    def validate(self) -> None:
        """Check what can be checked without files."""
        if self.on not in EPISODES:
            raise ValueError(f"episodes are {', '.join(EPISODES)}; got '{self.on}'")
        if self.gamma is not None and not 0 <= self.gamma <= 1:
            raise ValueError(f"--gamma is between 0 and 1; got {self.gamma}")
        if self.horizon < 0 or self.most < 1:
            raise ValueError("--horizon must not be negative, and there is at least one step to fit to")
        if not 0 <= self.caution < float("inf"):
            raise ValueError(f"--caution is a number of at least 0; got {self.caution}")
        replace(self.fitting, caution=self.caution).validate()


class Judged(NamedTuple):
    """The data that policies are judged on."""

    store: TrajectoryStore
    held: np.ndarray  # (m,) ids of episodes that the run never learned from
    all: np.ndarray  # (n,) ids of all episodes, these among them


def judged_data(run: LoadedRun, question: Question, shaped: bool = False) -> Judged:
    """Open the data of a run, and the episodes it collected.

    Args:
        shaped: rewards as the run's training saw them; else as the environment gives them
    """
    config = run.config if shaped else replace(run.config, reward="no")
    if question.data:
        config = replace(config, data=question.data)
    try:
        store = open_data(config)
    except FileNotFoundError as missing:
        if question.data:
            raise
        raise FileNotFoundError(
            f"{run.folder} learned from {config.data}, which is not there; select from the folder it was "
            "trained in, or give the data to judge on as --data"
        ) from missing
    if question.data:
        require_sizes(run, store, named(question.data))
    else:
        require_same_data(run, store)
    held = np.zeros(0, np.int64) if question.data else held_out(run.folder, store)
    units = trained_units(store, config.actions, run.kept_action_box())
    shape(store, config, suite_here(config, store), units)
    journal = run.folder / "journal" / NAME
    for episode, meta in replay(journal) if journal.exists() and not question.data else ():
        number = store.append(episode, "online")
        if meta.get("broken"):
            store.evict([number])
    return Judged(store, held, np.union1d(store.live, held))


def rewarded_data(run: LoadedRun, question: Question, by: str) -> Judged:
    """Open the data of a run with its rewards; those by which every policy earns the same are refused."""
    judged = judged_data(run, question)
    store, table = judged.store, judged.store.table
    first = float("nan")
    for start, count in zip(table.start[judged.all], table.length[judged.all]):
        rewards = store.shape_reward(torch.as_tensor(store.rewards.slice(int(start), int(start + count))))
        first = float(rewards[0]) if first != first else first
        if (rewards != first).any():
            return judged
    if first and table.terminated[judged.all].any():
        return judged  # how long episodes are tells policies apart
    forever = " and no episode terminates" if first else ""
    raise ValueError(
        f"all rewards of {named(question.data or run.config.data)} are {first:g}{forever}: by {by} there is "
        "nothing to tell policies apart, and none is selected; select --by bc_loss needs no rewards"
    )


def suite_here(config: RunConfig, store: TrajectoryStore) -> EnvSuite | None:
    """Return the run's environment, which may change rewards; None where there is none, or not here."""
    if config.env == NO_ENVIRONMENT:
        return None
    try:
        return find_suite(replace(config, phase="offline"), store)
    except NoEnvironmentError as missing:
        say(f"rewards are taken as recorded: {missing}")
        return None


def require_same_data(run: LoadedRun, store: TrajectoryStore) -> None:
    """Refuse data that changed since the run learned from it."""
    known = known_versions(run.folder).get("data_fingerprint")
    if known not in (None, store.fingerprint):
        raise ValueError(
            f"{run.config.data} is not the data that {run.folder} learned from (fingerprint "
            f"{store.fingerprint}, not {known}); give the data to judge on as --data"
        )


def require_sizes(run: LoadedRun, store: TrajectoryStore, name: str) -> None:
    """Refuse data of other observations or actions than those of a run's policies."""
    takes, has = run.sizes(), (seen_dim(run.config, store), store.action_dim)
    if takes != has:
        raise ValueError(f"{short(run.folder)} acts on (obs, act) of {takes} numbers; {name} has {has}")


def require_one_store(policies: Sequence[Kept], question: Question) -> None:
    """Refuse to compare, each on its own data, runs that learned from different data."""
    if question.data:
        return
    first = policies[0].run
    known = known_versions(first.folder).get("data_fingerprint")
    for run in runs_of(policies):
        found = known_versions(run.folder).get("data_fingerprint")
        if found != known:
            raise ValueError(
                f"{first.folder} and {run.folder} learned from different data (fingerprints {known} and "
                f"{found}): select among each by itself, or give the data to judge all on as --data"
            )


def runs_of(policies: Sequence[Kept]) -> list[LoadedRun]:
    """Return the runs of policies, each once."""
    return list({policy.run.folder: policy.run for policy in policies}.values())


def discount_of(policies: Sequence[Kept], question: Question) -> float:
    """Return the discount per step at which all policies are judged."""
    if question.gamma is not None:
        return question.gamma
    own = {run.config.agent_options.get("gamma") for run in runs_of(policies)}
    if len(own) == 1 and (found := next(iter(own))) is not None:
        return float(found)
    why = "several discounts" if len(own) > 1 else "no discount"
    say(f"the runs name {why}; values are discounted by {GAMMA:g} per step (--gamma)")
    return GAMMA


def measured_on(run: LoadedRun, judged: Judged, question: Question) -> np.ndarray:
    """Return the episodes (m,) that losses are measured on: held-out ones where there are any."""
    if question.on == "all":
        return judged.all
    if len(judged.held):
        return judged.held
    if question.on == "held":
        raise ValueError(
            f"{run.folder} has no held-out episodes: it learned from all; --on all measures on those"
        )
    if question.data:
        return judged.all
    say(f"{run.folder} held out no episode: measured on those that it learned from")
    return judged.all
