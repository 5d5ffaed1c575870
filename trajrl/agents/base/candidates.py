"""Acting: sample candidates for every environment, value them, choose one.

Each row draws from its own generator, and row counts are filled up to multiples of 8, at least 24: a matrix
product then gives a row the same bits whatever rows stand beside it, and an episode does not depend on how
many environments are stepped together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trajrl.agents.base.protocol import History
from trajrl.nets.one_step import Proposer

BLOCK, LEAST = 8, 24


def padded(rows: Tensor) -> Tensor:
    """Repeat the last row (M, ...) until the count is a multiple of BLOCK and at least LEAST."""
    missing = max(LEAST, -(-len(rows) // BLOCK) * BLOCK) - len(rows)
    return torch.cat((rows, rows[-1:].expand(missing, *rows.shape[1:]))) if missing else rows


def padded_history(history: History) -> History:
    """Fill up the rows of a history."""
    return history.each(padded)


def repeated(context: Tensor, count: int) -> Tensor:
    """Repeat every context (V, ctx) for its candidates, and fill up: (rows, ctx), rows at least V count."""
    return padded(context.repeat_interleave(count, 0))


def draw_candidates(
    policy: Proposer, context: Tensor, count: int, width: int, rng: Sequence[torch.Generator]
) -> Tensor:
    """Sample `count` actions for each of V rows: (rows, D) for the `repeated` context (rows, ctx).

    Args:
        width: D, the size of a flattened chunk.
    """
    size = policy.draws, count, width
    noise = torch.stack([torch.randn(size, generator=row) for row in rng])  # (V, draws, C, D)
    rows = noise.transpose(1, 2).flatten(0, 1)  # (V C, draws, D)
    return policy.sample(context, padded(rows).transpose(0, 1).to(context.device))


def valued_candidates(
    policy: Proposer,
    critic: Callable[[Tensor, Tensor], Tensor],
    context: Tensor,
    view: Tensor,
    count: int,
    width: int,
    rng: Sequence[torch.Generator],
) -> tuple[Tensor, Tensor]:
    """Sample `count` actions for each of V rows and value them: (V, C, D) and Q_j (E, V, C) of every critic.

    Args:
        context: what the policy sees, (V, ctx)
        view: what the critics see, (V, ctx)
        width: D, the size of a flattened chunk
    """
    rows = len(rng)
    actions = draw_candidates(policy, repeated(context, count), count, width, rng)  # (V C or more, D)
    q = critic(repeated(view, count), actions)[:, : rows * count]  # (E, V C)
    return actions[: rows * count].view(rows, count, width), q.view(-1, rows, count)


def choose(
    actions: Tensor,
    q: Tensor,
    temperature: float,
    rng: Sequence[torch.Generator],
    standardise: bool = False,
    doubt: float = 0.0,
) -> Tensor:
    """Draw one of the candidates (V, C, D) by softmax(min_j Q_j / temperature); at temperature 0 the best.

    Args:
        q: of every critic, (E, V, C)
        standardise: centre Q over each row's candidates and take it in `units` first, so that a temperature
            means the same whatever the scale of the rewards.
        doubt: of those units
    """
    least = q.amin(0)  # (V, C)
    if least.shape[1] == 1:
        return actions[:, 0]
    if standardise:
        least = (least - least.mean(1, keepdim=True)) / units(q, doubt).clamp(min=1e-6)
    if temperature > 0:
        # The first to ring of exponential clocks with rates p is a draw from p.
        clocks = torch.stack([torch.empty(least.shape[1]).exponential_(generator=row) for row in rng])
        least = torch.softmax(least / temperature, 1) / clocks.to(least.device)
    return actions[torch.arange(len(least), device=least.device), least.argmax(1)]


def units(q: Tensor, doubt: float) -> Tensor:
    """Return what the differences between a row's candidates are measured in, (V, 1), from q (E, V, C).

        u^2 = (1 - doubt) var_c min_j Q_j + doubt mean_c var_j A_jc,   A_jc = Q_jc - mean_c Q_jc

    At 0 it is their own spread: somebody always stands out, were it by noise.  At 1 it is the disagreement of
    the critics about them: where that is larger than the differences, the choice is nearly even.
    """
    spread = q.amin(0).std(1, keepdim=True)
    if doubt == 0:
        return spread
    apart = q - q.mean(2, keepdim=True)
    disagreement = apart.var(0).mean(1, keepdim=True)  # (V, 1)
    return ((1 - doubt) * spread.square() + doubt * disagreement).sqrt()
