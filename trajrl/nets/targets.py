"""Returns of windows, bootstrapped targets, masked means, and target networks that follow their online ones.

    R_k = sum_{j<k} gamma^j r_{t+j}        y = R_k + gamma^k (1 - terminated) V(o_{t+k})

k comes with the batch (a horizon cut by the episode's end is shorter), gamma from the agent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

from trajrl.core.distributed import all_reduce_sum
from trajrl.nets.frozen import is_frozen
from trajrl.nets.stacked import across

Net = TypeVar("Net", bound=nn.Module)


def masked_return(rewards: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Return R_k (B,) of rewards (B, n); what the mask (B, n) leaves out is never read."""
    real = torch.where(mask, rewards, 0.0)
    if real.shape[1] == 1:
        return real[:, 0]
    return real @ discounts(gamma, real.shape[1], real)


def discounts(gamma: float, n: int, like: Tensor) -> Tensor:
    """Return gamma^0 .. gamma^(n-1) on the device and in the type of `like`."""
    return gamma ** torch.arange(n, device=like.device, dtype=like.dtype)


def td_target(
    rewards: Tensor, mask: Tensor, steps: Tensor, terminated: Tensor, next_value: Tensor, gamma: float
) -> Tensor:
    """Return y (B,); rewards and mask are (B, n), the rest (B,).  Terminated rows take no value."""
    bootstrap = torch.where(terminated, 0.0, gamma**steps * next_value)
    return masked_return(rewards, mask, gamma) + bootstrap


def best_next_value(
    policy: Callable[[Tensor, Tensor], Tensor],
    critic: Callable[[Tensor, Tensor], Tensor],
    context: Tensor,
    view: Tensor,
    noise: Tensor,
    count: int,
) -> Tensor:
    """Return min_j max_m Q_j(view, a_m) (B,): each critic takes its best of `count` actions, the least wins.

    Args:
        policy: context (B M, ctx) and noise (draws, B M, D) -> actions (B M, D)
        critic: view (B M, ctx) and actions -> (E, B M)
    """
    actions = policy(context.repeat_interleave(count, 0), noise)  # (B M, D)
    q = critic(view.repeat_interleave(count, 0), actions)  # (E, B M)
    return q.unflatten(1, (-1, count)).amax(2).amin(0)


def masked_mean(values: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return sum(weight values) / number of valid entries of the whole batch; mask and weight broadcast.

    A weight of 0 adds 0 and still counts; an entry outside the mask adds nothing and does not count;
    with no valid entry the mean is 0.
    """
    mask = mask.expand_as(values)
    kept = torch.where(mask, values, 0.0)
    if weight is not None:
        kept = kept * weight
    top, count = all_reduce_sum(kept.sum(), mask.sum())
    return top / count.clamp(min=1)


def expectile_loss(u: Tensor, expectile: float) -> Tensor:
    """Return |expectile - 1[u < 0]| u^2, elementwise; in u = Q - V the best V is that expectile of Q."""
    return torch.where(u < 0, 1 - expectile, expectile) * u.square()


def quantile_loss(u: Tensor, quantile: float) -> Tensor:
    """Return |quantile - 1[u < 0]| |u|, elementwise; in u = Q - V the best V is that quantile of Q."""
    return torch.where(u < 0, 1 - quantile, quantile) * u.abs()


AGGREGATES = ("mean", "min", "lower")


def pooled(q: Tensor, how: str, doubt: float) -> Tensor:
    """Return one value (...) from an ensemble's (E, ...): mean, min, or lower = mean - doubt * deviation."""
    if how == "min":
        return q.amin(0)
    return q.mean(0) - doubt * q.std(0) if how == "lower" else q.mean(0)


@torch.no_grad()
def follow(target: Iterable[Tensor], online: Iterable[Tensor], tau: float) -> None:
    """Move targets after the optimiser's step: theta' <- theta' + tau (theta - theta').  Polyak and EMA."""
    if tau and not is_frozen():
        starts, ends = list(target), list(online)
        count = len(starts)

        def move(*every: Tensor) -> None:
            torch._foreach_lerp_(every[:count], every[count:], tau)

        across(move, *starts, *ends)


def ema_speed(update: int, decay: float, every: int, start: int, before: str = "copy") -> float:
    """Return tau of a slow average at `update`: 1 - decay every `every` updates, between them 0.

    Until `start` it copies (1), or with before "initial" stays as it was drawn (0).
    """
    if update % every:
        return 0.0
    if update >= start:
        return 1 - decay
    return 1.0 if before == "copy" else 0.0


def copy_of(net: Net) -> Net:
    """Return a frozen copy, to be a target network."""
    return deepcopy(net).requires_grad_(False)
