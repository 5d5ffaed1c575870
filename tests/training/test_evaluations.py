"""The four scores: last, best, mean of the last ten, and selected by the behaviour-cloning loss."""

import numpy as np
import pytest
import torch

from trajrl.training.progress import described, headline
from trajrl.training.run_dir.evaluations import Evaluation, Evaluations, bootstrap_mean, interval, wilson


def evaluation(step: int, score: float, bc_loss: float | None = None) -> Evaluation:
    row = {"step": step, "episode": 0, "seed": 1, "return": score * 10, "score": score}
    row.update({"success": None, "length": 5})
    return Evaluation(step, [row, {**row, "episode": 1}], bc_loss, "d4rl")


def scores(tmp_path, *evaluations: Evaluation, rank: int = 0) -> Evaluations:
    found = Evaluations(tmp_path, 0, rank, 100.0, 10.0)
    for one in evaluations:
        found.append(one)
    return found


def solved(step: int, successes: list[bool | None], returns: float = -200.0) -> Evaluation:
    """Return an evaluation in an environment without a scale."""
    rows = [{"return": returns, "score": None, "success": one, "seed": 0, "length": 5} for one in successes]
    return Evaluation(step, [{"step": step, "episode": e, **row} for e, row in enumerate(rows)], None, "none")


def test_a_return_is_not_called_a_score():
    assert described(solved(5, [None, None])) == "return -200.0 (episodes -200.0 to -200.0)"
    rows = [{"return": 50.0, "score": 1.0 + i, "success": None} for i in range(2)]
    assert described(Evaluation(5, rows, None, "own")) == "score    1.5 (episodes 1.0 to 2.0), return 50.0"


def test_without_a_scale_success_is_the_main_figure(tmp_path):
    run = scores(tmp_path, solved(1, [True, False]), solved(2, [True, True]), solved(3, [False, False]))
    assert (run.scale, run.best_step, run.summary()["scale"]) == ("success", 2, "success")
    assert [run.summary()["scores"][name]["value"] for name in ("last", "best", "mean_last_10")] == [
        0,
        1,
        0.5,
    ]
    assert described(solved(1, [True, False])) == "success    50% (1 of 2 episodes), return -200.0"
    assert headline(solved(1, [True, False])) == "success 50%"


def test_equal_success_is_broken_by_the_return(tmp_path):
    assert scores(tmp_path, solved(1, [True], -9.0), solved(2, [True], -3.0)).best_step == 2


def test_one_evaluation_that_does_not_tell_of_success_puts_all_on_returns(tmp_path):
    run = scores(tmp_path, solved(1, [True, True], -7.0), solved(2, [True, None], -5.0))
    assert (run.scale, run.summary()["scores"]["last"]["value"]) == ("return", -5.0)


def test_success_has_its_interval_beside_a_score(tmp_path):
    one = evaluation(1, 9.0)
    rows = [{**row, "success": known} for row, known in zip(one.rows, (True, False))]
    found = scores(tmp_path, Evaluation(1, rows, None, "d4rl")).summary()["scores"]["last"]
    assert found["value"] == 9.0
    assert found["success"] == interval(np.array([1.0, 0.0]), 0, "success")


def test_what_is_logged_leaves_out_what_is_not_known():
    assert evaluation(1, 9.0).metrics() == {"eval/return": 90.0, "eval/length": 5.0, "eval/score": 9.0}
    found = solved(1, [True, False]).metrics()
    assert found == {"eval/return": -200.0, "eval/length": 5.0, "eval/success": 0.5}


def test_last_best_and_mean_of_the_last_ten(tmp_path):
    run = scores(tmp_path, *(evaluation(i, v) for i, v in enumerate([99.0, *range(11)], 1)))
    found = run.summary()["scores"]
    assert found["last"] == {"value": 10.0, "low": 10.0, "high": 10.0, "step": 12}
    assert found["best"]["value"] == 99.0
    assert found["best"]["step"] == 1
    assert found["mean_last_10"]["value"] == pytest.approx(np.mean(range(1, 11)))


@pytest.mark.parametrize(("rank", "step"), [(0, 3), (1, 1), (2, 2), (9, 2)])
def test_selection_takes_the_k_th_smallest_loss_itself(tmp_path, rank, step):
    found = scores(tmp_path, evaluation(1, 1, 0.5), evaluation(2, 9, 0.7), evaluation(3, 2, 0.1), rank=rank)
    assert found.selected.step == step


def test_without_a_loss_nothing_is_selected(tmp_path):
    assert scores(tmp_path, evaluation(1, 1)).summary()["scores"]["selected"] is None


def test_the_loss_is_the_mean_since_the_last_evaluation(tmp_path):
    found = Evaluations(tmp_path, 0, 0, 0.0, None)
    for value in (1.0, 2.0):
        found.add({"actor/bc_loss": torch.tensor(value), "critic/loss": torch.tensor(9.0)})
    assert found.take_bc_loss() == 1.5
    assert found.take_bc_loss() is None


def test_early_stop_looks_at_the_last_two(tmp_path):
    found = scores(tmp_path, evaluation(1, 1, 0.5), evaluation(2, 1, 0.8))
    assert found.bc_loss_rose(0.2)
    assert not found.bc_loss_rose(0.4)


def test_best_moves_only_when_the_score_improves(tmp_path):
    assert scores(tmp_path, evaluation(1, 5), evaluation(2, 5)).best_step == 1


def test_the_state_comes_back(tmp_path):
    first = scores(tmp_path, evaluation(1, 5, 0.3))
    first.add({"actor/bc_loss": torch.tensor(2.0)})
    second = Evaluations(tmp_path, 0, 0, 100.0, 10.0)
    second.load_state_dict(first.state_dict())
    assert second.summary() == first.summary()
    assert second.take_bc_loss() == 2.0


def test_the_interval_covers_the_mean_and_is_the_same_twice():
    values = np.arange(20.0)
    low, high = bootstrap_mean(values, 3)
    assert low < 9.5 < high
    assert (low, high) == bootstrap_mean(values, 3)


def test_the_interval_has_its_nominal_coverage():
    rng = np.random.default_rng(0)
    hits = [low <= 0 <= high for low, high in (bootstrap_mean(rng.normal(size=40), i) for i in range(300))]
    assert 0.90 < np.mean(hits) < 0.98


@pytest.mark.parametrize(("count", "n"), [(0, 50), (50, 50), (1, 20), (10, 20), (1, 1)])
def test_a_success_rate_has_the_interval_of_wilson(count, n):
    """Its ends are the rates q that lie z deviations from p: (p - q)^2 = z^2 q (1 - q) / n."""
    p, z = count / n, 1.959964
    ends = np.roots([1 + z**2 / n, -(2 * p + z**2 / n), p**2])
    low, high = wilson(np.arange(n) < count)
    assert (low, high) == pytest.approx(sorted(ends.real), abs=1e-7)
    assert interval((np.arange(n) < count) * 1.0, 0, "success") == {"value": p, "low": low, "high": high}


def test_none_of_fifty_successes_leaves_room_for_some():
    low, high = wilson(np.zeros(50))
    assert low == 0
    assert high == pytest.approx(0.0713, abs=5e-5)
