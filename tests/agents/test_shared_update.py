"""An update shared by processes is that of one process, for every agent and every branch of its losses."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
import torch
from flow_windows import random_windows, weights_of
from test_contract import OTHER_CHOICES, tiny
from together import together

from trajrl.agents import AGENTS
from trajrl.core.distributed import Team, all_gather_rows, all_reduce_sum, local_rows, whole_rows
from trajrl.core.rng import torch_stream
from trajrl.store.window import SequenceBatch

CASES = [(name, choice) for name in sorted(AGENTS) for choice in ({}, *OTHER_CHOICES.get(name, ()))]
MORE = {
    "acfql": {"normalize_q": True}, "rlpd": {"utd": 2, "bc_alpha": 0.1}, "qg": {"q_scale": "mean"},
    "stratified_ql": {"clusters": 3, "subsample": 60, "refresh_every": 4},
    "trajectory_ql": {"beta": 0.5},
}  # fmt: skip
FEW = [case for case in CASES if not case[1]]
UPDATES, ROWS = 8, 26
SINGLE = {"stratified_ql"}  # its clusters are kept in single precision


@pytest.mark.parametrize(
    ("cases", "count"), [("few", len(FEW)), pytest.param("every", len(CASES), marks=pytest.mark.slow)]
)
def test_every_agent_learns_in_shares_as_alone(cases: str, count: int) -> None:
    for said in together(2, f"test_shared_update:{cases}"):
        found = dict(line.split() for line in said.splitlines() if ":" in line.split()[0])
        assert len(found) == count
        for case, difference in found.items():
            assert float(difference) < (2e-4 if case.split(":")[0] in SINGLE else 1e-9), case


@pytest.mark.slow
def test_fifty_updates_of_two_processes_are_those_of_one() -> None:
    for said in together(2, "test_shared_update:fifty"):
        far = [float(line.split()[1]) for line in said.splitlines() if line.startswith("fifty")]
        assert len(far) == 4
        assert max(far) < 1e-5


@pytest.mark.slow
def test_three_processes_share_rows_that_three_does_not_divide() -> None:
    assert len(together(3, "test_shared_update:shares")) == 3  # each checked its own share


def test_too_few_rows_for_the_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="1 rows cannot be shared by 2 processes; raise batch_size"):
        Team(0, 2).share(1)


def test_alone_everything_is_as_it_was() -> None:
    rows = torch.arange(3.0)
    with Team().learning(3) as own:
        assert own == slice(0, 3)
        assert (local_rows(rows) is rows, all_gather_rows(rows) is rows, whole_rows(3)) == (True, True, 3)
        assert all_reduce_sum(rows)[0] is rows


def shares(team: Team) -> None:
    """Called in three processes."""
    drawn = torch.arange(10.0)
    with team.learning(10) as own:
        assert local_rows(drawn).tolist() == drawn[own].tolist()
        assert len(local_rows(drawn)) == (3, 3, 4)[team.rank]
        assert whole_rows(len(local_rows(drawn))) == 10
        assert all_gather_rows(local_rows(drawn)).tolist() == drawn.tolist()
        assert all_gather_rows(local_rows(drawn) > 4).tolist() == (drawn > 4).tolist()
        assert local_rows(drawn.repeat_interleave(2)[None], 1).tolist() == [
            drawn[own].repeat_interleave(2).tolist()
        ]
        x = local_rows(drawn).clone().requires_grad_()
        (first,) = all_reduce_sum(x.square().sum())
        again = all_reduce_sum((first.detach() * x).sum())[0] * first  # a function of both
        (slope,) = torch.autograd.grad(again, x)
    y = drawn.clone().requires_grad_()
    square = y.square().sum()
    (expected,) = torch.autograd.grad((square.detach() * y).sum() * square, y)
    torch.testing.assert_close(slope / team.size, expected[own])


def few(team: Team) -> None:
    """Called in two processes: every agent in one setting."""
    compare(team, FEW)


def every(team: Team) -> None:
    """Called in two processes: every agent in every setting."""
    compare(team, CASES)


def compare(team: Team, cases: list[tuple[str, dict[str, Any]]]) -> None:
    """Train agents alone and in shares, and print how far apart they end."""
    for name, choice in cases:
        with precision(torch.float32 if name in SINGLE else torch.float64):
            options = choice or MORE.get(name, {})
            alone, shared = tiny(name, **options), tiny(name, **options)
            for step in range(UPDATES):
                batch = uneven(alone, step)
                expected = alone.update(batch, torch_stream(0, "agent", step))
                with team.learning(len(batch.steps), shared.updates_per_batch) as own:
                    update = shared.update(part_of(batch, own), torch_stream(0, "agent", step))
                    td_error = all_gather_rows(update.td_error)
                torch.testing.assert_close(td_error, expected.td_error, rtol=1e-2, atol=1e-3, equal_nan=True)
                assert update.metrics.keys() == expected.metrics.keys()
                for key, value in update.metrics.items():
                    torch.testing.assert_close(value, expected.metrics[key], rtol=1e-2, atol=1e-3, msg=key)
            left, right = weights_of(alone), weights_of(shared)
            print(
                f"{name}:{choice}".replace(" ", ""),
                max(float((left[n] - right[n]).abs().max()) for n in left),
            )


def fifty(team: Team) -> None:
    """Called in two processes: fifty updates in single precision, as runs do them."""
    for name, options in (
        ("diffusion_ql", {}), ("diffusion_ql", {"max_q_backup": True, "backup_candidates": 3}),
        ("trajectory_ql", {"chunk": 3, "horizon": 5, "history": 4}), ("trajectory_ql", {"beta": 0.5}),
    ):  # fmt: skip
        alone, shared = tiny(name, **options), tiny(name, **options)
        for step in range(50):
            batch = uneven(alone, step)
            alone.update(batch, torch_stream(0, "agent", step))
            with team.learning(len(batch.steps)) as own:
                part = part_of(batch, own)
                shared.update(part, torch_stream(0, "agent", step))
                counts = all_gather_rows(part.mask[:, 0])
            assert counts[: len(counts) // 2].sum() > 2 * counts[len(counts) // 2 :].sum()  # unequal
        left, right = weights_of(alone), weights_of(shared)
        print("fifty", max(float((left[n] - right[n]).abs().max()) for n in left))


def uneven(agent: Any, seed: int) -> SequenceBatch:
    """Draw windows of which most of the last half are padding: the processes have unequal valid counts."""
    batch = random_windows(agent.spec, ROWS * agent.updates_per_batch, seed)
    rows = len(batch.steps)
    none = torch.arange(rows) % 3 != 0
    none[: rows // 2] = False
    fields = batch._asdict()
    for name in ("action_mask", "mask", "next_mask"):
        if fields[name] is not None:
            fields[name] = fields[name] & ~none[:, None]
    fields["steps"] = torch.where(none, 0, batch.steps)
    kind = torch.get_default_dtype()
    return SequenceBatch(
        **{n: v.to(kind) if v is not None and v.is_floating_point() else v for n, v in fields.items()}
    )


def part_of(batch: SequenceBatch, own: slice) -> SequenceBatch:
    return SequenceBatch._make(None if part is None else part[own] for part in batch)


@contextmanager
def precision(kind: torch.dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
