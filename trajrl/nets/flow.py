"""Flow matching: a velocity field carries noise x_0 ~ N(0, I) at time u = 0 to an action x_1 = a at u = 1.

    x_u = (1 - u) x_0 + u a        dx/du = a - x_0        L_flow = mean (v(o, x_u, u) - (a - x_0))^2

Sampling is explicit Euler at u = 0, 1/J, .., (J-1)/J.  Lipman et al. 2023, with the straight paths of FQL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trajrl.nets.mlp import MLP, affine

Velocity = Callable[[Tensor, float], Tensor]  # (x (..., D), u) -> dx/du (..., D)


def straight_path(actions: Tensor, noise: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """Return x_u and dx/du, both (B, D), of actions and noise (B, D) at time (B, 1)."""
    return (1 - time) * noise + time * actions, actions - noise


def euler(velocity: Velocity, noise: Tensor, steps: int) -> Tensor:
    """Carry noise (..., D) from u = 0 to u = 1 in `steps` equal steps; the result is not clipped."""
    x = noise
    for j in range(steps):
        x = x + velocity(x, j / steps) / steps  # (..., D)
    return x


class VelocityField(nn.Module):
    """v(o, x, u) = MLP(cat(o, x, u)); the time enters as one raw number."""

    def __init__(
        self,
        context_dim: int,
        action_dim: int,
        hidden: Sequence[int],
        rng: torch.Generator,
        *,
        activation: str = "gelu",
        layer_norm: str = "none",
        init: str = "xavier",
    ) -> None:
        super().__init__()
        self.context_dim = context_dim
        self.net = MLP(
            context_dim + action_dim + 1, hidden, action_dim, rng,
            activation=activation, layer_norm=layer_norm, init=init, norm_eps=1e-6,
        )  # fmt: skip

    def forward(self, context: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """Return dx/du (B, D) at context (B, ctx), x (B, D) and time (B, 1)."""
        return self.net(torch.cat((context, x, time), -1))

    def sample(self, context: Tensor, noise: Tensor, steps: int) -> Tensor:
        """Return actions (B, D) in [-1, 1] from context (B, ctx) and noise (B, D).

        The context's share of the first layer is the same at every time, and computed once.
        """
        (weight, bias), c = self.net.first(), self.context_dim
        share = affine(context, weight[:, :c], bias)  # (B, hidden)
        of_x, of_time = weight[:, c:-1], weight[:, -1]  # (hidden, D), (hidden,)

        def velocity(x: Tensor, u: float) -> Tensor:
            return self.net.with_first(x, of_x, share + u * of_time)

        return euler(velocity, noise, steps).clamp(-1, 1)
