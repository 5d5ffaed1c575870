"""The choice among candidates follows its law, and rows are filled up without being touched."""

from __future__ import annotations

import pytest
import torch
from flow_windows import generators

from trajrl.agents.base.candidates import choose, densest, padded, padded_history, repeated
from trajrl.agents.base.protocol import History

EVEN = 1e9  # a temperature at which Q says nothing


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


def test_the_densest_lies_where_most_are() -> None:
    crowd, apart = torch.randn(9, 2, generator=generators(1)[0]), torch.tensor([[40.0, 0.0], [-40.0, 9.0]])
    both = torch.stack((torch.cat((crowd, apart)), torch.cat((apart, crowd))))
    found = densest(both, torch.zeros(1, 2, 11), EVEN)
    assert (crowd == found[0]).all(1).any()
    assert torch.equal(found[0], found[1])
    modes = torch.cat((torch.zeros(5, 1), torch.ones(7, 1)))[None]  # not between them, as a mean would be
    assert densest(modes, torch.zeros(1, 1, 12), EVEN).item() in (0, 1)


@pytest.mark.parametrize("count", [2, 3, 8, 32])
@pytest.mark.parametrize("temperature", [0.3, 2.0, EVEN])
def test_the_densest_is_its_formula_written_out(count: int, temperature: float) -> None:
    rng = generators(1)[0]
    candidates, q = torch.randn(30, count, 3, generator=rng), torch.randn(5, 30, count, generator=rng)
    found = densest(candidates, q, temperature, standardise=True)
    for row in range(30):
        least = q[:, row].min(0).values
        weight = torch.softmax((least - least.mean()) / least.std() / temperature, 0)
        reach = []
        for c in range(count):
            apart = (candidates[row] - candidates[row, c]).norm(dim=1)
            enough = [r for r in apart.tolist() if weight[apart <= r].sum() > 0.25 + 1e-6]
            reach.append((min(enough), -float(weight[c])))
        assert torch.equal(found[row], candidates[row, min(range(count), key=reach.__getitem__)])


def test_q_moves_the_densest_by_a_deviation_over_the_temperature() -> None:
    """exp(x / T) N(x; 0, 1) is N(x; 1 / T, 1) up to a factor."""
    candidates = torch.randn(300, 128, 1, generator=generators(1)[0])
    for temperature in (1.0, 2.0, 4.0):
        found = densest(candidates, 1000 * candidates[None, ..., 0], temperature, standardise=True)
        assert abs(float(found.mean()) - 1 / temperature) < 0.15
        assert found.std() < 0.6  # where a draw has 1


def test_the_densest_at_temperature_zero_is_the_best_and_of_one_that_one() -> None:
    candidates, q = actions(2, 3), torch.tensor([[[0.0, 3.0, 1.0], [0.0, 1.0, 2.0]]])
    assert densest(candidates, q, 0.0).flatten().tolist() == [1, 2]
    assert densest(candidates[:, :1], q[..., :1], 2.0, standardise=True).flatten().tolist() == [0, 0]
    level = torch.zeros(1, 2, 3)
    assert densest(candidates, level, 2.0, standardise=True).isfinite().all()


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
