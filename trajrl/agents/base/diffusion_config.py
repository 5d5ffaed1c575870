"""DiffusionConfig: the fields shared by agents whose diffusion policy and critics read histories.

An agent's own Config adds the fields of its losses, and repeats a shared field where its default differs.
"""

from __future__ import annotations

from dataclasses import dataclass

from trajrl.agents.base.checks import at_least_one, not_negative, one_of
from trajrl.agents.base.networks import check
from trajrl.store.window import WindowSpec


@dataclass(frozen=True)
class DiffusionConfig:
    """Windows, policy, acting, targets, networks and optimisers."""

    # Windows.
    history: int = 1  # H, observations seen; above 1 a GRU of the policy and one of the critic read them
    history_actions: bool = True  # the GRUs also see the action before each observation
    gru_width: int = 128  # of the history's summary; raising it: remembers more, slower
    gru_layers: int = 1  # raising it: longer patterns, slower
    horizon: int = 1  # n, rewards before the bootstrap; raising it: values travel faster, noisier

    # Policy and acting.
    diffusion_steps: int = 5  # K; raising it: finer actions, slower to act, and to learn from whole chains
    schedule: str = "vp"  # how noise grows over the levels: vp, cosine, linear or linear_scaled
    solver: str = "ddpm"  # how actions are sampled: ddpm, ddim, or dpm for K of a hundred and more
    solver_steps: int = 0  # network calls per sample, 0: the solver's own choice; raising it: finer, slower
    candidates: int = 50  # actions to choose from when acting; raising it trusts the critic more
    temperature: float = 1.0  # of that choice, in units of Q; raising it: closer to the plain policy
    act_ema: bool = True  # act with the average of past weights, which is steadier than the last ones

    # Targets.
    gamma: float = 0.99  # discount per step; raising it looks further ahead
    tau: float = 0.005  # speed of the target critic; raising it: newer targets, less stable
    ema_decay: float = 0.995  # of the target actor; raising it: slower, steadier targets
    ema_every: int = 5  # updates between moves of the target actor; raising it slows it down
    ema_start: int = 1000  # updates before it averages; raising it: later averaging
    ema_before: str = "copy"  # until then it copies; "initial" leaves it untrained, as published

    # Networks.
    critics: int = 2  # size of the ensemble; raising it: more cautious values, slower updates
    width: int = 256  # of the networks; raising it: finer, slower
    depth: int = 3  # hidden layers; raising it: finer, slower
    activation: str = "mish"  # of the networks
    actor_norm: str = "none"  # layer norm in the policy: none, before or after the activation
    critic_norm: str = "none"  # layer norm in the critic; "before" steadies values of unseen actions
    normalize_obs: bool = False  # True: observations are centred and scaled by the data's statistics

    # Optimisers.
    actor_lr: float = 3e-4  # learning rate of the policy and its GRU
    critic_lr: float = 3e-4  # learning rate of the critic and its GRU
    actor_clip: float = 5.0  # bound on the gradient's norm, 0: none; lowering it: calmer steps
    critic_clip: float = 5.0  # the same for the critic
    decay: str = "none"  # learning rates over the run: none, or a cosine per update, epoch or as_run
    decay_steps: int = 0  # updates of that cosine; 0: the run's

    def validate(self) -> None:
        """Check what can be checked without data; an agent's own Config continues from here."""
        check(self)
        at_least_one(
            self, "history", "gru_width", "gru_layers", "horizon", "candidates", "ema_every", "critics",
            "width", "depth",
        )  # fmt: skip
        not_negative(self, "temperature")
        one_of(self, ema_before=("copy", "initial"))

    @property
    def spec(self) -> WindowSpec:
        """Return the windows to learn from: single actions."""
        return WindowSpec(self.history, 1, self.horizon)
