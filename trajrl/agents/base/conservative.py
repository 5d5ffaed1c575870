"""Conservative values: what CQL and its heirs share, which is all but the gap that presses values down.

    y      = R_k + gamma^k (1 - terminated) V(o_{t+k}),   V(o) = min_j Q'_j(o, a'), a' ~ pi
    L_Q    = sum_j mean (Q_j(o, a) - y)^2 + alpha (gap_j - goal)
    L_pi   = mean temp log pi(a|o) - min_j Q_j(o, a)
    L_temp = temp (entropy - entropy goal)           L_alpha = -alpha mean_j (gap_j - goal)

V takes the best of M actions by option, and the entropy counts in it by option.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajrl.agents.base.checks import above_zero, at_least_one, not_negative, one_of
from trajrl.agents.base.gaussian import GaussianLearner, soft_actor_loss
from trajrl.agents.base.learner import BOTH, Metrics, histories, td_report
from trajrl.agents.base.networks import build_encoder
from trajrl.agents.base.protocol import Batches, History, by_role
from trajrl.core.distributed import local_rows, whole_rows
from trajrl.nets.ensemble import Critic
from trajrl.nets.gaussian import TanhGaussian, Temperature
from trajrl.nets.history import HistoryNet
from trajrl.nets.targets import follow, masked_mean, td_target
from trajrl.store.window import SequenceBatch, WindowSpec

LARGEST_ALPHA = 1e6  # bound of a learned alpha
FIRST: dict[str, Any] = {"init": "orthogonal", "out_gain": 0.01}  # first weights, as in the public code:
FIRST_LOG_STD = -1.0  # values and means begin near 0, deviations near exp(-1)


@dataclass(frozen=True)
class Config:
    """The fields of all of them; an agent's own Config adds some, or repeats one with its own default."""

    alpha: float = (
        10.0  # weight of the gap, where a learned one starts; raising it: lower values off the data
    )
    lagrange: bool = False  # True: alpha is learned, so that the gap stays near `goal`
    goal: float = 0.8  # gap to hold under lagrange; raising it: less conservative
    gap_clip: float = 0.0  # a gap below minus this counts as that, 0: no bound; lowering it: values fall less
    form: str = "importance"  # importance: actions weighed by 1 / density; plain: unweighed, with the data's
    samples: int = 10  # M, actions of each kind; raising it: a truer log-sum-exp, slower
    tau_q: float = 1.0  # temperature of the log-sum-exp; lowering it: presses the highest values alone
    target_entropy: bool = False  # True: the entropy counts in the target, as in SAC
    best_next: bool = False  # True: the target takes the best of M actions, for sparse rewards
    entropy_goal: float = -1.0  # entropy per action dimension to hold; raising it: more random actions
    temperature: float = 1.0  # first weight of the entropy; raising it: random for longer
    horizon: int = 1  # rewards before the bootstrap; raising it: values travel faster, with more bias
    history: int = 1  # H, observations seen; above 1 a GRU of the actor and one of the critic read them
    history_actions: bool = True  # the GRUs also see the action before each observation
    gru_width: int = 128  # of the history's summary; raising it: remembers more, slower
    gru_layers: int = 1  # raising it: longer patterns, slower
    critics: int = 2  # size of the ensemble; raising it: more cautious values, slower updates
    width: int = 256  # of the networks; raising it: finer, slower
    depth: int = 3  # hidden layers; raising it: finer, slower
    critic_depth: int = 0  # of the critics, where it differs; 0: as deep as the policy
    critic_norm: str = "none"  # layer norm in the critic: none, before or after the activation
    gamma: float = 0.99  # discount per step; raising it looks further ahead
    tau: float = 0.005  # speed of the target critic; raising it: newer targets, less stable
    actor_lr: float = 3e-5  # learning rate of the policy and of the temperature
    critic_lr: float = 3e-4  # learning rate of the critics and of alpha
    actor_clip: float = 0.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    critic_clip: float = 0.0  # the same for the critics
    decay: str = "none"  # learning rates over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    def validate(self) -> None:
        """Check what can be checked without data; nets and optimisers check their own."""
        one_of(self, form=("importance", "plain"))
        at_least_one(self, "samples", "horizon", "history", "critics", "width", "depth")
        above_zero(self, "tau_q", "temperature")
        not_negative(self, "alpha", "gap_clip", "critic_depth")
        if self.lagrange:
            above_zero(self, "alpha")

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from."""
        return WindowSpec(self.history, 1, self.horizon)

    @property
    def clones(self) -> bool:
        """Say that no loss says how well the data is imitated."""
        return False


class Noise(NamedTuple):
    """All the randomness of one update; M actions of each kind."""

    next: Tensor  # (B, M, act) N(0, I), of pi at the bootstrap in the target; M = 1 without best_next
    policy: Tensor  # (B, act) N(0, I), in the actor's loss
    uniform: Tensor  # (B, M, act) in [-1, 1]
    here: Tensor  # (B, M, act) N(0, I), of pi at o
    there: Tensor  # (B, M, act) N(0, I), of pi at o_{t+k}


class ConservativeLearner(GaussianLearner):
    """Base of agents whose values are pressed down where the data has no actions."""

    config: Config
    roles = BOTH

    def __init__(self, obs_dim: int, action_dim: int, config: Config, **options: Any) -> None:
        super().__init__(obs_dim, action_dim, config, **options)
        rng, hidden = self.init_rng, (config.width,) * config.depth
        encoder = build_encoder(config, obs_dim, action_dim, rng, config.history)
        policy = TanhGaussian(encoder.context_dim, hidden, action_dim, rng, **FIRST, log_std=FIRST_LOG_STD)
        self.actor = self.part("actor", HistoryNet(encoder, policy))
        encoder = build_encoder(config, obs_dim, action_dim, rng, config.history)
        critic = Critic(
            config.critics, encoder.context_dim + action_dim,
            (config.width,) * (config.critic_depth or config.depth), rng,
            activation="relu", layer_norm=config.critic_norm, **FIRST,
        )  # fmt: skip
        self.critic, self.target = self.with_copy("critic", "target", HistoryNet(encoder, critic))
        self.temperature = self.part("temperature", Temperature(config.temperature))
        self.actor_optimiser = self.adam("actor_optimiser", config.actor_lr, config.actor_clip, self.actor)
        rate = config.critic_lr, config.critic_clip
        self.critic_optimiser = self.adam("critic_optimiser", *rate, self.critic)
        self.temperature_optimiser = self.adam(
            "temperature_optimiser", config.actor_lr, 0.0, self.temperature
        )
        if config.lagrange:
            self.alpha = self.part("alpha", Temperature(config.alpha))
            self.alpha_optimiser = self.adam("alpha_optimiser", config.critic_lr, 0.0, self.alpha)

    def draw_noise(self, batch: SequenceBatch, rng: torch.Generator) -> Noise:
        """Draw all the randomness of one update, on the CPU, so that every device sees the same."""
        rows, count = whole_rows(len(batch.steps)), self.config.samples
        many, ahead = (rows, count, self.action_dim), count if self.config.best_next else 1
        noise = Noise(
            next=torch.randn(rows, ahead, self.action_dim, generator=rng),
            policy=torch.randn(rows, self.action_dim, generator=rng),
            uniform=torch.rand(many, generator=rng) * 2 - 1,
            here=torch.randn(many, generator=rng), there=torch.randn(many, generator=rng),
        )  # fmt: skip
        return Noise(*(local_rows(part).to(self.device, non_blocking=True) for part in noise))

    def data_values(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Return what the critics see of o, (B, ctx), and their values of the data's actions, (E, B)."""
        here, _ = histories(batch)
        view = self.context(self.critic.encoder, here)
        return view, self.critic.head(view, self.flat_actions(batch))

    @torch.no_grad()
    def td_target(self, batch: SequenceBatch, noise: Noise) -> Tensor:
        """Return y (B,) from the policy's action at o_{t+k}, or the best of several."""
        value = self.soft_value(histories(batch)[1], noise.next)
        return td_target(batch.rewards, batch.mask, batch.steps, batch.terminated, value, self.config.gamma)

    def soft_value(self, history: History, noise: Tensor) -> Tensor:
        """Return min_j Q'_j (B,) of the policy's action, or of its best of M, from noise (B, M, act)."""
        action, density = self.drawn(history, noise)  # (B, M, act), (B, M)
        context = self.context(self.target.encoder, history)[:, None].expand(-1, action.shape[1], -1)
        value, best = self.target.head(context, action).amin(0).max(1)  # (B,) both
        if self.config.target_entropy:
            value = value - self.temperature() * density.gather(1, best[:, None])[:, 0]
        return value

    def tried(self, batch: SequenceBatch, view: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Return Q_j(o, a_m) (E, B, 3 M): uniform actions, pi's at o, pi's at o_{t+k}; and log q (B, 3 M)."""
        here, there = histories(batch)
        with torch.no_grad():
            (now, log_now), (then, log_then) = self.drawn(here, noise.here), self.drawn(there, noise.there)
        actions = torch.cat((noise.uniform, now, then), 1)  # (B, 3 M, act)
        uniform = torch.full_like(log_now, -self.action_dim * log(2))  # density of the box [-1, 1]
        values = self.critic.head(view[:, None].expand(-1, actions.shape[1], -1), actions)  # (E, B, 3 M)
        return values, torch.cat((uniform, log_now, log_then), 1)

    def log_sum_exp(self, tried: Tensor, density: Tensor, q: Tensor) -> Tensor:
        """Return tau log sum_m exp(Q_j(o, a_m) / tau - log q(a_m)) of every critic, (E, B)."""
        tau = self.config.tau_q  # where it is not 1, the public code divides log q by it as well
        if self.config.form == "plain":
            return tau * (torch.cat((tried, q[..., None]), -1) / tau).logsumexp(-1)
        return tau * (tried / tau - density).logsumexp(-1)

    def with_gap(
        self, batch: SequenceBatch, q: Tensor, y: Tensor, gap: Tensor
    ) -> tuple[Tensor, Tensor, Metrics]:
        """Return the loss of values q (E, B) to y (B,) and of a gap (E, B), the TD error and metrics."""
        config, valid, weight = self.config, batch.steps > 0, batch.weight
        gap = gap.clamp(min=-config.gap_clip) if config.gap_clip else gap
        excess = gap - (config.goal if config.lagrange else 0.0)
        alpha = self.alpha().detach().clamp(max=LARGEST_ALPHA) if config.lagrange else config.alpha
        td_loss = masked_mean((q - y).square().sum(0), valid, weight)
        loss = td_loss + alpha * masked_mean(excess.sum(0), valid, weight)
        td_error, metrics = td_report(loss, q, y, valid)
        return loss, td_error, {**metrics, "critic/td_loss": td_loss, "critic/gap": masked_mean(gap, valid)}

    def critic_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """TD error and gap of every critic; returns (loss, absolute TD error (B,), metrics)."""
        raise NotImplementedError

    def actor_loss(self, batch: SequenceBatch, noise: Noise) -> tuple[Tensor, Tensor, Metrics]:
        """Temp log pi - min Q, and the temperature's own loss; returns both and metrics."""
        return soft_actor_loss(self, self.config, self.temperature, batch, noise.policy)

    def learn(self, batch: SequenceBatch | Batches, noise: Noise) -> tuple[Metrics, Tensor]:
        """Take one step of policy and temperature, then of alpha where it is learned, and of the critics."""
        policy, values = by_role(batch)
        actor_loss, temp_loss, actor_metrics = self.actor_loss(policy, noise)
        critic_loss, td_error, critic_metrics = self.critic_loss(values, noise)
        actor_norm = self.actor_optimiser.step(actor_loss)
        self.temperature_optimiser.step(temp_loss)
        if self.config.lagrange:
            excess = critic_metrics["critic/gap"].detach() - self.config.goal
            critic_metrics["critic/alpha"] = self.alpha().detach()
            self.alpha_optimiser.step(-self.alpha().clamp(max=LARGEST_ALPHA) * excess)
        critic_norm = self.critic_optimiser.step(critic_loss)
        follow(self.target.parameters(), self.critic.parameters(), self.config.tau)
        norms = {"actor/grad_norm": actor_norm, "critic/grad_norm": critic_norm}
        return {**critic_metrics, **actor_metrics, **norms}, td_error
