"""The choice among candidates follows its law, and rows are filled up without being touched."""

from __future__ import annotations

import pytest
import torch
from flow_windows import generators

from trajrl.agents.base.candidates import choose, padded, padded_history, repeated, units
from trajrl.agents.base.protocol import History


def actions(rows: int, count: int) -> torch.Tensor:
    """Candidate j of every row is the number j."""
    return torch.arange(count, dtype=torch.float32).expand(rows, count)[..., None]


def test_choice_is_softmax_of_q() -> None:
    q = torch.tensor([0.0, 1.0, -1.0, 2.0]).expand(4000, 4)
    found = choose(actions(4000, 4), q[None], 0.5, generators(4000))[:, 0]
    share = torch.bincount(found.long(), minlength=4) / 4000
    assert (share - torch.softmax(q[0] / 0.5, 0)).abs().max() < 0.03


def test_temperature_zero_takes_the_best_and_one_candidate_is_taken() -> None:
    q = torch.tensor([[0.0, 3.0, 1.0]])
    assert choose(actions(1, 3), q[None], 0.0, generators(1)).item() == 1
    assert choose(actions(1, 1), q[None, :, :1], 1.0, generators(1)).item() == 0


def test_standardised_choice_is_free_of_scale_and_shift() -> None:
    q = torch.randn(1, 50, 8, generator=generators(1)[0])
    one = choose(actions(50, 8), q, 0.5, generators(50), standardise=True)
    other = choose(actions(50, 8), 1000 * q - 77, 0.5, generators(50), standardise=True)
    assert torch.equal(one, other)
    level = torch.zeros(1, 50, 8)
    assert choose(actions(50, 8), level, 0.5, generators(50), standardise=True).unique().numel() > 3


def test_the_least_critic_counts() -> None:
    q = torch.tensor([[[0.0, 3.0, 1.0]], [[0.0, -5.0, 2.0]]])
    assert choose(actions(1, 3), q, 0.0, generators(1)).item() == 2


def test_units_are_their_formula() -> None:
    q = torch.tensor([[[0.0, 2.0, 4.0]], [[1.0, 1.0, 7.0]]])  # least: 0, 1, 4; apart: -2, 0, 2 and -2, -2, 4
    spread, disagreement = (5 / 3) ** 2 + (2 / 3) ** 2 + (7 / 3) ** 2, (0 + 2 + 2) / 3
    for doubt in (0.0, 0.3, 1.0):
        expected = ((1 - doubt) * spread / 2 + doubt * disagreement) ** 0.5
        assert units(q, doubt).item() == pytest.approx(expected, rel=1e-6)


def test_what_critics_disagree_about_more_is_chosen_by_less() -> None:
    q = torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(2, 4000, 4)
    errors = torch.tensor([[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0]])[:, None]  # the least: 1 below Q
    shares = []
    for noise in (0.01, 1.0, 100.0):
        doubtful = (q + noise * errors, 1.0, generators(4000), True, 1.0)
        shares.append((choose(actions(4000, 4), *doubtful)[:, 0] == 3).float().mean().item())
    assert shares[0] == 1
    assert 0.3 < shares[1] < 0.5  # e^(1 / sqrt 2) : 1 : 1 : 1
    assert shares[2] == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(("rows", "filled"), [(1, 24), (24, 24), (25, 32), (50, 56)])
def test_rows_are_filled_up_to_blocks(rows: int, filled: int) -> None:
    x = torch.randn(rows, 3, generator=generators(1)[0])
    assert padded(x).shape == (filled, 3)
    assert torch.equal(padded(x)[:rows], x)
    seen, frames = torch.ones(rows, 1, dtype=torch.bool), torch.ones(rows, 1, 4, 4, 3, dtype=torch.uint8)
    history = padded_history(History(x[:, None], x[:, None], seen, (frames,)))
    assert all(len(part) == filled for part in (*history[:3], *history.images))


def test_contexts_are_repeated_row_by_row() -> None:
    x = torch.tensor([[1.0], [2.0]])
    assert repeated(x, 9)[:18, 0].tolist() == [1.0] * 9 + [2.0] * 9
