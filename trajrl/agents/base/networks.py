"""Networks of agents whose policy is a diffusion over windows, built from config fields of the same names.

    encoder    history, history_actions, gru_width, gru_layers, image_*
    policy     width, depth, activation, actor_norm, diffusion_steps, schedule, solver, solver_steps,
               predicts
    critics    critics, width, depth, activation, critic_norm

A history of 1 builds no GRU, and the context of policy and critics is the observation itself.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch

from trajrl.agents.base.images import Shapes, build_image_encoder, features_of
from trajrl.core.registry import unknown
from trajrl.nets.activation import activation
from trajrl.nets.denoiser import Denoiser, DiffusionPolicy
from trajrl.nets.diffusion import SCHEDULES, Diffusion
from trajrl.nets.ensemble import Critic
from trajrl.nets.history import HistoryEncoder, HistoryNet
from trajrl.nets.mlp import NORMS
from trajrl.nets.optim import DECAYS
from trajrl.nets.solvers import PREDICTS, SOLVERS, plan

Actor = HistoryNet[DiffusionPolicy]
Critics = HistoryNet[Critic]


def check(config: Any) -> None:
    """Raise ValueError where schedule, solver, activation, norms or decay of a config do not fit."""
    check_chain(config.diffusion_steps, config.schedule, config.solver, config.solver_steps)
    activation(config.activation)
    named = ("actor_norm", NORMS), ("critic_norm", NORMS), ("decay", DECAYS), ("predicts", PREDICTS)
    for name, choices in named:
        if getattr(config, name, choices[0]) not in choices:
            raise ValueError(unknown(f"choice of {name}", getattr(config, name), choices))


def check_chain(levels: int, schedule: str, solver: str, solver_steps: int) -> None:
    """Raise ValueError where a chain of so many levels cannot be; it names all that must change with it."""
    try:
        plan(Diffusion(levels, schedule).abar, solver, solver_steps)
    except ValueError as error:
        found = fitting_chain(levels, schedule, solver, solver_steps)
        if not found:
            raise
        settings = " ".join(f"agent.{name}={value}" for name, value in found.items())
        raise ValueError(f"{error}; with diffusion_steps={levels} set {settings} as well") from error


def fitting_chain(levels: int, schedule: str, solver: str, solver_steps: int) -> dict[str, str | int]:
    """Return the fewest of schedule, solver and solver_steps that must change; nothing if none would do."""
    asked: dict[str, str | int] = {"schedule": schedule, "solver": solver, "solver_steps": solver_steps}
    if schedule not in SCHEDULES or solver not in SOLVERS or levels < 1:
        return {}
    solvers = ((solver, solver_steps), (solver, 0), ("ddpm", 0))
    for name, (chosen, steps) in product((schedule, "vp"), solvers):
        try:
            plan(Diffusion(levels, name).abar, chosen, steps)
        except ValueError:
            continue
        found: dict[str, str | int] = {"schedule": name, "solver": chosen, "solver_steps": steps}
        return {field: value for field, value in found.items() if value != asked[field]}
    return {}


def build_encoder(
    config: Any,
    obs_dim: int,
    action_dim: int,
    rng: torch.Generator,
    history: int,
    images: Shapes | None = None,
) -> HistoryEncoder:
    """Build a GRU over `history` steps; for 1, what takes the observation alone.

    Args:
        images: shapes of what observations hold beside the vector; an agent that takes them passes its own
    """
    return HistoryEncoder(
        history, obs_dim, action_dim, config.gru_width, config.gru_layers, rng,
        actions=config.history_actions, images=build_image_encoder(config, images or {}, rng),
    )  # fmt: skip


def build_actor(
    config: Any,
    obs_dim: int,
    action_dim: int,
    rng: torch.Generator,
    chunk: int = 1,
    own_encoder: bool = True,
    cos_first: bool = False,
    images: Shapes | None = None,
    predicts: str = "",
) -> Actor:
    """Build the policy over chunks; without an encoder of its own it is given another's context.

    Args:
        chunk: actions given at once
        cos_first: order and spacing of the time embedding, see Denoiser
        predicts: what the network gives; left out: as the config says, or the noise
    """
    own = images if own_encoder else None
    encoder = build_encoder(config, obs_dim, action_dim, rng, config.history if own_encoder else 1, own)
    seen = obs_dim + features_of(config, images or {})
    context_dim = seen + (config.gru_width if config.history > 1 else 0)
    denoiser = Denoiser(
        chunk * action_dim, context_dim, (config.width,) * config.depth, rng,
        activation=config.activation, layer_norm=config.actor_norm, cos_first=cos_first,
    )  # fmt: skip
    diffusion = Diffusion(config.diffusion_steps, config.schedule)
    predicts = predicts or getattr(config, "predicts", PREDICTS[0])
    solver = config.solver, config.solver_steps, predicts
    return HistoryNet(encoder, DiffusionPolicy(denoiser, diffusion, *solver))


def build_critics(
    config: Any,
    obs_dim: int,
    action_dim: int,
    rng: torch.Generator,
    chunk: int = 1,
    sees_history: bool = True,
    images: Shapes | None = None,
) -> Critics:
    """Build the ensemble over cat(context, a_t .. a_{t + chunk - 1})."""
    history = config.history if sees_history else 1
    encoder = build_encoder(config, obs_dim, action_dim, rng, history, images)
    critic = Critic(
        config.critics, encoder.context_dim + chunk * action_dim,
        (config.width,) * config.depth, rng, activation=config.activation, layer_norm=config.critic_norm,
    )  # fmt: skip
    return HistoryNet(encoder, critic)
