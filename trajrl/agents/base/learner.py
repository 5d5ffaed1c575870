"""Learner: what every agent has, above all named parts whose states together are the agent's state."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from trajrl.agents.base.images import Shapes, augmented
from trajrl.agents.base.protocol import Batches, History, Update, by_role, history_of, next_history_of
from trajrl.core.one_line import changed, one_line
from trajrl.core.rng import torch_stream
from trajrl.nets.normaliser import Normaliser
from trajrl.nets.optim import Optimiser
from trajrl.nets.targets import copy_of, ema_speed, masked_mean
from trajrl.store.window import SequenceBatch, WindowSpec

if TYPE_CHECKING:
    from trajrl.nets.history import HistoryEncoder
    from trajrl.nets.one_step import OneStep

Kind = TypeVar("Kind")
Net = TypeVar("Net", bound=nn.Module)
Metrics = dict[str, Tensor]  # scalars on the device, by name
VALUES = ("critic", "value", "baseline")  # how the names of optimisers of values begin
BOTH = ("policy", "values")  # roles of an agent with both kinds of terms


class AgentConfig(Protocol):
    """What the common part reads of a config."""

    @property
    def normalize_obs(self) -> bool:
        """Say whether observations are centred and scaled."""

    @property
    def decay(self) -> str:
        """Return how learning rates fall over the run."""

    @property
    def decay_steps(self) -> int:
        """Return over how many updates."""

    def validate(self) -> None:
        """Raise ValueError where fields do not fit together."""

    @property
    def spec(self) -> WindowSpec:
        """Return the windows the agent learns from."""


class Part(Protocol):
    """Something with a state: a network, an optimiser."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class Learner:
    """Base of the agents: subclasses build networks in __init__, and register each with `part`."""

    Config: ClassVar[Any]  # the dataclass Config of the module that defines the agent
    config: AgentConfig
    learns_online = True  # False: it clones, and its own episodes teach it nothing new
    rising = (0, 0)  # the update from which on critics' rates rise, and over how many; (0, 0): not at all
    updates_per_batch = 1  # mini-batches that `update` takes at once
    takes_images: ClassVar[bool] = False  # True: its encoders are built with `images`, by ImageConfig
    apart: ClassVar[tuple[str, ...]] = ()  # methods that read numbers back: several seeds call each its own
    roles: ClassVar[tuple[str, ...]] = ()  # BOTH where `learn` takes a batch for each by `by_role`

    def __init_subclass__(cls) -> None:
        cls.Config = sys.modules[cls.__module__].Config

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        config: AgentConfig,
        *,
        device: str | torch.device = "cpu",
        seed: int = 0,
        statistics: Mapping[str, Any] | None = None,
        images: Shapes | None = None,
    ) -> None:
        """Draw weights from the stream 'init' of `seed`; `statistics` serve config.normalize_obs."""
        config.validate()
        self.images = dict(images or {})  # what observations hold beside the vector
        self.config = config
        self.obs_dim, self.action_dim = obs_dim, action_dim
        self.device = torch.device(device)
        self.spec = config.spec
        self.init_rng = torch_stream(seed, "init")  # on the CPU: the same weights on every device
        self.parts: dict[str, Part] = {}
        self.student: OneStep | None = None  # proposes actions in place of the chain that it learned from
        self.updates = 0  # gradient steps taken
        self.normaliser = self.part("normaliser", Normaliser(obs_dim, config.normalize_obs, statistics))

    def __repr__(self) -> str:
        """Return what it works on, how large it is, how far it is, and what is set other than by default."""
        nets = [part for part in self.parts.values() if isinstance(part, nn.Module)]
        weights = sum(weight.numel() for net in nets for weight in net.parameters())
        widths = [f"obs {self.obs_dim}", f"actions {self.action_dim}", *self.images]
        counts = f"{weights:,} weights", f"{self.updates:,} updates"
        return one_line(self, *widths, *counts, str(self.device), *changed(self.config))

    def part(self, name: str, part: Kind) -> Kind:
        """Register a part under `name`; a network moves to the agent's device."""
        if isinstance(part, nn.Module):
            part.to(self.device)
        self.parts[name] = cast(Part, part)
        return part

    def with_copy(self, name: str, copy: str, net: Net) -> tuple[Net, Net]:
        """Register a network, and under `copy` a frozen copy that will follow it: a target or an average."""
        return self.part(name, net), self.part(copy, copy_of(net))

    def adam(self, name: str, lr: float, clip: float, *nets: nn.Module, decays: bool = True) -> Optimiser:
        """Register an optimiser of all parameters of `nets`; `decays`: its rate falls as the config says."""
        parameters = [parameter for net in nets for parameter in net.parameters()]
        decay, steps = self.config.decay if decays else "none", self.config.decay_steps
        return self.part(name, Optimiser(parameters, lr, clip=clip, decay=decay, decay_steps=steps))

    def context(self, encoder: HistoryEncoder, history: History) -> Tensor:
        """Return what `encoder` makes of a history, normalised: (B, ctx)."""
        obs = self.normaliser(history.obs)
        return encoder(obs, history.prev_actions, history.mask, history.images)

    def act_by(self, student: OneStep | None) -> None:
        """Let a student propose actions from now on; None: the chain again."""
        self.student = student

    def flat_actions(self, batch: SequenceBatch) -> Tensor:
        """Return the data's actions, flattened (B, D), zero where there are none."""
        return torch.where(batch.action_mask[..., None], batch.actions, 0.0).flatten(1)

    @torch.no_grad()
    def value(self, history: History, actions: Tensor) -> Tensor:
        """Return min_j Q_j (V,) of actions (V, N, act); an agent that pools otherwise says so."""
        return self.values(history, actions).amin(0)

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V); an agent without a critic refuses."""
        raise NotImplementedError

    def update(self, batch: SequenceBatch | Batches, rng: torch.Generator) -> Update:
        """Do one step of learning: draw its noise, set what its number decides, learn, count."""
        if self.images:
            batch = augmented(batch, self.config, rng)
        noise = self.draw(by_role(batch).values, rng)
        self.prepare()
        metrics, td_error = self.learn(batch, noise)
        self.updates += 1
        return Update({name: value.detach() for name, value in metrics.items()}, td_error)

    def draw(self, batch: SequenceBatch, rng: torch.Generator) -> Any:
        """Draw the randomness of one update: a tuple of tensors, or of such tuples."""
        return self.draw_noise(batch, rng)

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Any:
        """Draw the randomness that the losses of one batch take: each agent has its own."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Set the numbers on the device that the count of updates decides: learning rates."""
        for name, part in self.parts.items():
            if isinstance(part, Optimiser):
                part.prepare(self.updates, self.share_of_rate(name))

    def raise_rates(self, first: int, over: int) -> None:
        """Let the rates of critics and values rise to their own over updates from `first` on."""
        self.rising = first, over

    def share_of_rate(self, optimiser: str) -> float:
        """Return the share of its learning rate that an optimiser takes at the next update."""
        first, over = self.rising
        if not over or not optimiser.startswith(VALUES):
            return 1.0
        return min(1.0, max(1, self.updates - first + 1) / over)

    def stage(self) -> Hashable:
        """Return what the host decides of the next update: updates of one stage do the same to other numbers.

        None: the update reads numbers back, or replaces tensors, and is never recorded.
        """
        return ()

    def learn(self, batch: SequenceBatch | Batches, noise: Any) -> tuple[Metrics, Tensor]:
        """Step every part once; returns metrics and the absolute TD error (B,).  The device's share of it."""
        raise NotImplementedError

    def substitute(self, name: str, function: Callable[..., Any]) -> None:
        """Let `function` stand for the method `name` from now on: a compiled loss, a recorded `learn`."""
        setattr(self, name, function)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every part, and the number of updates."""
        return {"updates": self.updates, **{name: part.state_dict() for name, part in self.parts.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what state_dict returned; parts must be those of this agent."""
        if set(state) != {"updates", *self.parts}:
            odd = ", ".join(sorted(set(state) ^ {"updates", *self.parts}))
            raise ValueError(f"the saved agent differs in its parts ({odd}); load it with its own config")
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.updates = int(state["updates"])


def draw_rows(rng: Sequence[torch.Generator], *shape: int, device: torch.device) -> Tensor:
    """Draw N(0, I) of `shape` for every row from its own generator: (V, *shape)."""
    return torch.stack([torch.randn(shape, generator=row) for row in rng]).to(device)


def histories(batch: SequenceBatch) -> tuple[History, History]:
    """Return the history at the anchor and the one at the bootstrap."""
    return history_of(batch), next_history_of(batch)


def next_chunk(batch: SequenceBatch, count: int) -> tuple[Tensor, Tensor]:
    """Return the data's `count` actions after the bootstrap (B, count act), and where all are there (B,)."""
    assert batch.next_actions is not None
    assert batch.next_mask is not None
    mask = batch.next_mask[:, :count]  # (B, count)
    return torch.where(mask[..., None], batch.next_actions[:, :count], 0.0).flatten(1), mask.all(1)


def td_report(loss: Tensor, q: Tensor, y: Tensor, real: Tensor) -> tuple[Tensor, Metrics]:
    """Return the absolute TD error (B,), the mean over the critics, and the metrics every critic's loss has.

    Args:
        q: values of every critic (E, B)
        y: their target (B,)
        real: which rows (B,) the loss counts; the others say nothing: NaN.  A counted row that is NaN is inf
    """
    error = (q - y).detach().abs().mean(0)  # (B,)
    td_error = torch.where(real, torch.where(error.isnan(), torch.inf, error), torch.nan)
    return td_error, {
        "critic/loss": loss, "critic/q_mean": masked_mean(q, real),
        "critic/td_abs": masked_mean(td_error, real), "critic/target_mean": masked_mean(y, real),
    }  # fmt: skip


class Config(AgentConfig, Protocol):
    """What is read for a slow average besides."""

    @property
    def ema_decay(self) -> float:
        """Return its share that stays."""

    @property
    def ema_every(self) -> int:
        """Return the updates between two moves."""

    @property
    def ema_start(self) -> int:
        """Return the updates before it averages."""

    @property
    def ema_before(self) -> str:
        """Say whether it copies until then."""


class TargetActorLearner(Learner):
    """Base of agents whose target actor follows every few updates, by config.ema_*."""

    config: Config

    @property
    def speed(self) -> float:
        """Return how far the target actor moves at the next update."""
        config = self.config
        return ema_speed(
            self.updates, config.ema_decay, config.ema_every, config.ema_start, config.ema_before
        )

    def stage(self) -> Hashable:
        """Return whether and how far the target actor moves."""
        return self.speed
