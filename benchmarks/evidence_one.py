"""What a policy's choice among candidates is worth: its last evaluations again, with one candidate each.

Both take the same episodes: an evaluation's streams are (seed, step, episode), whoever acts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from trajrl.rollout.evaluate import evaluate
from trajrl.training.run_dir.load_run import load_run

if TYPE_CHECKING:
    from trajrl.training.run_dir.load_run import LoadedRun

LAST = 5  # evaluations that a run is scored by
CHOICES = {  # the option that says among how many actions an agent chooses
    "diffusion_ql": "candidates", "ifql": "samples", "trajectory_ql": "candidates",
}  # fmt: skip


def with_one_candidate(found: pd.DataFrame, folder: Path) -> None:
    """Add the column `one` to the last lines of a run whose agent chooses among candidates."""
    run = load_run(folder)
    if run.config.agent in CHOICES:
        for line in found.index[-LAST:]:
            found.loc[line, "one"] = one_candidate(run, int(found.step[line]))


def one_candidate(run: LoadedRun, step: int) -> float:
    """Return the score, else the share of successes, of a kept policy that proposes one action."""
    config, which = run.config, str(step)
    suite = run.suite(which)
    agent = run.agent(which, **{CHOICES[config.agent]: 1})
    rows = evaluate(agent, suite, config.seed, step, config.eval_episodes, config.eval_envs)
    scale = next(scale for scale in ("score", "success", "return") if rows[0][scale] is not None)
    return round(float(np.mean([row[scale] for row in rows])), 4)
