"""RLPD: soft actor-critic with a layer-normed ensemble and many critic steps per update; its chunked form.

    y      = R_k + gamma^k (1 - terminated) (min over a random subset of Q'_j(o_{t+k}, a') - temp log pi(a'))
    L_Q    = mean over the ensemble of (Q_j(o, a) - y)^2
    L_pi   = mean temp log pi(a|o) - mean_j Q_j(o, a)  -  bc_alpha log pi(data's a|o)
    L_temp = temp (entropy - goal)

One batch holds `utd` mini-batches: rows j, j + utd, j + 2 utd, .. are the j-th.  A batch laid out as all
offline rows and then all online rows is thus dealt evenly: each mini-batch has its share of both, exactly
where utd divides both counts.

Paper: Ball et al. 2023; Li et al. 2025 (chunks).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.candidates import padded
from trajrl.agents.base.checks import above_zero, at_least_one, chunk_lengths, not_negative, one_of
from trajrl.agents.base.learner import BOTH, Learner, Metrics, draw_rows, histories, td_report
from trajrl.agents.base.networks import build_encoder
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.agents.presets.rlpd import PRESETS, preset
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.ensemble import Critic
from trajrl.nets.gaussian import TanhGaussian, Temperature, log_density, squash
from trajrl.nets.history import HistoryNet
from trajrl.nets.targets import follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch, WindowSpec

__all__ = ["PRESETS", "RLPD", "Config", "Noise", "preset"]


@dataclass(frozen=True)
class Config:
    """Defaults are RLPD as published for locomotion; the presets of the chunked form are beside them."""

    utd: int = 20  # critic steps per update, each on its own mini-batch; raising it: learns from fewer steps
    chunk: int = 1  # actions the policy gives, executed open loop; raising it: bolder, slower to react
    critic_chunk: int = 0  # actions the critic sees, 0: the chunk; below the horizon: faster, biased values
    horizon: int = 0  # rewards before the bootstrap, 0: the critic's chunk; raising it: values travel faster
    history: int = 1  # H, observations seen; above 1 a GRU of the actor and one of the critic read them
    history_actions: bool = True  # the GRUs also see the action before each observation
    gru_width: int = 128  # of the history's summary; raising it: remembers more, slower
    gru_layers: int = 1  # raising it: longer patterns, slower
    critics: int = 10  # size of the ensemble; raising it: steadier values, slower updates
    subset: int = 2  # target critics drawn for each step, of which the least counts; raising it: cautious
    target: str = "subset_min"  # how the target pools its critics: subset_min, or the mean over all
    target_entropy: bool = True  # False: no entropy in the target, for sparse rewards
    entropy_goal: float = -0.5  # entropy per action dimension to hold; raising it: more random actions
    temperature: float = 1.0  # first weight of the entropy, learned from there; raising it: random for longer
    bc_alpha: float = 0.0  # weight of behaviour cloning; raising it: closer to the data
    joint: bool = False  # True: actor and critic step together on every mini-batch, as one sum of losses
    partial_chunks: str = "pad"  # windows cut by an episode's end: pad trains the critic on them, or drop
    gamma: float = 0.99  # discount per step; raising it looks further ahead
    tau: float = 0.005  # speed of the target critic; raising it: newer targets, less stable
    width: int = 256  # of the networks; raising it: finer, slower
    depth: int = 2  # hidden layers; raising it: finer, slower
    activation: str = "relu"  # of the networks
    critic_norm: str = "before"  # layer norm in the critic; without it many updates per step diverge
    actor_lr: float = 3e-4  # learning rate of the policy and of the temperature
    critic_lr: float = 3e-4  # learning rate of the critics
    actor_clip: float = 0.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    critic_clip: float = 0.0  # the same for the critics
    decay: str = "none"  # learning rates over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    def validate(self) -> None:
        """Check what can be checked without data; nets and optimisers check their own."""
        one_of(self, target=("subset_min", "mean"), partial_chunks=("pad", "drop"))
        at_least_one(self, "utd", "chunk", "history", "critics", "width", "depth")
        if not 1 <= self.subset <= self.critics:
            raise ValueError(f"subset is between 1 and critics, {self.critics}; got {self.subset}")
        above_zero(self, "temperature")
        not_negative(self, "bc_alpha")
        chunk_lengths(self)

    @property
    def seen(self) -> int:
        """Return how many actions the critic sees."""
        return self.critic_chunk or self.chunk

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from."""
        return WindowSpec(self.history, self.chunk, self.horizon or self.seen)

    @property
    def clones(self) -> bool:
        """Say whether a loss says how well the data is imitated."""
        return self.bc_alpha > 0


class Noise(NamedTuple):
    """All the randomness of one critic and one actor step.  D = N act is the size of a flattened chunk."""

    next: Tensor  # (B, D) of the chunk at the bootstrap
    policy: Tensor  # (B, D) of the chunk in the actor's loss
    subset: Tensor  # (S,) which target critics count


class RLPD(Learner):
    """Reinforcement learning with prior data."""

    config: Config
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        rng = self.init_rng
        self.updates_per_batch = config.utd
        self.size, self.seen = config.chunk * action_dim, config.seen * action_dim  # of flattened chunks
        hidden = (config.width,) * config.depth
        style: dict[str, Any] = {"activation": config.activation, "init": "xavier"}
        encoder = build_encoder(config, obs_dim, action_dim, rng, config.history)
        actor = TanhGaussian(encoder.context_dim, hidden, self.size, rng, **style)
        self.actor = self.part("actor", HistoryNet(encoder, actor))
        encoder = build_encoder(config, obs_dim, action_dim, rng, config.history)
        critic = Critic(
            config.critics, encoder.context_dim + self.seen, hidden, rng,
            layer_norm=config.critic_norm, norm_eps=1e-6, **style,
        )  # fmt: skip
        self.critic, self.target = self.with_copy("critic", "target", HistoryNet(encoder, critic))
        self.temperature = self.part("temperature", Temperature(config.temperature))
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        self.critic_optimiser = self.adam(
            "critic_optimiser", config.critic_lr, config.critic_clip, self.critic
        )
        rate = config.actor_lr, 0.0
        self.temperature_optimiser = self.adam("temperature_optimiser", *rate, self.temperature)

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw the randomness of one mini-batch, on the CPU, so that every device sees the same."""
        rows, config = whole_rows(len(batch.steps)), self.config
        noise = Noise(
            next=local_rows(torch.randn(rows, self.size, generator=rng)),
            policy=local_rows(torch.randn(rows, self.size, generator=rng)),
            subset=torch.randperm(config.critics, generator=rng)[: config.subset],
        )
        return Noise(*(part.to(self.device, non_blocking=True) for part in noise))

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Squared TD error of every critic; returns (loss, absolute TD error (B,), metrics)."""
        config, (here, there) = self.config, histories(batch)
        view = self.context(self.critic.encoder, here)  # (B, ctx)
        q = self.critic.head(view, self.flat_actions(batch)[:, : self.seen])  # (E, B)

        # Bootstrap at o_{t+k}: the online policy acts, a random few of the target critics value.
        with torch.no_grad():
            value = self.next_value(there, noise)  # (B,)
            y = td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, value, config.gamma)

        # A window that the episode's end cuts has k < n steps.  pad trains on it with gamma^k; drop gives it
        # no weight, and still counts it in the mean, as published.
        drop = config.partial_chunks == "drop"
        valid = batch.steps == self.spec.n if drop else batch.steps > 0  # (B,)
        td = torch.where(valid, q - y, 0.0)  # (E, B)
        loss = masked_mean(td.square(), valid | drop, batch.weight)
        td_error, metrics = td_report(loss, q, y, valid)
        return loss, td_error, {
            **metrics, "critic/used_share": masked_mean(valid.float(), torch.ones_like(valid)),
        }  # fmt: skip

    def next_value(self, there: History, noise: Noise) -> Tensor:
        """Return the value (B,) of the policy where the bootstrap is taken."""
        mean, log_std = self.actor.head(self.context(self.actor.encoder, there))  # (B, D) both
        chunk, density = squash(mean, log_std, noise.next)  # (B, D) both
        context, chunk = self.context(self.target.encoder, there), chunk[:, : self.seen]
        if self.config.target == "mean":
            value = self.target.head(context, chunk).mean(0)  # (B,)
        else:
            value = self.target.head(context, chunk, noise.subset).amin(0)  # (B,)
        return value - self.temperature() * density.sum(-1) if self.config.target_entropy else value

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Soft Q and, by option, behaviour cloning; returns (loss, the temperature's loss, metrics)."""
        config, (here, _) = self.config, histories(batch)
        row, weight = batch.action_mask[:, 0], batch.weight  # (B,) both
        mean, log_std = self.actor.head(self.context(self.actor.encoder, here))  # (B, D) both
        chunk, density = squash(mean, log_std, noise.policy)  # (B, D) both
        temp, log_pi = self.temperature(), density.sum(-1)  # (), (B,)

        # Entropy and Q, over the whole ensemble; the gradient reaches the actor alone, through its chunk.
        with torch.no_grad():
            view = self.context(self.critic.encoder, here)
        q_loss = -masked_mean(self.critic.head(view, chunk[:, : self.seen]).mean(0), row, weight)
        loss = masked_mean(temp.detach() * log_pi, row, weight) + q_loss
        metrics = {"actor/q_loss": q_loss, "actor/temperature": temp}

        # Behaviour cloning: the density of the data's chunk, per whole chunk; padded steps add nothing.
        if config.bc_alpha > 0:
            recorded = log_density(mean, log_std, self.flat_actions(batch)).view_as(
                batch.actions
            )  # (B, N, act)
            bc_loss = -masked_mean(recorded, batch.action_mask[..., None], weight[:, None, None]) * self.size
            loss = loss + config.bc_alpha * bc_loss
            metrics["actor/bc_loss"] = bc_loss

        # L_temp: raise the temperature while the entropy is below its goal.
        entropy = -log_pi.detach()  # (B,)
        temp_loss = temp * masked_mean(entropy - config.entropy_goal * self.size, row, weight)
        return loss, temp_loss, {**metrics, "actor/loss": loss, "actor/entropy": masked_mean(entropy, row)}

    def draw(self, batch: SequenceBatch, rng: torch.Generator) -> tuple[Noise, ...]:
        """Draw the randomness of every mini-batch."""
        return tuple(self.draw_noise(part, rng) for part in self.mini_batches(batch))

    def learn(self, batch: SequenceBatch | Batches, noises: tuple[Noise, ...]) -> tuple[Metrics, Tensor]:
        """Step the critic on every mini-batch; actor and temperature on the last, under `joint` on each."""
        parts = zip(*(self.mini_batches(part) for part in by_role(batch)), noises, strict=True)
        td_errors: list[Tensor] = []
        critic_metrics: list[Metrics] = []
        actor_metrics: Metrics = {}
        for policy, values, noise in parts:
            loss, td_error, metrics = self.critic_loss(values, noise)
            if self.config.joint:
                actor_metrics = self.step_actor(policy, noise)  # before the critic moves
            metrics["critic/grad_norm"] = self.critic_optimiser.step(loss)
            follow(self.target.parameters(), self.critic.parameters(), self.config.tau)
            td_errors.append(td_error)
            critic_metrics.append(metrics)
        if not self.config.joint:
            actor_metrics = self.step_actor(policy, noise)
        found = {name: torch.stack([m[name].detach() for m in critic_metrics]).mean() for name in metrics}
        td_error = torch.stack(td_errors, 1).flatten()  # row i utd + j: i-th of mini-batch j
        return {**found, **actor_metrics}, td_error

    def step_actor(self, batch: SequenceBatch, noise: Noise) -> Metrics:
        """One step of the actor and one of the temperature; returns metrics."""
        loss, temp_loss, metrics = self.actor_loss(batch, noise)
        norm = self.actor_optimiser.step(loss)
        self.temperature_optimiser.step(temp_loss)
        return {**metrics, "actor/grad_norm": norm}

    def mini_batches(self, batch: SequenceBatch) -> Iterator[SequenceBatch]:
        """Deal the rows of a batch to `utd` mini-batches."""
        utd, rows = self.config.utd, len(batch.steps)
        if rows % utd:
            raise ValueError(
                f"a batch of {rows} rows cannot be dealt to {utd} mini-batches; give a multiple of utd"
            )
        for j in range(utd):
            yield SequenceBatch._make(None if part is None else part[j::utd] for part in batch)

    @torch.no_grad()
    def act(self, history: History, rng: Sequence[torch.Generator], explore: bool) -> Tensor:
        """Choose chunks (V, N, act): a sample where exploring, else the tanh of the mean."""
        context = self.context(self.actor.encoder, history.each(padded))
        mean, log_std = self.actor.head(context)  # (V or more, D) both
        chunks = mean.tanh()
        if explore:
            chunks, _ = squash(mean, log_std, padded(draw_rows(rng, self.size, device=self.device)))
        return chunks[: len(rng)].unflatten(1, (self.config.chunk, self.action_dim))

    def log_densities(self, history: History, actions: Tensor) -> Tensor:
        """Return the log density of every number of chunks (V, N, act), in that shape."""
        mean, log_std = self.actor.head(self.context(self.actor.encoder, history))  # (V, D) both
        return log_density(mean, log_std, actions.flatten(1)).view_as(actions)

    @torch.no_grad()
    def value(self, history: History, actions: Tensor) -> Tensor:
        """Return mean_j Q_j (V,) of actions (V, N, act), of which the critic sees its own chunk."""
        return self.values(history, actions).mean(0)

    def values(self, history: History, actions: Tensor) -> Tensor:
        """Return the Q of every critic (E, V)."""
        context = self.context(self.critic.encoder, history)
        return self.critic.head(context, actions.flatten(1)[:, : self.seen])
