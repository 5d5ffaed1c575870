"""Optimiser: Adam over exactly its own parameters, a clip between backward and step, a decaying rate.

Cosine decay after s updates is lr (1 + cos(pi p)) / 2, with three readings of p over `decay_steps`:

    update    p = s / decay_steps
    epoch     p = floor(s / 1000) 1000 / decay_steps     once per epoch, as Diffusion-QL describes it
    as_run    p = floor(s / 50000) 1000 / decay_steps    once per 50 epochs, as its code does: constant
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from math import cos, pi
from typing import Any

import torch
from torch import Tensor

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
        kind = torch.optim.AdamW if weight_decay else torch.optim.Adam
        self.adam = kind(self.parameters, lr, fused=True, weight_decay=weight_decay)
        self.updates = 0

    def step(self, loss: Tensor) -> Tensor:
        """Take one step down `loss` and return the norm of the gradient before clipping.

        Gradients reach these parameters alone: autograd.grad leaves every other network untouched.
        """
        gradients = torch.autograd.grad(loss, self.parameters)
        norm = torch.nn.utils.get_total_norm(gradients)
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient.contiguous()  # the fused step reads memory in the parameter's order
        if self.clip > 0:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clip, norm)
        for group in self.adam.param_groups:
            group["lr"] = self.lr * decay_factor(self.decay, self.updates, self.decay_steps)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        self.updates += 1
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Return moments and counters: tensors and plain numbers."""
        return {"adam": self.adam.state_dict()["state"], "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take moments and counters back; learning rate, clip and decay stay those of the config."""
        groups = self.adam.state_dict()["param_groups"]
        own = deepcopy(state["adam"])  # torch would share the moments with whoever gave them
        self.adam.load_state_dict({"state": own, "param_groups": groups})
        self.updates = int(state["updates"])
