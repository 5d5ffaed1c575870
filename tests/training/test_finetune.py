"""What going online cost: numbers that can be counted on the fingers."""

import numpy as np
import pytest

from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore
from trajrl.training.online import Rows, finetuning
from trajrl.training.run_dir.evaluations import Evaluation


def evaluations(*scores):
    """Return evaluations 100 steps apart."""
    return [
        Evaluation(100 * i, [{"return": score, "score": score, "success": None}], None, "x")
        for i, score in enumerate(scores)
    ]


def test_a_drop_is_measured_against_the_score_before():
    found = finetuning(evaluations(50, 30, 40, 60, 70))
    assert (found["before"], found["last"], found["gain"]) == (50, 70, 20)
    assert (found["drop"], found["drop_step"], found["recovered_step"]) == (20, 100, 300)
    assert found["regret"] == pytest.approx((10 + 15 + 5 + 0) / 4)  # the areas of four trapezoids


def test_no_drop_is_no_drop():
    found = finetuning(evaluations(50, 60, 55))
    assert (found["drop"], found["drop_step"], found["recovered_step"], found["regret"]) == (0, None, None, 0)


def test_a_drop_that_was_not_made_up_for_says_so():
    assert finetuning(evaluations(50, 30, 20))["recovered_step"] is None


def test_one_evaluation_has_no_regret_and_none_tells_nothing():
    assert finetuning(evaluations(50))["regret"] == 0
    assert finetuning([]) == {}


def test_rows_are_counted_by_source():
    store = TrajectoryStore.of(
        Episode(np.zeros((2, 1)), np.zeros((1, 1)), np.zeros(1), True, source=name)
        for name in ("a", "b", "a")
    )
    rows = Rows(store)
    rows.add(np.array([0, 1, 2, 2]))
    store.append(Episode(np.zeros((2, 1)), np.zeros((1, 1)), np.zeros(1), True, source="online"))
    rows.add(np.array([3, 3, 1, 1]))
    assert rows.shares() == {"a": 3 / 8, "b": 3 / 8, "online": 2 / 8}
    other = Rows(store)
    other.load_state_dict(rows.state_dict())
    assert other.shares() == rows.shares()
