"""The closing table of a training command: what its numbers are, one row per policy, and success."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trajrl.cli.train_report import score_lines
from trajrl.training.run_dir.evaluations import Evaluation, Evaluations


def table(folder: Path, *found: list[dict[str, Any]], name: str = "none") -> list[str]:
    scores = Evaluations(folder, 0, 0, -5.0, None if name == "none" else 40.0, 0.25)
    for step, rows in enumerate(found, 1):
        full = [{"episode": e, "seed": 0, "length": 3, "return": -1.0, **row} for e, row in enumerate(rows)]
        scores.append(Evaluation(step, [{"step": step, **row} for row in full], None, name))
    return list(score_lines(scores.summary(), len(found)))


def test_one_evaluation_is_one_row(tmp_path: Path) -> None:
    assert table(tmp_path, [{"score": None, "success": True}] * 2) == [
        "success rate",
        "  the one evaluation          100%   95 % interval    34% to   100%   step 1",
        "  average of the data          25%",
    ]


def test_success_stands_beside_a_score_with_its_interval(tmp_path: Path) -> None:
    one = [{"score": 50.0, "success": known} for known in (True, False)]
    head, first, *_, data = table(tmp_path, one, one, name="own")
    assert (head, data) == ("own", "  average of the data         40.0")
    assert "50.0   95 % interval   50.0 to   50.0   success  50% (9% to 91%)   step 2" in first


@pytest.mark.parametrize(
    ("evaluations", "mean"), [(2, "mean of all 2"), (9, "mean of all 9"), (10, "mean of the last ten")]
)
def test_without_score_and_success_the_table_is_of_returns(
    tmp_path: Path, evaluations: int, mean: str
) -> None:
    head, *rows = table(tmp_path, *[[{"score": None, "success": None}]] * evaluations)
    assert head == "raw return"
    assert [row.split("  ")[1] for row in rows] == [
        "last evaluation", mean, "best (chosen by return)", "average of the data",
    ]  # fmt: skip


def test_the_one_step_student_stands_in_the_table_beside_its_chain(tmp_path: Path) -> None:
    scores = Evaluations(tmp_path, 0, 0, -5.0, 40.0, None)
    row = {"episode": 0, "seed": 0, "length": 3, "return": -1.0, "score": 50.0, "success": None, "step": 1}
    scores.append(Evaluation(1, [row], None, "own"))
    student = {"score": {"value": 49.0, "low": 48.0, "high": 50.0, "step": 1}}
    _, chain, found, _ = score_lines({**scores.summary(), "distilled": student}, 1)
    assert "the one evaluation          50.0" in chain
    assert "one-step student of last    49.0   95 % interval   48.0 to   50.0   step 1" in found
