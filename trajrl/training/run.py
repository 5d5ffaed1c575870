"""Run: what the loop works on; all that must survive a restart is a field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.agents.base.protocol import Agent
from trajrl.core.distributed import Team
from trajrl.envs.base.protocol import EnvSuite
from trajrl.samplers.base.protocol import Sampler
from trajrl.store.store import TrajectoryStore
from trajrl.training.action_units import ActionUnits
from trajrl.training.config import RunConfig
from trajrl.training.evaluators import Evaluators
from trajrl.training.online import Online
from trajrl.training.pending_updates import PendingUpdates
from trajrl.training.progress import Progress
from trajrl.training.rank_check import RankCheck
from trajrl.training.read_ahead import UpdatesAhead
from trajrl.training.run_dir.episode_stats import EpisodeStats
from trajrl.training.run_dir.evaluations import Evaluations
from trajrl.training.run_dir.logger import Logger
from trajrl.training.validation import Validation


@dataclass
class Run:
    """Everything that must survive a restart is a field here, or can be made again from the config."""

    config: RunConfig
    folder: Path
    store: TrajectoryStore
    agent: Agent
    sampler: Sampler
    episode_stats: EpisodeStats
    logger: Logger
    suite: EnvSuite | None  # None: no environment to evaluate in
    evaluations: Evaluations
    units: ActionUnits  # of the recorded actions, and of those that the policy takes
    held_out: np.ndarray  # (m,) ids of the episodes that are never learned from
    validation: Validation | None  # measures the agent on them; None: there are none
    progress: Progress
    arithmetic: dict[str, str] = field(default_factory=dict)  # how it computes where not by default
    step: int = 0
    seconds: float = 0.0  # of training, evaluations included, over all restarts
    stop_reason: str = ""
    interrupted: bool = field(default=False, repr=False)
    online: Online | None = None
    evaluators: Evaluators | None = field(default=None, repr=False)  # evaluate beside the training
    view: Callable[[Run, bool], None] | None = None  # shows the run after an evaluation; True: the last one
    pool: Callable[..., list[dict[str, Any]]] | None = None  # evaluates it together with others; None: alone
    team: Team = field(default_factory=Team)
    pending: PendingUpdates = field(default_factory=PendingUpdates, repr=False)
    rank_check: RankCheck = field(init=False, repr=False)
    ahead: UpdatesAhead = field(init=False, repr=False)  # reads ahead of a store that lies elsewhere

    def __post_init__(self) -> None:
        self.rank_check = RankCheck(self.team, self.store)
        self.ahead = UpdatesAhead(self.store, self.agent, self.config)

    def advance(self, step: int) -> None:
        """Note that the agent has made `step` updates."""
        self.step = step

    def stop(self, reason: str) -> None:
        """End the run after the step under way, because of `reason`; an empty one lets it continue."""
        self.stop_reason = reason

    def interrupt(self) -> None:
        """End the run after the step under way, with a checkpoint, as Ctrl-C asks."""
        self.interrupted = True

    def show_with(self, view: Callable[[Run, bool], None]) -> None:
        """Call `view` after every evaluation; it receives whether that was the last."""
        self.view = view

    def evaluate_in(self, pool: Callable[..., list[dict[str, Any]]]) -> None:
        """Let `pool` run the episodes of evaluations, together with those of other runs."""
        self.pool = pool

    @property
    def clock(self) -> int:
        """Return what logs, evaluations and checkpoints are counted by: updates, online environment steps."""
        return self.online.collector.env_step if self.online else self.step

    @property
    def updates(self) -> int:
        """Return the updates of this phase."""
        return self.online.updates if self.online else self.step

    @property
    def active_sampler(self) -> Sampler:
        """Return the sampler that draws now."""
        warming_up = self.clock < self.config.warmup_steps
        return self.online.warmup_sampler if self.online and warming_up else self.sampler
