"""Optimiser: Adam over exactly its own parameters, a clip between backward and step, a decaying rate.

Cosine decay after s updates is lr (1 + cos(pi p)) / 2, with three readings of p over `decay_steps`:

    update    p = s / decay_steps
    epoch     p = floor(s / 1000) 1000 / decay_steps     once per epoch, as Diffusion-QL describes it
    as_run    p = floor(s / 50000) 1000 / decay_steps    once per 50 epochs, as its code does: constant
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import cos, pi
from typing import Any

import torch
from torch import Tensor

from trajrl.core.distributed import averaged
from trajrl.nets.frozen import is_frozen
from trajrl.nets.stacked import across

DECAYS = ("none", "update", "epoch", "as_run")
EPOCH = 1000  # updates per epoch in the published runs
EPOCHS_PER_CALL = 50  # epochs between two steps of their scheduler


def decay_factor(decay: str, update: int, decay_steps: int) -> float:
    """Return the factor on the learning rate after `update` updates; 1 without a decay or its length."""
    if decay == "none" or decay_steps <= 0:
        return 1.0
    every = {"update": 1, "epoch": EPOCH, "as_run": EPOCH * EPOCHS_PER_CALL}[decay]
    size = {"update": 1, "epoch": EPOCH, "as_run": EPOCH}[decay]
    progress = min(1.0, (update // every) * size / decay_steps)
    return (1 + cos(pi * progress)) / 2


class Optimiser:
    """Adam for one network (or several that learn from one loss)."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        *,
        clip: float = 0.0,
        decay: str = "none",
        decay_steps: int = 0,
        weight_decay: float = 0.0,
    ) -> None:
        """Own `parameters`; `clip` bounds the norm of their gradient where positive."""
        if decay not in DECAYS:
            raise ValueError(f"decay is one of {', '.join(DECAYS)}; got '{decay}'")
        self.parameters = [p for p in parameters if p.requires_grad]
        self.lr, self.clip, self.decay, self.decay_steps = lr, clip, decay, decay_steps
        self.weight_decay = weight_decay
        self.first = [torch.zeros_like(p) for p in self.parameters]  # running mean of the gradient
        self.second = [torch.zeros_like(p) for p in self.parameters]  # and of its square
        device = self.parameters[0].device
        self.count = torch.zeros((), dtype=torch.float32, device=device)  # steps taken
        kind = torch.float64 if device.type == "cpu" else torch.float32  # as the fused step reads it there
        self.rate = torch.full((), lr, dtype=kind, device=device)  # at the next step
        self.factor = 1.0  # that it holds

    def prepare(self, update: int, share: float = 1.0) -> None:
        """Set the rate of the steps to come: those of one update, counted over the run, and a share of it."""
        factor = share * decay_factor(self.decay, update, self.decay_steps)
        if factor != self.factor:
            self.rate.fill_(self.lr * factor)
            self.factor = factor

    def step(self, loss: Tensor) -> Tensor:
        """Take one step down `loss` and return the norm of the gradient before clipping.

        Gradients reach these parameters alone: autograd.grad leaves every other network untouched.  The fused
        step is called as it is: torch's Adam around it takes longer than the step itself on small networks.
        Frozen, none is taken, and the norm is 0.
        """
        if is_frozen():
            return torch.zeros_like(loss)
        return across(self._descend, loss)

    @torch.no_grad()
    def _descend(self, loss: Tensor) -> Tensor:
        """Take the step of one loss (), or of every seed's (R,) where the parameters are a stack's."""
        found = averaged(torch.autograd.grad(loss, self.parameters, torch.ones_like(loss)))
        gradients = [part.contiguous() for part in found]  # the step reads memory in the parameter's order
        norm = norm_of(gradients, loss.shape)
        divisor = ((norm + 1e-6) / self.clip).clamp_(min=1).float() if self.clip > 0 else None
        if divisor is not None and divisor.dim():  # the fused step has one for all
            by_seed = [divisor.view(-1, *[1] * (part.dim() - 1)) for part in gradients]
            torch._foreach_div_(gradients, by_seed)
            divisor = None
        kind = torch._fused_adamw_ if self.weight_decay else torch._fused_adam_
        self.count += 1
        kind(
            self.parameters, gradients, self.first, self.second, [], [self.count] * len(gradients),
            lr=self.rate, beta1=0.9, beta2=0.999, weight_decay=self.weight_decay, eps=1e-8,
            amsgrad=False, maximize=False, grad_scale=divisor,
        )  # fmt: skip
        torch.clear_autocast_cache()  # the weights in half precision that it holds are those of before
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Return moments and the number of steps."""
        moments = {
            index: {"step": self.count, "exp_avg": first, "exp_avg_sq": second}
            for index, (first, second) in enumerate(zip(self.first, self.second))
        }
        return {"adam": moments}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore moments and number; learning rate, clip and decay stay those of the config."""
        for index, (first, second) in enumerate(zip(self.first, self.second)):
            first.copy_(state["adam"][index]["exp_avg"])
            second.copy_(state["adam"][index]["exp_avg_sq"])
            self.count.copy_(state["adam"][index]["step"])

    def stack(self, seeds: Sequence[Optimiser]) -> None:
        """Serve parameters (R, ...) stacked of those of `seeds`, whose moments become views of its own."""
        for name in ("first", "second"):
            every = [torch.stack(parts) for parts in zip(*(getattr(one, name) for one in seeds))]
            setattr(self, name, every)
            for r, one in enumerate(seeds):
                setattr(one, name, [part[r] for part in every])
        for one in seeds:
            one.count = self.count


def norm_of(gradients: list[Tensor], seeds: torch.Size) -> Tensor:
    """Return the norm () of all gradients together; where they are of R seeds, (R, ...), each seed's (R,)."""
    if not seeds:
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    parts = [torch.linalg.vector_norm(part.view(*seeds, -1), dim=1) for part in gradients]
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)
