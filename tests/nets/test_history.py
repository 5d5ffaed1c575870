"""The history encoder reads real steps alone, and reads them as a step-by-step GRU would."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trajrl.core.rng import torch_stream
from trajrl.nets.history import NARROWEST, HistoryEncoder, fused, to_front, unrolled

OBS, ACT, WIDTH = 2, 1, 5


def build(history: int, layers: int = 1, actions: bool = True) -> HistoryEncoder:
    return HistoryEncoder(history, OBS, ACT, WIDTH, layers, torch_stream(0, "init"), actions=actions)


def episode(length: int) -> tuple[Tensor, Tensor]:
    """Return observations (T, obs) and the action before each (T, act), zero at the start."""
    rng = torch_stream(1, "test")
    before = torch.randn(length, ACT, generator=rng)
    before[0] = 0
    return torch.randn(length, OBS, generator=rng), before


def window(values: Tensor, t: int, history: int) -> Tensor:
    """Return the `history` rows that end at t, zeros before the start: (1, H, width)."""
    rows = [values[i] if i >= 0 else torch.zeros_like(values[0]) for i in range(t - history + 1, t + 1)]
    return torch.stack(rows)[None]


@pytest.mark.parametrize("layers", [1, 2])
def test_unrolled_gru_is_torchs(layers: int) -> None:
    weights, rng = list(build(4, layers).gru.values()), torch_stream(2, "test")
    x = torch.randn(3, 4, OBS + ACT, generator=rng)
    torch.testing.assert_close(unrolled(x, weights), fused(x, weights), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("actions", [True, False])
def test_context_is_the_state_of_a_gru_run_step_by_step(layers: int, actions: bool) -> None:
    history, (obs, before) = 4, episode(7)
    encoder = build(history, layers, actions)
    gru = nn.GRU(OBS + actions * ACT, WIDTH, layers)
    for own, theirs in zip(encoder.gru.values(), gru.parameters()):
        theirs.data = own.data
    for t in range(7):
        mask = torch.tensor([[t - history + 1 + i >= 0 for i in range(history)]])
        found = encoder(window(obs, t, history), window(before, t, history), mask)
        state = None
        for i in range(max(0, t - history + 1), t + 1):
            step = torch.cat((obs[i], before[i])) if actions else obs[i]
            output, state = gru(step[None, None], state)
        expected = torch.cat((obs[t], output[0, -1]))[None]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_padding_never_reaches_the_state() -> None:
    encoder, (obs, before) = build(4), episode(2)
    mask = torch.tensor([[False, False, True, True]])
    clean = encoder(window(obs, 1, 4), window(before, 1, 4), mask)
    dirty = [
        part.masked_fill(~mask[..., None], float("nan")) for part in (window(obs, 1, 4), window(before, 1, 4))
    ]
    assert torch.equal(clean, encoder(*dirty, mask))


def test_real_steps_move_to_the_front_in_order() -> None:
    steps = torch.tensor([[[9.0], [1.0], [2.0]], [[4.0], [5.0], [6.0]]])
    mask = torch.tensor([[False, True, True], [True, True, True]])
    assert to_front(steps, mask)[..., 0].tolist() == [[1, 2, 0], [4, 5, 6]]


def test_history_of_one_builds_nothing_and_gives_the_observation() -> None:
    encoder, (obs, before) = build(1), episode(1)
    assert list(encoder.parameters()) == []
    assert encoder.context_dim == OBS
    assert torch.equal(encoder(obs[None], before[None], torch.ones(1, 1, dtype=torch.bool)), obs)


def test_initial_weights_have_the_law_of_torch() -> None:
    encoder = build(3)
    bound = 1 / WIDTH**0.5
    for parameter in encoder.parameters():
        assert parameter.abs().max() <= bound
        assert parameter.abs().max() > 0.5 * bound
    assert [p.shape for p in encoder.parameters()] == [p.shape for p in nn.GRU(OBS + ACT, WIDTH).parameters()]


@pytest.mark.parametrize("width", [NARROWEST, 5, 33])
@pytest.mark.parametrize("inputs", [1, 2, 23])
def test_a_row_does_not_feel_the_rows_beside_it(inputs: int, width: int) -> None:
    rng = torch_stream(2, "test")
    encoder = HistoryEncoder(3, inputs, 0, width, 1, rng)
    obs, none = torch.randn(200, 3, inputs, generator=rng), torch.zeros(200, 3, 0)
    rows = obs, none, torch.ones(200, 3, dtype=torch.bool)
    whole = encoder(*rows)
    for count in (24, 40, 56, 104):
        assert torch.equal(encoder(*(part[:count] for part in rows)), whole[:count])
        assert torch.equal(encoder(*(part[-count:] for part in rows)), whole[-count:])


def test_a_gru_too_narrow_for_that_is_refused() -> None:
    with pytest.raises(ValueError, match="gru_width must be at least 4; got 3"):
        HistoryEncoder(2, 1, 1, 3, 1, torch_stream(0, "init"))
