"""The choice among candidates follows its law, and rows are filled up without being touched."""

from __future__ import annotations

import pytest
import torch
from flow_windows import generators

from trajrl.agents.base.candidates import choose, padded, padded_history, repeated, surest, typical
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


def test_the_typical_candidate_lies_where_most_are() -> None:
    crowd, apart = torch.randn(9, 2, generator=generators(1)[0]), torch.tensor([[40.0, 0.0], [-40.0, 9.0]])
    both = torch.stack((torch.cat((crowd, apart)), torch.cat((apart, crowd))))
    assert typical(both)[0] < 9
    assert typical(both)[1] == typical(both)[0] + 2
    modes = torch.cat((torch.zeros(5, 1), torch.ones(7, 1)))[None]  # not between them, as a mean would be
    assert modes[0, typical(modes)].item() in (0, 1)


def test_the_surest_is_its_formula_written_out() -> None:
    rng = generators(1)[0]
    candidates, q = torch.randn(30, 8, 3, generator=rng), torch.randn(5, 30, 8, generator=rng)
    for doubt in (0.5, 2.0):
        found = surest(candidates, q, doubt)
        for row in range(30):
            at = int(typical(candidates[row : row + 1]))
            bounds = [
                (q[:, row, c] - q[:, row, at]).mean() - doubt * (q[:, row, c] - q[:, row, at]).std()
                for c in range(8)
            ]
            best = max(range(8), key=lambda c: float(bounds[c]))
            assert torch.equal(found[row], candidates[row, best])


def test_what_critics_disagree_about_leaves_the_typical_one() -> None:
    rng = generators(1)[0]
    candidates = torch.randn(500, 16, 2, generator=rng)
    usual = candidates[torch.arange(500), typical(candidates)]
    noise = torch.randn(5, 500, 16, generator=rng)  # each critic errs for itself: nothing is known
    agreed = torch.randn(500, 16, generator=rng).expand(5, -1, -1)
    left = [(surest(candidates, noise, doubt) == usual).all(1).float().mean() for doubt in (0.5, 2.0, 50.0)]
    assert left[0] < 0.5 < left[1] < left[2]
    assert left[2] > 0.95
    best = candidates[torch.arange(500), agreed[0].argmax(1)]
    assert torch.equal(surest(candidates, agreed, 50.0), best)  # no disagreement, no doubt


def test_the_surest_of_one_is_that_one_and_of_two_a_choice() -> None:
    candidates, q = actions(3, 2), torch.tensor([[[0.0, 1.0], [2.0, 1.0], [0.0, 0.0]]]).expand(2, -1, -1)
    assert surest(candidates[:, :1], q[..., :1], 2.0).flatten().tolist() == [0, 0, 0]
    assert surest(candidates, q, 2.0).flatten().tolist() == [1, 0, 0]


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
