"""RunConfig: every choice of a run, resolved once before a file or a device is touched.

    defaults  <-  preset of the run  <-  preset of the agent  <-  config file  <-  options  <-  --set

config.json in a run directory is a resolved config; `--config FILE` runs it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

from trajrl.agents import DEFAULT_AGENT
from trajrl.core import old_names
from trajrl.core.atomic_files import write_text
from trajrl.core.compile import MODES
from trajrl.core.json_file import parse_object, read_bytes, require_finite
from trajrl.core.paths import DEMO_STORE
from trajrl.core.products import KINDS
from trajrl.core.registry import unknown
from trajrl.store.goals import GoalLaw
from trajrl.store.normalize import REWARD_TRANSFORMS
from trajrl.training.action_units import ANSWERS
from trajrl.training.ope.criteria import CRITERIA
from trajrl.training.run_dir.mark import mark_run, require_known
from trajrl.training.run_dir.moved import at_hand
from trajrl.training.settings import convert, kind_of

NO_DATA = "none"  # of a run made from weights alone
NO_GOALS = "no"
GOALS = (NO_GOALS, "hindsight")


@dataclass(frozen=True)
class RunConfig:
    """What a run is made of; every field is a plain value and ends up in config.json."""

    phase: str = "offline"  # offline or online
    preset: str = "standard"  # settings that the run starts from; `list presets` names them
    data: str = str(
        DEMO_STORE
    )  # a store file, a file or folder of a known format, or a name that resolves to one
    format: str = "auto"  # format of foreign data
    obs_keys: str = ""  # of observations with images, by commas: state (the vector), and images; empty: all
    env: str = ""  # suite:name, a Gymnasium id or package.module:callable; empty: the data's; none
    agent: str = DEFAULT_AGENT  # the algorithm; `list agents` names them
    sampler: str = "uniform"  # a name, names joined by * for a product, or policy=NAME values=NAME
    metric: str = ""  # what the priority sampler ranks trajectories by; empty: its default
    seed: int = 0  # of every random stream
    steps: int = 1_000_000  # gradient steps of the offline phase
    batch_size: int = 256  # windows per update; raising it: smoother gradients, slower updates
    log_every: int = 1_000  # steps between rows of metrics.csv; presets give short runs twenty rows
    eval_every: int = 50_000  # steps between evaluations; 0: only at the end
    first_eval: int = 0  # one early evaluation at this step; 0: none
    eval_episodes: int = 10  # of each evaluation; raising it: narrower intervals, slower evaluations
    last_eval_episodes: int = 0  # episodes of the last evaluation; 0: as the others
    eval_envs: int = 10  # environments stepped together in an evaluation; changes speed, never results
    eval_async: bool = False  # True: evaluate in processes beside the training, which does not wait
    eval_workers: int = 1  # of those processes; raising it: evaluations that are due together end sooner
    video_every: int = 5  # evaluations from one filmed for TensorBoard to the next, and the last; 0: none
    checkpoint_every: int = (
        5_000  # steps between checkpoints; at most this much work is done again after a kill
    )
    select_rank: int = 0  # offline selection takes the k-th smallest behaviour-cloning loss, counted from 0
    select_by: str = ""  # at the run's end rank what it kept by this, as `select --by`; empty: by that loss
    early_stop: float = 0.0  # stop when a policy is worse by more than this than the one before; 0: never
    early_stop_by: str = "bc_loss"  # in what: that loss, or as `select --by` on the last two policies
    holdout: float = 0.0  # share of the episodes never learned from, to measure on; raising it: less data
    holdout_min_episodes: int = 0  # of the data; where there are fewer, none is held out
    distil: int = 0  # updates of a one-step student of the final policy; raising it: closer to it.  0: none
    distil_lr: float = 1e-3  # its learning rate, which falls as a cosine; raising it: faster and rougher
    reward: str = "no"  # reward transform for learning
    actions: str = "as_found"  # units of the recorded: as_found, clip, scale, scaled or rescale
    after_success: str = "keep"  # past a solved step: keep, it takes the bootstrap; or cut there
    goals: str = "no"  # hindsight: learn to reach any state of the data, seen beside the state
    memory: str = "auto"  # the store in memory: ram, map or auto by size
    device: str = "auto"  # where to learn: auto takes the GPU where there is one, cpu, cuda or cuda:1
    dtype: str = "float32"  # bfloat16: autocast of the update, weights stay float32
    matmul: str = "exact"  # fast: factors of float32 products are rounded, on a GPU to TF32
    kernels: str = "torch"  # compiled: networks on a CPU by C kernels, of other last bits; auto: the faster
    compile: str = "off"  # torch.compile of the losses: off, default, reduce-overhead or max-autotune
    graph: bool = False  # True: on a CUDA device a whole update is recorded once and replayed
    wandb: bool = False  # also log to Weights & Biases, offline unless WANDB_MODE says otherwise
    mlflow: bool = False  # also log to MLflow, at MLFLOW_TRACKING_URI or in its own local files
    threads: int = (
        0  # torch's own; 0: OMP_NUM_THREADS, else one; -1: as many as are fastest, timed at the start
    )
    agent_options: dict[str, Any] = field(default_factory=dict)  # every field of the agent's Config
    env_options: dict[str, Any] = field(default_factory=dict)  # what is done to the environment: EnvOptions
    sampler_options: dict[str, Any] = field(default_factory=dict)  # of the sampler's Config
    goals_options: dict[str, Any] = field(default_factory=dict)  # which goals: GoalLaw

    # The online phase.  There, the steps between logs, evaluations and checkpoints are the environment's.
    from_run: str = ""  # the offline run that it continues from
    first_step: int = 0  # updates that run had made
    env_steps: int = 1_000_000  # environment steps, all environments together
    utd: float = 1.0  # updates per environment step; raising it: more from each step, slower, less stable
    envs: int = 1  # environments stepped together; raising it: faster, learning from slightly older policies
    learning_starts: int = 5_000  # environment steps before the first update; raising it: a calmer start
    begin_with: str = "policy"  # who acts until then: the offline policy, or random actions
    warmup_steps: int = 20_000  # environment steps until `sampler` takes over from `warmup_sampler`
    warmup_sampler: str = "uniform"  # what draws until then
    buffer: int = 0  # steps that may be drawn, the oldest episodes give way; 0: all.  raising it: older data
    critic_warmup: int = 0  # updates over which the critics' learning rates rise; raising it: a calmer start
    explore_noise: float = 0.0  # deviation of noise added to actions while collecting; raising it: bolder
    offline_mode: str = "keep"  # offline data: keep in one pool, mix or anneal by fraction, or drop
    offline_fraction: float = 0.5  # of every batch that is offline, under mix and at the start of anneal
    offline_fraction_end: float = 0.0  # where anneal ends
    anneal_steps: int = 0  # updates that anneal takes; 0: those of the whole phase
    offline_sampler: str = "cluster"  # what draws the offline share under mix and anneal
    offline_sampler_options: dict[str, Any] = field(default_factory=dict)  # of that sampler's Config
    env_timeout: float = (
        0.0  # seconds until a silent environment counts as hung, each in a process of its own; 0: no
    )
    max_failures: int = 10  # environments that crash or hang until the run stops

    def validate(self) -> None:
        """Check the values that need no file and no device."""
        choices = {
            "phase": ("offline", "online"),
            "actions": ANSWERS, "after_success": ("keep", "cut"), "goals": GOALS,
            "begin_with": ("policy", "random"), "offline_mode": ("keep", "mix", "anneal", "drop"),
            "memory": ("auto", "ram", "map"), "dtype": ("float32", "bfloat16"), "compile": MODES,
            "matmul": KINDS, "kernels": ("torch", "compiled", "auto"),
            "reward": tuple(REWARD_TRANSFORMS), "early_stop_by": tuple(CRITERIA),
            "select_by": ("", *CRITERIA),
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(unknown(f"value of {name}", str(getattr(self, name)), allowed))
        if self.graph and self.compile in ("reduce-overhead", "max-autotune"):
            raise ValueError(
                f"graph=true records a whole update, and compile={self.compile} records parts of it: give one"
            )
        if self.eval_async and self.online:
            raise ValueError(
                "eval_async serves the offline phase: online the log holds what evaluations found so far"
            )
        if self.goals != NO_GOALS:
            self._check_goals()
        self._check_numbers()

    def _check_goals(self) -> None:
        """Refuse what a law of goals has no room for: it makes the rewards itself, of recorded steps."""
        if self.online:
            raise ValueError(f"goals={self.goals} is of the offline phase; online a single task is learned")
        if self.reward != "no" or self.env_options.get("reward_shift"):
            raise ValueError(
                f"goals={self.goals} has rewards of its own, -1 until the goal: leave --reward and "
                "reward_shift out"
            )
        GoalLaw(**self.goals_options)

    def _check_numbers(self) -> None:
        """Check that counts, shares and spans are such."""
        for name, value in vars(self).items():
            if isinstance(value, float) and not isfinite(value):
                raise ValueError(f"{name} must be a finite number; got {value}")
        for name in (
            "steps", "batch_size", "log_every", "eval_episodes", "eval_envs", "checkpoint_every", "env_steps",
            "envs", "max_failures", "eval_workers",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        for name in (
            "seed", "eval_every", "first_eval", "last_eval_episodes", "select_rank", "learning_starts",
            "early_stop", "first_step", "warmup_steps", "explore_noise", "anneal_steps", "env_timeout",
            "video_every", "buffer", "critic_warmup", "holdout_min_episodes", "distil",
        ):  # fmt: skip
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}")
        for name in ("utd", "distil_lr"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0; got {getattr(self, name)}")
        if not 0 <= self.holdout < 1:
            raise ValueError(
                f"--holdout is a share of the episodes, 0 or more and below 1; got {self.holdout}"
            )
        for name in ("offline_fraction", "offline_fraction_end"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1; got {getattr(self, name)}")

    def save(self, path: Path) -> None:
        """Write the config as JSON."""
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")
        mark_run(path, self)

    @property
    def online(self) -> bool:
        """Say whether this is the online phase."""
        return self.phase == "online"

    @property
    def end(self) -> int:
        """Return where the run ends, in the steps that its phase is counted in."""
        return self.env_steps if self.online else self.steps

    @classmethod
    def load(cls, path: Path, trust: bool = False) -> RunConfig:
        """Read a config written by `save`; unknown fields fail with the nearest one, moved data is found.

        Args:
            trust: let a config that was written elsewhere name modules to import and call
        """
        try:
            content = read_bytes(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{path}: no such config file") from error
        found = old_names.options(parse_object(path, content))
        if isinstance(around := found.get("env_options"), dict):
            found["env_options"] = old_names.options(around)
        if isinstance(own := found.get("agent_options"), dict):
            found["agent_options"] = old_names.of_agent(str(found.get("agent")), own)
        try:
            config = merge(cls(), found)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        require_known(path, content, config, trust)
        return at_hand(config, path.parent)


FIELDS = [field.name for field in fields(RunConfig)]
ONLINE_FIELDS = frozenset(FIELDS[FIELDS.index("from_run") :])  # what the offline phase does not read


def merge(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """Return the config with fields replaced; values are read by the type of the field they replace."""
    known = {f.name: getattr(config, f.name) for f in fields(RunConfig)}
    for name, value in changes.items():
        if name not in known:
            raise ValueError(unknown("config field", name, known))
        if value is None:
            raise ValueError(f"{name} takes {kind_of(known[name])}; got null")
        if name.endswith("_options"):
            require_finite(name.removesuffix("_options"), value)
    return replace(config, **{name: convert(name, value, known[name]) for name, value in changes.items()})
