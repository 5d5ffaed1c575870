"""HistoryEncoder: a GRU over cat(o_h, a_{h-1}); its top hidden state at the anchor joins the observation.

Padding must not touch the state (a GRU drifts on zero input because of its biases): real steps are shifted to
the front, the GRU runs over all H, and the output at the last real step is read.  Shapes stay static.
"""

from __future__ import annotations

from math import sqrt
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from trajrl.nets.image_encoder import ImageEncoder
from trajrl.nets.stacked import across, is_stacked

Head = TypeVar("Head", bound=nn.Module)
NARROWEST = 4  # a GRU's own products of fewer columns give a row other bits among other rows


class HistoryEncoder(nn.Module):
    """Observations (B, H, obs) -> context (B, obs + width); H = 1 builds no GRU, its context is o_t."""

    def __init__(
        self,
        history: int,
        obs_dim: int,
        action_dim: int,
        width: int,
        layers: int,
        rng: torch.Generator,
        *,
        actions: bool = True,
        images: ImageEncoder | None = None,
    ) -> None:
        """Build the GRU where there is a history; with `actions` it sees the action before each step.

        Args:
            images: makes features of an observation's images, which join its numbers
        """
        super().__init__()
        self.images = images
        obs_dim += images.width if images is not None else 0
        self.history, self.actions = history, actions
        self.context_dim = obs_dim + (width if history > 1 else 0)
        if history == 1:
            return
        if width < NARROWEST:
            raise ValueError(f"gru_width must be at least {NARROWEST}; got {width}")
        self.gru = nn.ParameterDict()  # names and order of torch.nn.GRU
        for layer, size in enumerate([obs_dim + (action_dim if actions else 0)] + [width] * (layers - 1)):
            for name, shape in (("weight_ih", (3 * width, size)), ("weight_hh", (3 * width, width))):
                self.gru[f"{name}_l{layer}"] = torch.empty(shape)
            for name in ("bias_ih", "bias_hh"):
                self.gru[f"{name}_l{layer}"] = torch.empty(3 * width)
        with torch.no_grad():
            for weight in self.gru.values():
                weight.uniform_(-1 / sqrt(width), 1 / sqrt(width), generator=rng)

    def forward(
        self, obs: Tensor, prev_actions: Tensor, mask: Tensor, images: tuple[Tensor, ...] = ()
    ) -> Tensor:
        """Return cat(o_t, c_t); what the mask (B, H) leaves out is never read."""
        if self.images is not None:
            if self.history == 1:  # what is not read is not encoded
                obs, images = obs[:, -1:], tuple(frames[:, -1:] for frames in images)
            obs = torch.cat((obs, self.images(images)), -1)  # (B, H, obs + features)
        now = obs[:, -1]  # (B, obs)
        if self.history == 1:
            return now
        steps = torch.cat((obs, prev_actions), -1) if self.actions else obs  # (B, H, in)
        inputs = to_front(steps, mask)
        last = (mask.sum(1) - 1).clamp(min=0)  # (B,) index of the anchor after the shift
        output = run(inputs, list(self.gru.values()))  # (B, H, width)
        read = output.gather(1, last[:, None, None].expand(-1, 1, output.shape[2]))  # (B, 1, width)
        return torch.cat((now, read[:, 0]), -1)


class HistoryNet(nn.Module, Generic[Head]):
    """A head and the encoder that gives it its context."""

    def __init__(self, encoder: HistoryEncoder, head: Head) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head


def run(inputs: Tensor, weights: list[Tensor]) -> Tensor:
    """Run the GRU: the top layer's outputs (B, H, width) for inputs (B, H, in)."""
    if is_stacked(weights[0]):
        return across(of_every_seed, inputs, *weights)
    fast = inputs.device.type == "cpu" and not torch.compiler.is_compiling()
    return (fused if fast else unrolled)(inputs, weights)


def fused(inputs: Tensor, weights: list[Tensor]) -> Tensor:
    """Run torch's GRU: the top layer's outputs (B, H, width) for inputs (B, H, in)."""
    layers = len(weights) // 4
    start = inputs.new_zeros(layers, len(inputs), weights[1].shape[1])
    return torch.gru(inputs, start, weights, True, layers, 0.0, False, False, True)[0]


def unrolled(inputs: Tensor, weights: list[Tensor]) -> Tensor:
    """Run the same step by step, for compilers and devices where torch's own does not fit."""
    for layer in range(0, len(weights), 4):
        w_in, w_hidden, b_in, b_hidden = weights[layer : layer + 4]
        from_input = nn.functional.linear(inputs, w_in, b_in)  # (B, H, 3 width)
        hidden, outputs = inputs.new_zeros(len(inputs), w_hidden.shape[1]), []
        for step in from_input.unbind(1):
            reset_x, update_x, new_x = step.chunk(3, 1)
            reset_h, update_h, new_h = nn.functional.linear(hidden, w_hidden, b_hidden).chunk(3, 1)
            candidate = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
            hidden = torch.lerp(candidate, hidden, torch.sigmoid(update_x + update_h))
            outputs.append(hidden)
        inputs = torch.stack(outputs, 1)
    return inputs


def of_every_seed(inputs: Tensor, *weights: Tensor) -> Tensor:
    """Run the same for every seed's inputs (R, B, H, in) and weights (R, ...)."""
    for layer in range(0, len(weights), 4):
        w_in, w_hidden, b_in, b_hidden = weights[layer : layer + 4]
        width, rows = w_hidden.shape[2], inputs.transpose(1, 2)  # (R, H, B, in)
        from_input = torch.baddbmm(b_in[:, None], rows.flatten(1, 2), w_in.mT).unflatten(1, rows.shape[1:3])
        hidden, outputs = inputs.new_zeros(*inputs.shape[:2], width), []
        for step in from_input.unbind(1):  # (R, B, 3 width)
            from_hidden = torch.baddbmm(b_hidden[:, None], hidden, w_hidden.mT)
            reset, update = (step + from_hidden)[..., : 2 * width].sigmoid().chunk(2, -1)
            candidate = torch.tanh(step[..., 2 * width :] + from_hidden[..., 2 * width :] * reset)
            hidden = (hidden - candidate) * update + candidate  # in torch's own order: the same last bits
            outputs.append(hidden)
        inputs = torch.stack(outputs, 2)
    return inputs


def to_front(steps: Tensor, mask: Tensor) -> Tensor:
    """Shift the real steps (B, H, in), which end at the anchor, to the front; zeros follow them."""
    size = steps.shape[1]
    real = mask.sum(1)  # (B,)
    ahead = torch.arange(size, device=steps.device)  # (H,)
    source = (ahead + (size - real)[:, None]).clamp(max=size - 1)  # (B, H)
    moved = steps.gather(1, source[..., None].expand_as(steps))
    return torch.where((ahead < real[:, None])[..., None], moved, 0.0)
