"""Evaluations: every one of a run, and the four numbers that are always reported together.

    last | best (an oracle) | mean of the last ten | selected offline: argsort(bc_loss)[rank]

Each comes with an interval over episodes: bootstrap, or Wilson's of a success rate.  They are scores; where
no scale belongs to the environment the share of episodes that succeeded (0 to 1); where nobody says which
did, raw returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trajrl.core.rng import stream
from trajrl.envs.base.protocol import EnvSuite
from trajrl.training.run_dir.csv_log import append_csv, cut_csv

COLUMNS = ["step", "episode", "seed", "return", "score", "success", "length"]
BC_LOSS = "actor/bc_loss"
Z = 1.959964  # of a normal distribution, between -Z and Z lie 95 per cent


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: what each episode scored, and the behaviour-cloning loss before it."""

    step: int
    rows: list[dict[str, Any]]
    bc_loss: float | None
    score_name: str

    @classmethod
    def of(
        cls, step: int, rows: Sequence[Mapping[str, Any]], bc_loss: float | None, suite: EnvSuite
    ) -> Evaluation:
        """Collect the rows of an evaluation under the name of the suite's scale."""
        return cls(step, [{"step": step, **row} for row in rows], bc_loss, suite.score(0.0).name)

    @property
    def scale(self) -> str:
        """Return what `values` are: score, success where there is no score, or return where neither is."""
        for name in ("score", "success"):
            if all(row[name] is not None for row in self.rows):
                return name
        return "return"

    @property
    def values(self) -> np.ndarray:
        """Return each episode's main figure: its score, success (0 or 1) or return."""
        return self.on(self.scale)

    @property
    def value(self) -> float:
        """Return the mean of the main figure."""
        return float(self.values.mean())

    def on(self, scale: str) -> np.ndarray:
        """Return a number of each episode: score, success or return."""
        return np.array([row[scale] for row in self.rows], np.float64)

    @property
    def return_mean(self) -> float:
        """Return the mean return."""
        return float(np.mean([row["return"] for row in self.rows]))

    @property
    def success_mean(self) -> float | None:
        """Return the share of successes; None where nobody says."""
        known = self.successes
        return float(known.mean()) if len(known) else None

    @property
    def successes(self) -> np.ndarray:
        """Return 1 or 0 for each episode of which the environment says whether it succeeded."""
        return np.array([row["success"] for row in self.rows if row["success"] is not None], np.float64)

    def success_by_task(self) -> dict[int, float]:
        """Return the share of successes of each task; nothing where the environment has but one."""
        known: dict[int, list[float]] = {}
        for row in self.rows:
            if "task" in row and row["success"] is not None:
                known.setdefault(row["task"], []).append(row["success"])
        return {task: float(np.mean(known[task])) for task in sorted(known)}

    def metrics(self) -> dict[str, float]:
        """Return what is logged: mean return and length, and score and success where they are known."""
        found = {"return": self.return_mean, "success": self.success_mean}
        found["length"] = float(self.on("length").mean())
        found["score"] = float(self.values.mean()) if self.scale == "score" else None
        found |= {f"success_task{task}": value for task, value in self.success_by_task().items()}
        return {f"eval/{name}": value for name, value in found.items() if value is not None}


class Awaited(NamedTuple):
    """An evaluation that runs beside the training and is not done."""

    step: int
    episodes: int
    bc_loss: float | None


class Evaluations:
    """All evaluations of a run, written to evals.csv as they come, in the order of their steps."""

    def __init__(
        self, folder: Path, seed: int, select_rank: int, average_return: float | None,
        average_score: float | None, average_success: float | None = None,
    ):  # fmt: skip
        """Write under `folder`; the averages are those of the data."""
        self.path = folder / "evals.csv"
        self.seed, self.select_rank = seed, select_rank
        self.average = {
            "average_return": average_return,
            "average_score": average_score,
            "average_success": average_success,
        }
        self.entries: list[Evaluation] = []
        self.awaited: list[Awaited] = []  # by step; what a kill loses of them is evaluated again
        self.unscored: list[tuple[int, float]] = []  # (step, loss) where there was no environment to score in
        self._bc_sum: Any = 0.0
        self._bc_count = 0

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Take in an update's behaviour-cloning loss, left where it is."""
        if BC_LOSS in metrics:
            self._bc_sum = self._bc_sum + metrics[BC_LOSS].detach().double()
            self._bc_count += 1

    def take_bc_loss(self) -> float | None:
        """Return the mean behaviour-cloning loss since the last evaluation."""
        mean = float(self._bc_sum) / self._bc_count if self._bc_count else None
        self._bc_sum, self._bc_count = 0.0, 0
        return mean

    def append(self, evaluation: Evaluation) -> Evaluation:
        """Keep an evaluation and write its rows."""
        self.entries.append(evaluation)
        append_csv(self.path, COLUMNS, [{name: row[name] for name in COLUMNS} for row in evaluation.rows])
        return evaluation

    def note_loss(self, step: int, bc_loss: float | None) -> None:
        """Keep the loss of a policy that no environment scores: it is selected by that alone."""
        if bc_loss is not None:
            self.unscored.append((step, bc_loss))

    @property
    def losses(self) -> list[tuple[int, float]]:
        """Return (step, behaviour-cloning loss) of every kept policy that has one, by step."""
        judged: list[Evaluation | Awaited] = [*self.entries, *self.awaited]
        scored = [(e.step, e.bc_loss) for e in judged if e.bc_loss is not None]
        return sorted(scored + self.unscored)

    def bc_loss_rose(self, tolerance: float) -> bool:
        """Say whether the last policy's loss is above that of the one before by more than the tolerance."""
        losses = [loss for _, loss in self.losses]
        return len(losses) > 1 and losses[-1] > losses[-2] + tolerance

    @property
    def best_step(self) -> int | None:
        """Return the step of the best evaluation; of two equals that of more return, then the earlier."""
        if not self.entries:
            return None
        scale = self.scale
        return max(self.entries, key=lambda e: (e.on(scale).mean(), e.return_mean, -e.step)).step

    @property
    def scale(self) -> str:
        """Return what the four numbers are: score, success or return."""
        return common_scale(self.entries)

    @property
    def selected_step(self) -> int | None:
        """Return the step of the policy with the k-th smallest behaviour-cloning loss, ties by step."""
        ranked = sorted(self.losses, key=lambda each: (each[1], each[0]))
        return ranked[min(self.select_rank, len(ranked) - 1)][0] if ranked else None

    @property
    def selected(self) -> Evaluation | None:
        """Return the evaluation of the selected policy."""
        step = self.selected_step
        return next((e for e in self.entries if e.step == step), None)

    def summary(self) -> dict[str, Any]:
        """Return the four scores and the data's own average."""
        if not self.entries:
            return {"scores": None, "selected_step": self.selected_step, "data": self.average}
        best = next(e for e in self.entries if e.step == self.best_step)
        scores: dict[str, Any] = {
            "last": self._interval(self.entries[-1:]),
            "best": self._interval([best]),
        }
        scores["mean_last_10"] = self._interval(self.entries[-10:])
        scores["selected"] = self._interval([self.selected]) if self.selected else None
        found = self.entries[-1].success_by_task()
        by_task = {"success_by_task": {str(task): value for task, value in found.items()}} if found else {}
        return {"scores": scores, "scale": self.scale,
                "score_name": self.entries[-1].score_name, "data": self.average,
                "return_mean": self.entries[-1].return_mean,
                "success_mean": self.entries[-1].success_mean, **by_task}  # fmt: skip

    def _interval(self, evaluations: list[Evaluation]) -> dict[str, Any]:
        """Return the main figure with its interval and, where it is known, success with its own."""
        scale = self.scale
        found: dict[str, Any] = interval(np.concatenate([e.on(scale) for e in evaluations]), self.seed, scale)
        known = np.concatenate([e.successes for e in evaluations])
        success = {"success": interval(known, self.seed, "success")} if len(known) else {}
        return {**found, "step": evaluations[-1].step, **success}

    def cut_back(self, step: int) -> None:
        """Drop the rows of evaluations after `step`, and of those that are still awaited."""
        cut_csv(self.path, min([step, *(each.step - 1 for each in self.awaited[:1])]))

    def state_dict(self) -> dict[str, Any]:
        """Return all evaluations and the loss collected since the last."""
        evaluations = [asdict(e) for e in self.entries]
        loss = {"bc_sum": float(self._bc_sum), "bc_count": self._bc_count, "unscored": self.unscored}
        return {"evaluations": evaluations, **loss, "awaited": [list(each) for each in self.awaited]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the evaluations."""
        self.entries = [Evaluation(**e) for e in state["evaluations"]]
        self._bc_sum, self._bc_count = float(state["bc_sum"]), int(state["bc_count"])
        self.unscored = [(int(step), float(loss)) for step, loss in state.get("unscored", [])]
        self.awaited = [Awaited(*each) for each in state.get("awaited", [])]


def common_scale(evaluations: Sequence[Evaluation]) -> str:
    """Return what all evaluations have in common: score, else success, else return."""
    scales = {found.scale for found in evaluations}
    return scales.pop() if len(scales) == 1 else "return"


def task_line(shares: Mapping[Any, float]) -> str:
    """Say the share of successes of each task, and their mean."""
    each = ", ".join(f"task {task} {share:.0%}" for task, share in shares.items())
    return f"success by task: {each}; mean {np.mean(list(shares.values())):.0%}"


def shown(value: float, scale: str, digits: int = 1) -> str:
    """Write a value on a scale: a success as a share in per cent."""
    return f"{value:.0%}" if scale == "success" else f"{value:.{digits}f}"


def interval(values: np.ndarray, seed: int, scale: str = "") -> dict[str, float]:
    """Return the mean of values (n,) on a scale and its 95 per cent interval: of a success rate Wilson's."""
    low, high = wilson(values) if scale == "success" else bootstrap_mean(values, seed)
    return {"value": float(values.mean()), "low": low, "high": high}


def wilson(successes: np.ndarray) -> tuple[float, float]:
    """Return Wilson's 95 per cent interval of the rate of n successes, each 0 or 1.

    p = mean, z = 1.96:  (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).  It has a width
    where all or none succeeded, of which resamples know nothing.
    """
    n, p = len(successes), float(successes.mean())
    middle, width = p + Z**2 / (2 * n), Z * sqrt(p * (1 - p) / n + (Z / (2 * n)) ** 2)
    low, high = (middle - width) / (1 + Z**2 / n), (middle + width) / (1 + Z**2 / n)
    return min(max(0.0, low), p), max(min(1.0, high), p)


def bootstrap_mean(values: np.ndarray, seed: int, resamples: int = 2000) -> tuple[float, float]:
    """Return the 95 per cent interval of the mean of values (n,)."""
    rng = stream(seed, "bootstrap", len(values))
    index = rng.integers(len(values), size=(resamples, len(values)))  # (R, n)
    low, high = np.quantile(values[index].mean(1), (0.025, 0.975))
    return float(low), float(high)
