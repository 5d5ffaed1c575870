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
SHARE = 0.25 + 1e-6  # of the candidates' weight that lies around the densest; above a quarter in any rounding


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
    actions: Tensor, q: Tensor, temperature: float, rng: Sequence[torch.Generator], standardise: bool = False
) -> Tensor:
    """Draw one of the candidates (V, C, D) by softmax(min_j Q_j / temperature); at temperature 0 the best.

    Args:
        q: of every critic, (E, V, C)
        standardise: centre and scale Q over each row's candidates first, so that a temperature means the
            same whatever the scale of the rewards.
    """
    least = judged(q, standardise)
    if least.shape[1] == 1:
        return actions[:, 0]
    if temperature > 0:
        # The first to ring of exponential clocks with rates p is a draw from p.
        clocks = torch.stack([torch.empty(least.shape[1]).exponential_(generator=row) for row in rng])
        least = torch.softmax(least / temperature, 1) / clocks.to(least.device)
    return picked(actions, least.argmax(1))


def densest(actions: Tensor, q: Tensor, temperature: float, standardise: bool = False) -> Tensor:
    """Return the candidate where what `choose` draws by is densest, as (V, D); at temperature 0 the best.

        w_c = softmax_c(min_j Q_j / temperature)
        r_c = the least r with sum_{|a_k - a_c| <= r} w_k > SHARE,   argmin_c r_c, of equals the greatest w

    No noise of a draw is executed, and an error of Q moves the choice only as far as many candidates go too.
    """
    least = judged(q, standardise)
    if temperature == 0:
        return picked(actions, least.argmax(1))
    weight = torch.softmax(least / temperature, 1)  # (V, C)
    squared = (actions[:, :, None] - actions[:, None]).square().sum(-1)  # (V, C, C)
    near, order = squared.sort(2)
    within = weight[:, None].expand_as(squared).gather(2, order).cumsum(2)
    missing = (within <= SHARE).sum(2, keepdim=True).clamp(max=actions.shape[1] - 1)
    reach = near.gather(2, missing)[..., 0]  # (V, C)
    return picked(actions, weight.masked_fill(reach > reach.amin(1, keepdim=True), -1.0).argmax(1))


def judged(q: Tensor, standardise: bool) -> Tensor:
    """Return min_j Q_j (V, C) of Q (E, V, C); standardised: centred and scaled over each row's candidates."""
    least = q.amin(0)
    if standardise and least.shape[1] > 1:
        least = (least - least.mean(1, keepdim=True)) / least.std(1, keepdim=True).clamp(min=1e-6)
    return least


def picked(actions: Tensor, place: Tensor) -> Tensor:
    """Return the action (V, D) in each row's place (V,) among its candidates (V, C, D)."""
    return actions[torch.arange(len(place), device=place.device), place]
