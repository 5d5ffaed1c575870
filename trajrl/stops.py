"""Stops: what ends a run before its time, and the one line that says what, where and how to go on.

A number that is not finite   the term, the batch, the episodes; what failed is kept beside the checkpoints
Memory that is not there      the update and the size of its batch
In both cases the last checkpoint is from before it, and --resume goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from trajrl import checkpoint

if TYPE_CHECKING:
    from trajrl.store.window import Anchors
    from trajrl.train import Run

SHOWN = 8  # episodes named in the line; all are in the file


def require_finite(
    run: Run, step: int, anchors: Anchors, td_error: np.ndarray, metrics: Mapping[str, torch.Tensor]
) -> None:
    """Stop the run if the update of a batch gave NaN or inf."""
    values = torch.stack([value.detach().double() for value in metrics.values()]) if metrics else None
    whole = values is None or bool(values.isfinite().all())  # td_error was read already: no further wait
    if whole and np.isfinite(td_error).all():
        return
    found = [] if values is None else [n for n, ok in zip(metrics, values.isfinite().tolist()) if not ok]
    rows = np.flatnonzero(~np.isfinite(td_error))
    rows = rows if len(rows) else np.arange(len(td_error))
    episodes = np.unique(anchors.episode[rows])
    batch = {"episode": anchors.episode, "step": anchors.step, "td_error": td_error, "terms": found}
    kept = run.folder / "checkpoints" / f"failed-{step:09d}"
    if run.team.leads:
        checkpoint.keep_failed(kept, run.agent.state_dict(), batch)
    named = ", ".join(map(str, episodes[:SHOWN])) + (" ..." if len(episodes) > SHOWN else "")
    what = f"{', '.join(found[:3]) or 'the TD error'} is not a finite number"
    raise ValueError(
        f"{what} after batch {step} (seed {run.config.seed}): {len(rows)} of its {len(td_error)} rows are "
        f"hit, of episodes {named}; batch and weights are in {kept}; {way_on(run)}"
    )


@contextmanager
def out_of_memory(run: Run) -> Iterator[None]:
    """Turn a lack of memory into one line."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch has a kind of its own for devices alone
        lacking = isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
        if not lacking:
            raise
        said = (str(error).splitlines() or ["no memory"])[0]
        raise ValueError(
            f"out of memory on {run.agent.device} after {run.step} updates, batches of "
            f"{run.config.batch_size} windows ({said[:120]}): lower --batch-size, or give another --device; "
            f"{way_on(run)}"
        ) from error


def way_on(run: Run) -> str:
    """Say from where the run can go on."""
    last = checkpoint.follow(run.folder / "checkpoints", "latest")
    if last is None:
        return "there is no checkpoint before it"
    return f"{last.name} is from before it: --resume --out {run.folder} goes on from there"
