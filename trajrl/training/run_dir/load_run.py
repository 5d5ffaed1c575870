"""load_run: a run's policy, without its data and its training loop.

policy = load_run("runs/x").policy()
policy.reset(n)                   # n environments start an episode
actions = policy.act(obs)         # (n, obs) -> (n, act) in the environment's own units

The policy keeps each environment's history and chunk (policy.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.agents import make_agent
from trajrl.agents.base.learner import Learner
from trajrl.agents.base.proposer import ChainAgent, no_history
from trajrl.agents.base.protocol import Agent
from trajrl.core.json_file import as_written, read_object
from trajrl.core.one_line import one_line
from trajrl.core.rng import torch_stream
from trajrl.core.trust import is_call, require_read
from trajrl.envs import ENVS, NO_ENVIRONMENT, make_suite
from trajrl.nets.one_step import OneStep
from trajrl.store.action_box import ActionBox, recorded_box
from trajrl.store.images import Shapes, described, keys_of
from trajrl.training.config import RunConfig
from trajrl.training.run_dir import checkpoint, distilled
from trajrl.training.run_dir.policy import Policy
from trajrl.training.run_dir.selection import selected_step
from trajrl.training.weights_meaning import check_meaning

if TYPE_CHECKING:
    from trajrl.envs.base.suite import Suite


@dataclass(frozen=True)
class LoadedRun:
    """A run directory: its config and the policies kept in it."""

    folder: Path
    config: RunConfig
    trust: bool = False  # the environment that a kept policy names may be called, whoever wrote it

    def __repr__(self) -> str:
        """Return where it is, what learned there and how, and how far the last policy kept had come."""
        kept = checkpoint.policy_steps(self.folder / "checkpoints")
        how = f"{self.config.agent}, {self.config.phase}, sampler {self.config.sampler}"
        return one_line(self, str(self.folder), how, f"step {kept[-1]:,}" if kept else "no policy yet")

    def agent(self, which: str = "last", device: str = "cpu", **options: Any) -> Agent:
        """Build the agent with the weights of `which`: last, best, selected, distilled, or a kept step.

        Args:
            options: fields of the agent's config that act otherwise than the run's, such as candidates
        """
        check_meaning(self.config, options, self.folder)
        step = self.step(which)
        light, facts = checkpoint.policy_state(self.folder / "checkpoints", step)
        size, shown = self._facts(facts, step)[:2], self._images(facts, step)
        statistics = {
            "obs_mean": np.zeros(size[0]),
            "obs_std": np.ones(size[0]),
        }  # the saved ones replace them
        with as_written(self.folder / "config.json"):
            agent = make_agent(
                self.config.agent, *size, device=device, seed=self.config.seed, statistics=statistics,
                images=shown, **{**self.config.agent_options, **options},
            )  # fmt: skip
        try:
            agent.load_state_dict({**agent.state_dict(), **light})
        except (RuntimeError, ValueError) as error:
            if not options:
                raise ValueError(f"{self.folder}: {' '.join(str(error).split())[:400]}") from error
            names = ", ".join(f"agent.{name}" for name in options)
            raise ValueError(
                f"{self.folder} has other networks than {names} would make; change what only acts, such as "
                "agent.candidates"
            ) from error
        return self._with_student(agent, step) if which == distilled.NAME else agent

    def _with_student(self, agent: Agent, step: int) -> Agent:
        """Let the one-step student of a policy propose its actions."""
        assert isinstance(agent, Learner)
        assert isinstance(agent, ChainAgent)
        chain = agent.acting_chain(no_history(agent))[0]
        student = agent.part("student", OneStep(chain, torch_stream(self.config.seed, "distil/init")))
        folder = self.folder / "checkpoints"
        with as_written(distilled.place(folder, step)):
            student.load_state_dict(distilled.load(folder, step)[0])
        agent.act_by(student)
        return agent

    def environment(self, which: str = "last") -> str:
        """Return the environment the run evaluates in; empty if it has none."""
        return self._kept(which)[2]

    def sizes(self) -> tuple[int, int]:
        """Return how many numbers the last policy sees, and how many it gives."""
        return self._kept("last")[:2]

    def action_box(self, which: str = "last") -> ActionBox | None:
        """Return the box that [-1, 1] stands for where the policy acts; None: the run's data named none."""
        step = self.step(which)
        facts = checkpoint.policy_state(self.folder / "checkpoints", step)[1]
        _, action_dim, _ = self._facts(facts, step)
        with as_written(self.folder / "checkpoints" / f"policy-{step:09d}" / "facts.json"):
            return recorded_box(facts, action_dim)

    def kept_action_box(self) -> ActionBox | None:
        """Return the action box of the last policy; None also where no policy is kept yet."""
        return self.action_box() if checkpoint.policy_steps(self.folder / "checkpoints") else None

    def vetted_environment(self, which: str = "last", env: str = "") -> str:
        """Return the environment the run evaluates in, or `env`; refuse what it would call unvouched for."""
        own = self.environment(which)
        if env == NO_ENVIRONMENT:
            raise ValueError("a policy is evaluated in an environment, and --env none gives none")
        if not (env or own):
            raise ValueError(f"{self.folder} was trained without an environment; give --env")
        if is_call(env or own, ENVS) and not self.trust:
            self._require_known(env, own, self._env_options(own, env).get("arguments"))
        return env or own

    def suite(self, which: str = "last", env: str = "", **options: Any) -> Suite:
        """Return the environment the run evaluates in, or another one; `options` win over the run's own."""
        name = self.vetted_environment(which, env)
        obs_dim, action_dim, own = self._kept(which)
        shown = self._shown(which)
        keys = {"obs_keys": keys_of(obs_dim, shown)} if shown or self.config.obs_keys else {}
        suite = make_suite(name, **{**self._env_options(own, env), "env_timeout": 0.0, **keys, **options})
        require_fit(str(self.folder), (obs_dim, action_dim), suite, shown)
        require_box(str(self.folder), self.action_box(which), suite)
        return suite

    def sight(self, env: str, which: str = "last") -> dict[str, Any]:
        """Return the options under which `env` shows what a policy of images or of their features sees.

        They are those of the run's own environment, and none for a policy that sees vectors as they are.
        """
        obs_dim, _, own = self._kept(which)
        shown, around = self._shown(which), self._env_options(own, env)
        if shown:
            return {**around, "obs_keys": keys_of(obs_dim, shown)}
        return around if around.get("embed") else {}

    def _shown(self, which: str) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the images that a kept policy sees."""
        step = self.step(which)
        return self._images(checkpoint.policy_state(self.folder / "checkpoints", step)[1], step)

    def _env_options(self, own: str, env: str) -> dict[str, Any]:
        """Return the options of the run's own environment, which another one does not take."""
        return self.config.env_options if env in ("", own) else {}

    def _kept(self, which: str) -> tuple[int, int, str]:
        """Return the sizes and the environment of a kept policy."""
        step = self.step(which)
        return self._facts(checkpoint.policy_state(self.folder / "checkpoints", step)[1], step)

    def _facts(self, facts: dict[str, Any], step: int) -> tuple[int, int, str]:
        """Read what stands beside a kept policy."""
        with as_written(self.folder / "checkpoints" / f"policy-{step:09d}" / "facts.json"):
            return int(facts["obs_dim"]), int(facts["action_dim"]), str(facts["environment"])

    def _images(self, facts: dict[str, Any], step: int) -> dict[str, tuple[int, ...]]:
        """Read the shapes of the images that a kept policy sees."""
        with as_written(self.folder / "checkpoints" / f"policy-{step:09d}" / "facts.json"):
            return {str(name): tuple(map(int, shape)) for name, shape in facts.get("images", {}).items()}

    def _require_known(self, env: str, own: str, arguments: Any) -> None:
        """Refuse to call what a policy kept here names, or to give it arguments, where nobody vouches."""
        place = f"a policy kept in {self.folder}"
        if not env:
            require_read(own, "environment", place)
        if arguments:
            require_read(f"{env or own} with {arguments}", "environment", place)

    def step(self, which: str) -> int:
        """Return the step of a kept policy."""
        kept = checkpoint.policy_steps(self.folder / "checkpoints")
        if not kept:
            raise ValueError(f"{self.folder} holds no evaluated policy yet; it keeps one at every evaluation")
        if which == "last":
            return kept[-1]
        if which.isdigit():
            if int(which) not in kept:
                raise ValueError(
                    f"{self.folder} keeps no policy of step {which}; it keeps {', '.join(map(str, kept))}"
                )
            return int(which)
        if which == distilled.NAME:
            return self._distilled_step()
        if which not in ("best", "selected"):
            raise ValueError(f"a checkpoint is last, best, selected, distilled or a step; got '{which}'")
        if which == "selected" and (chosen := selected_step(self.folder)) is not None:
            return chosen
        path = self.folder / "summary.json"
        with as_written(path):
            summary = read_object(path) if path.exists() else {}
            if summary.get("scores") and summary["scores"][which]:
                return int(summary["scores"][which]["step"])
            if which == "selected" and summary.get("selected_step") is not None:
                return int(summary["selected_step"])  # trained without an environment
        raise ValueError(
            f"{self.folder} has no '{which}' yet: it is known once a run with evaluations has finished"
            + ("; `select` ranks what is kept now" if which == "selected" else "")
        )

    @property
    def has_student(self) -> bool:
        """Say whether the last policy of the run has a one-step student."""
        return distilled.place(self.folder / "checkpoints", self.step("last")).exists()

    def _distilled_step(self) -> int:
        """Return the step of the last policy that has a one-step student."""
        if found := distilled.steps(self.folder / "checkpoints"):
            return found[-1]
        raise ValueError(
            f"{self.folder} has no one-step student; `offline --resume --out {self.folder} --distil N` makes "
            "one when the run has ended"
        )

    def policy(self, which: str = "last", seed: int = 0, device: str = "cpu") -> Policy:
        """Return the policy, ready to act in the environment's own units, those of the recorded actions."""
        return Policy(self.agent(which, device), seed, self.action_box(which))


def require_fit(name: str, takes: tuple[int, int], suite: Suite, images: Shapes | None = None) -> None:
    """Refuse a policy that takes other observations or actions than an environment has."""
    needs = suite.obs_dim, suite.action_dim
    if dict(images or {}) != suite.images:
        sees, shows = described(takes[0], images or {}), described(needs[0], suite.images)
        raise ValueError(f"{name} sees {sees}; {suite.name} shows {shows}")
    if takes != needs:
        raise ValueError(f"{name} acts on (obs, act) of {takes} numbers; {suite.name} has {needs}")


def require_box(name: str, box: ActionBox | None, suite: Suite) -> None:
    """Refuse a policy that was trained for another action box than an environment has."""
    if box is not None and not box.same_as(suite.action_box):
        raise ValueError(
            f"{name} was trained for actions in {box}, and {suite.name} takes {suite.action_box}: its "
            "actions would mean something else there"
        )


def load_run(folder: str | Path, trust: bool = False) -> LoadedRun:
    """Open a run directory.

    Args:
        trust: let a run that was made elsewhere name modules to import and call; see docs/security.md
    """
    if not (Path(folder) / "config.json").exists():
        raise FileNotFoundError(f"{folder} is not a run directory: it has no config.json")
    folder = Path(folder).absolute()  # an environment may change the working folder
    return LoadedRun(folder, RunConfig.load(folder / "config.json", trust), trust)
