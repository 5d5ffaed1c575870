"""Read what the public Diffusion-QL code saves (actor.pth, critic.pth) as parts of a diffusion_ql agent.

    actor.pth    model.time_mlp.{1,3}, model.mid_layer.{0,2,..}, model.final_layer, and the schedule's tables
    critic.pth   q1_model.{0,2,..}, q2_model.{0,2,..}

torch.compile leaves `_orig_mod` in the keys: in front of all (`_orig_mod.model.mid_layer`), or in the middle
where a part alone was compiled (`model._orig_mod.mid_layer`).  It is dropped wherever it stands.

Sizes, the number of diffusion steps and the schedule are read off the tensors.  Files are opened as weights
alone: nothing in them is ever executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trajrl.core.damage import DAMAGE, first_line
from trajrl.nets.diffusion import SCHEDULES

Weights = dict[str, Tensor]
TIME_DIM = 16  # size of the published time embedding
COMPILED = "_orig_mod"  # what torch.compile puts into the keys of a module


class PublicWeights(NamedTuple):
    """What the two files say."""

    obs_dim: int
    action_dim: int
    config: dict[str, Any]  # fields of diffusion_ql that the files decide
    parts: dict[str, Weights]  # actor, ema_actor, critic and target, for Learner.load_state_dict


def read(actor_file: str | Path, critic_file: str | Path) -> PublicWeights:
    """Read both files; ValueError names what does not fit."""
    actor, critic = _load(Path(actor_file)), _load(Path(critic_file))
    middle = _layers(actor, "model.mid_layer.", actor_file)
    last = _need(actor, "model.final_layer.weight", actor_file)
    betas = _need(actor, "betas", actor_file)
    action_dim, width = last.shape
    obs_dim = middle[0].shape[1] - action_dim - TIME_DIM
    time = _need(actor, "model.time_mlp.1.weight", actor_file)
    if time.shape[1] != TIME_DIM or obs_dim < 1:
        raise ValueError(f"{actor_file}: its layers are not those of a published Diffusion-QL policy")
    sees = _layers(critic, "q1_model.", critic_file)[0].shape[1]
    if sees != obs_dim + action_dim:
        raise ValueError(f"{critic_file} sees {sees} numbers; {actor_file} has {obs_dim} + {action_dim}")
    own_actor, own_critic = _actor(actor, len(middle), actor_file), _critic(critic, len(middle), critic_file)
    config = {
        "diffusion_steps": len(betas), "schedule": _schedule(betas, actor_file), "width": width,
        "depth": len(middle),
    }  # fmt: skip
    parts = {"actor": own_actor, "ema_actor": own_actor, "critic": own_critic, "target": own_critic}
    return PublicWeights(obs_dim, action_dim, config, parts)


def _load(path: Path) -> Weights:
    """Load a file of tensors under the names they had before torch.compile."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        reason = first_line(error) if str(error) else "it ends too early"
        raise ValueError(f"{path} is not a file of weights ({reason})") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"{path} holds something else than a dictionary of tensors; save a state_dict")
    named = {uncompiled(name): value.float() for name, value in found.items()}
    if len(named) < len(found):
        raise ValueError(f"{path} holds weights twice, with {COMPILED} in the key and without it")
    return named


def uncompiled(name: str) -> str:
    """Return a key as it was before torch.compile."""
    return ".".join(part for part in name.split(".") if part != COMPILED)


def _need(weights: Weights, name: str, path: str | Path) -> Tensor:
    if name not in weights:
        raise ValueError(f"{path} has no '{name}'; it is not in the layout of the public Diffusion-QL code")
    return weights[name]


def _layers(weights: Weights, prefix: str, path: str | Path) -> list[Tensor]:
    """Return the weights prefix0, prefix2, .. of a stack of layers."""
    _need(weights, f"{prefix}0.weight", path)
    count = sum(name.startswith(prefix) and name.endswith(".weight") for name in weights)
    return [_need(weights, f"{prefix}{2 * i}.weight", path) for i in range(count)]


def _schedule(betas: Tensor, path: str | Path) -> str:
    """Return the name of the schedule with these betas."""
    for name, law in SCHEDULES.items():
        if np.allclose(law(len(betas)), betas.numpy(), atol=1e-6):
            return name
    raise ValueError(f"{path}: its betas belong to none of the schedules {', '.join(SCHEDULES)}")


def _actor(weights: Weights, depth: int, path: str | Path) -> Weights:
    """Rename the policy's layers."""
    names = {f"model.time_mlp.{old}": f"denoiser.time_mlp.layers.{new}" for old, new in ((1, 0), (3, 1))}
    names |= {f"model.mid_layer.{2 * i}": f"denoiser.net.layers.{i}" for i in range(depth)}
    names["model.final_layer"] = f"denoiser.net.layers.{depth}"
    return {
        f"{new}.{kind}": _need(weights, f"{old}.{kind}", path).clone()
        for old, new in names.items()
        for kind in ("weight", "bias")
    }


def _critic(weights: Weights, depth: int, path: str | Path) -> Weights:
    """Stack both critics: weights (2, in, out), biases (2, 1, out)."""
    found: Weights = {}
    for i in range(depth + 1):
        pair = [f"{net}.{2 * i}" for net in ("q1_model", "q2_model")]
        weight = torch.stack([_need(weights, f"{name}.weight", path).mT for name in pair])
        bias = torch.stack([_need(weights, f"{name}.bias", path)[None] for name in pair])
        found |= {f"net.layers.{i}.weight": weight.contiguous(), f"net.layers.{i}.bias": bias}
    return found
