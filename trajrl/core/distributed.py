"""Team: the processes that learn one run together, each from its share of every batch's rows.

    S = sum_r S_r              a sum over the rows of the whole batch; its gradient goes to the rows of all
    g = 1/W sum_r dL_r/dtheta  every process has the same loss L_r = L(S, theta); the optimiser averages

g is the gradient that one process would take from all the rows, for any function of such sums.  Anchors and
noise are drawn by all for the whole batch, and each takes its slice: no stream knows a rank.  Outside of
`Team.learning`, and in a process that is alone, the functions below return what they are given.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(hours=12)  # how long the others wait while the first process evaluates


class Share(NamedTuple):
    """Rows [bounds[rank], bounds[rank + 1]) of a batch of bounds[-1] rows."""

    rank: int
    bounds: tuple[int, ...]

    @property
    def own(self) -> slice:
        """Return the rows of this process."""
        return slice(self.bounds[self.rank], self.bounds[self.rank + 1])


_share: Share | None = None  # of the batch that is learned from now; None: this process learns alone


@dataclass(frozen=True)
class Team:
    """One process of `size`; the first writes the run's folder, the others learn and are silent."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # the place among the processes of this machine

    @property
    def leads(self) -> bool:
        """Say whether this process writes."""
        return self.rank == 0

    def share(self, rows: int, unit: int = 1) -> Share:
        """Return this process's share of a batch; shares begin at multiples of `unit` rows."""
        units = rows // unit
        if units < self.size:
            raise ValueError(f"{units} rows cannot be shared by {self.size} processes; raise batch_size")
        starts = (unit * (units * r // self.size) for r in range(self.size))
        return Share(self.rank, (*starts, rows))

    @contextmanager
    def learning(self, rows: int, unit: int = 1) -> Iterator[slice]:
        """Learn from a batch of `rows` rows together; yields which of them are this process's."""
        global _share
        if self.size == 1:
            yield slice(0, rows)
            return
        _share = self.share(rows, unit)
        try:
            yield _share.own
        finally:
            _share = None

    def any(self, flag: bool) -> bool:
        """Say, to all alike, whether one of the processes says so."""
        if self.size == 1:
            return flag
        found = torch.tensor([float(flag)])
        _collect(dist.all_reduce, found, op=dist.ReduceOp.MAX)
        return bool(found)

    def all(self, number: int) -> list[int]:
        """Return what each process passes here, in order of rank."""
        if self.size == 1:
            return [number]
        found = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        _collect(dist.all_gather, found, torch.tensor([number]))
        return [int(part) for part in found]

    def broadcast(self, word: Any) -> Any:
        """Return what the first process passes here, a text or what JSON knows; the others' is ignored."""
        if self.size == 1:
            return word
        held = [word]
        _collect(dist.broadcast_object_list, held, src=0, device=torch.device("cpu"))
        return held[0]

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let the first process go first: what it fetches or refuses is not fetched or refused twice."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            _collect(dist.barrier)

    def device(self, chosen: torch.device) -> torch.device:
        """Return the device of this process: each has a GPU of its own."""
        if self.size == 1 or chosen.type != "cuda":
            return chosen
        here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", self.size)), torch.cuda.device_count()
        if here > gpus or (here > 1 and chosen.index is not None):
            raise ValueError(
                f"{here} processes on a machine need a GPU each, and {gpus} {'is' if gpus == 1 else 'are'} "
                "there: give fewer processes, or --device cuda without a number, or --device cpu"
            )
        own = torch.device("cuda", self.local_rank)
        torch.cuda.set_device(own)
        return own


def from_environment() -> Team:
    """Return the place that torchrun gave this process; alone where it was started by itself."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    rank, size, local = (int(os.environ.get(name, default)) for name, default in zip(names, (0, 1, 0)))
    return Team(rank, size, local)


@contextmanager
def joined(team: Team) -> Iterator[Team]:
    """Join the other processes; leave when all are done, or at once where one of them has failed."""
    if team.size == 1:
        yield team
        return
    both = torch.cuda.is_available() and dist.is_nccl_available()
    _collect(dist.init_process_group, "cpu:gloo,cuda:nccl" if both else "gloo", timeout=PATIENCE)
    yield team
    team.wait()
    dist.destroy_process_group()


def leave(code: int) -> None:
    """End this process at once where the others were not left in order; else return.

    The threads that served them would abort the interpreter in the middle of its own ending.
    """
    if dist.is_available() and dist.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def all_reduce_sum(*parts: Tensor) -> Sequence[Tensor]:
    """Return sums () over the whole batch, given those over one's own rows; gradients reach every row."""
    if _share is None:
        return parts
    kind = torch.promote_types(parts[0].dtype, torch.float32)  # counts do not fit a bfloat16
    return _Total.apply(torch.stack([part.to(kind) for part in parts])).unbind()


def all_gather_rows(part: Tensor) -> Tensor:
    """Return the rows (B, ...) of the whole batch in their order, given one's own; without a gradient."""
    if _share is None:
        return part
    sizes = [stop - start for start, stop in zip(_share.bounds, _share.bounds[1:])]
    assert len(part) == sizes[_share.rank]
    sent = part.detach().new_zeros(max(sizes), *part.shape[1:])
    sent[: len(part)] = part.detach()
    sent = sent.to(torch.uint8) if part.dtype == torch.bool else sent
    found = [torch.empty_like(sent) for _ in sizes]
    _collect(dist.all_gather, found, sent)
    return torch.cat([rows[:size] for rows, size in zip(found, sizes)]).to(part.dtype)


def whole_rows(own: int) -> int:
    """Return how many rows the whole batch has, of which `own` are this process's."""
    if _share is None:
        return own
    return own * _share.bounds[-1] // (_share.own.stop - _share.own.start)


def local_rows(drawn: Tensor, axis: int = 0) -> Tensor:
    """Return one's own slice of what was drawn for the whole batch, whose rows lie along `axis`."""
    if _share is None:
        return drawn
    size, rows = drawn.shape[axis], _share.bounds[-1]
    first, stop = _share.own.start * size // rows, _share.own.stop * size // rows
    return drawn.narrow(axis, first, stop - first)


def averaged(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients averaged over all processes."""
    if _share is None:
        return list(gradients)
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    _collect(dist.all_reduce, flat)
    flat /= len(_share.bounds) - 1
    parts = flat.split([gradient.numel() for gradient in gradients])
    return [part.view_as(gradient) for part, gradient in zip(parts, gradients)]


class _Total(torch.autograd.Function):
    """The sum over processes; its gradient is the sum of what comes back in each."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor) -> Tensor:
        found = parts.detach().clone()
        _collect(dist.all_reduce, found)
        return found

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        found = upstream[0].clone()
        _collect(dist.all_reduce, found)
        return found


def _collect(call: Callable[..., Any], *values: Any, **options: Any) -> None:
    """Call a collective; where another process is gone, say so in one line."""
    try:
        call(*values, **options)
    except RuntimeError as error:
        raise ConnectionError(
            f"another process of this run has ended (its own line says why): process {os.environ['RANK']} of "
            f"{os.environ['WORLD_SIZE']} ends too; where the run has a checkpoint, --resume continues from it"
        ) from error
