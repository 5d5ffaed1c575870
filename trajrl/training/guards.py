"""Guards: what ends a run before its time, and the one line that says what, where and how to continue.

A number that is not finite   the term, the batch, the episodes; what failed is kept beside the checkpoints
                              (weights as they were when it was read: on a GPU some updates later)
Memory that is not there      the update and the size of its batch
In both cases the last checkpoint is from before it, and --resume continues from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
import torch

from trajrl.training.run_dir import checkpoint

if TYPE_CHECKING:
    from trajrl.training.pending_updates import Read
    from trajrl.training.run import Run

SHOWN = 8  # episodes named in the line; all are in the file


def require_finite(run: Run, update: Read) -> None:
    """Stop the run if an update gave NaN or inf; a TD error of NaN is a row that was not used."""
    step, drawn, td_error, metrics = update
    anchors, policy, goals = drawn.values, drawn.policy, drawn.goals
    found = [name for name, value in metrics.items() if not isfinite(value)]
    rows = np.flatnonzero(np.isinf(td_error))
    if not found and not len(rows):
        return
    rows = rows if len(rows) else np.arange(len(td_error))
    episodes = np.unique(anchors.episode[rows])
    batch = {"episode": anchors.episode, "step": anchors.step, "td_error": td_error, "terms": found}
    if policy is not None:
        batch |= {"policy_episode": policy.episode, "policy_step": policy.step}
    if goals is not None:
        batch |= {"goal_episode": goals.episode, "goal_step": goals.step}
    kept = run.folder / "checkpoints" / f"failed-{step:09d}"
    if run.team.leads:
        checkpoint.keep_failed(kept, run.agent.state_dict(), batch)
    named = ", ".join(map(str, episodes[:SHOWN])) + (" ..." if len(episodes) > SHOWN else "")
    what = f"{', '.join(found[:3]) or 'the TD error'} is not a finite number"
    raise ValueError(
        f"{what} after batch {step} (seed {run.config.seed}): {len(rows)} of its {len(td_error)} rows are "
        f"hit, of episodes {named}; batch and weights are in {kept}; {resume_hint(run)}"
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
            f"{resume_hint(run)}"
        ) from error


def resume_hint(run: Run) -> str:
    """Say from where the run can continue."""
    last = checkpoint.follow(run.folder / "checkpoints", "latest")
    if last is None:
        return "there is no checkpoint before it"
    return f"{last.name} is from before it: --resume --out {run.folder} continues from there"
