"""Policy: acts in n environments at once and in their own units, keeping each one's history and chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from trajrl.agents.base.protocol import Agent
from trajrl.core.one_line import one_line
from trajrl.core.rng import torch_stream
from trajrl.rollout.collector import Queues
from trajrl.store.action_box import ActionBox
from trajrl.store.images import STATE, Seen
from trajrl.store.notes import counted


class Policy:
    """Acts in n environments at once, as evaluation does, and in their own units.

    `action_box` is what the agent's [-1, 1] stands for; without one (no data or environment of the run named
    a box) actions stay in [-1, 1].
    """

    def __init__(self, agent: Agent, seed: int = 0, action_box: ActionBox | None = None) -> None:
        self.agent, self.seed, self.action_box = agent, seed, action_box
        self.episodes = 0  # started so far: each has its own stream of noise
        self._queues: Queues | None = None

    def __repr__(self) -> str:
        """Return whose policy it is, and the units of its actions."""
        units = f"actions in {self.action_box}" if self.action_box else "actions in [-1, 1]"
        return one_line(self, repr(self.agent), units)

    def reset(self, n: int = 1) -> None:
        """Start an episode in n environments, stepped together.

        Args:
            n: number of environments, not a seed.
        """
        if n < 1:
            raise ValueError(f"reset(n) takes the number of environments, 1 or more, and no seed; got {n}")
        self._queues = Queues(self.agent, n)
        self._rng = [torch_stream(self.seed, "policy", self.episodes + i) for i in range(n)]
        self.episodes += n

    def act(self, obs: Seen) -> np.ndarray:
        """Return the next action of every environment: (n, obs) -> (n, act), or (obs,) -> (act,).

        The action is in the environment's own units, within `action_box`: give it to env.step as it is.
        Where the policy sees images, `obs` is a dictionary of them, (n, height, width, channels) or one
        each, with the vector as `state` where it sees one.
        """
        one, rows = in_rows(obs)
        if self._queues is None:
            self.reset(len(rows))
        assert self._queues is not None
        if len(rows) != (count := self._queues.num_envs):
            raise ValueError(
                f"act(obs) takes one observation for each of {counted('environment[s]', count)}, as "
                f"reset({count}) began them; got {len(rows)}"
            )
        with torch.no_grad():
            actions = self._queues.act(rows, self._rng)
        actions = self.action_box.from_unit(actions) if self.action_box else actions
        return actions[0] if one else actions


def in_rows(obs: Seen) -> tuple[bool, Sequence[Seen]]:
    """Return whether it is one environment's observation, and the observations row by row."""
    if not isinstance(obs, Mapping):
        return obs.ndim == 1, list(np.atleast_2d(np.asarray(obs, np.float32)))
    one = any(np.ndim(part) == (1 if name == STATE else 3) for name, part in obs.items())
    parts = {name: np.asarray(part)[None] if one else np.asarray(part) for name, part in obs.items()}
    count = len(next(iter(parts.values())))
    return one, [{name: part[row] for name, part in parts.items()} for row in range(count)]
