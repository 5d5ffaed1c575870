"""Evaluation: the same rows however many environments step together, and streams of its own."""

from __future__ import annotations

import numpy as np
import pytest
from actors import Counting

from trajrl import make_agent, make_suite
from trajrl.rollout.collector import EnvFailureError
from trajrl.rollout.evaluate import evaluate


@pytest.mark.parametrize("name", ["sample_envs:uneven", "toy:point", "Hopper-v4"])
def test_the_rows_do_not_depend_on_how_many_environments_step_together(name):
    suite = make_suite(name)
    actor = Counting(suite.action_dim, chunk=2, noisy=True)
    rows = evaluate(actor, suite, 1, 100, 7, envs=1)
    for envs in (2, 3, 10):
        assert evaluate(actor, suite, 1, 100, 7, envs=envs) == rows


@pytest.mark.parametrize("agent", ["bc_diffusion", "diffusion_ql", "trajectory_ql"])
def test_an_agents_rows_do_not_depend_on_it_either(agent):
    suite = make_suite("toy:point", time_limit=6)
    built = make_agent(agent, suite.obs_dim, suite.action_dim)
    rows = evaluate(built, suite, 0, 0, 5, envs=1)
    assert evaluate(built, suite, 0, 0, 5, envs=3) == rows
    assert len({row["return"] for row in rows}) == 5


def test_a_row_says_what_happened():
    rows = evaluate(Counting(1), make_suite("sample_envs:line"), 0, 50, 2)
    assert [row["episode"] for row in rows] == [0, 1]
    assert {key: rows[0][key] for key in ("return", "score", "success", "length")} == {
        "return": 5.0, "score": None, "success": True, "length": 5,
    }  # fmt: skip


def test_step_and_seed_choose_the_episodes():
    suite = make_suite("toy:point")
    found = [
        evaluate(Counting(2), suite, seed, step, 1)[0]["seed"]
        for seed, step in ((0, 0), (0, 1), (1, 0), (0, 0))
    ]
    assert len(set(found)) == 3
    assert found[0] == found[3]
    assert max(found) < 2**31


def test_more_episodes_begin_with_the_same_ones():
    suite = make_suite("toy:point")
    actor = Counting(2, noisy=True)
    assert evaluate(actor, suite, 0, 0, 6)[:2] == evaluate(actor, suite, 0, 0, 2)


def test_chosen_episodes_run_alone_are_the_same_ones():
    suite = make_suite("sample_envs:uneven")
    actor = Counting(1, noisy=True)
    rows = evaluate(actor, suite, 0, 0, 6)
    assert len({row["length"] for row in rows}) > 1
    assert evaluate(actor, suite, 0, 0, 6, only=[4, 1]) == [rows[1], rows[4]]


def test_the_global_generator_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    evaluate(Counting(2), make_suite("toy:rooms"), 0, 0, 1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_broken_environment_ends_the_evaluation():
    with pytest.raises(EnvFailureError, match="failed at step 1 of episode"):
        evaluate(Counting(1), make_suite("sample_envs:breaking"), 0, 0, 20)


def test_no_episodes_are_no_evaluation():
    with pytest.raises(ValueError, match="at least one episode"):
        evaluate(Counting(1), make_suite("sample_envs:line"), 0, 0, 0)


def test_broken_episodes_are_left_out_where_a_caller_takes_them():
    printed = []
    rows = evaluate(Counting(1), make_suite("sample_envs:breaking"), 0, 0, 20, broken=printed.append)
    assert rows
    assert {row["episode"] for row in rows}.isdisjoint(failure.episode for failure in printed)
    assert len(rows) + len(printed) == 20


def test_an_endless_episode_is_spoken_of_at_twice_the_limit_and_stopped_by_name(capsys):
    with pytest.raises(ValueError, match=r"has not ended after 40 steps: --set env\.time_limit=N"):
        evaluate(Counting(1), make_suite("sample_envs:endless"), 0, 0, 1)
    assert (
        "sample_envs:endless has not ended after 20 steps; --set env.time_limit=N" in capsys.readouterr().out
    )
    rows = evaluate(Counting(1), make_suite("sample_envs:endless", time_limit=30), 0, 0, 1)
    assert rows[0]["length"] == 30


def test_without_a_known_limit_an_evaluation_still_ends(monkeypatch):
    monkeypatch.setattr("trajrl.rollout.evaluate.LONG", 25)
    suite = make_suite("sample_envs:boundless")
    assert suite.limit == 0
    with pytest.raises(ValueError, match="has not ended after 50 steps"):
        evaluate(Counting(1), suite, 0, 0, 1)


def test_a_fault_in_a_process_of_its_own_is_counted_and_the_evaluation_continues():
    failures = []
    suite = make_suite("sample_envs:faulty", env_timeout=20)
    rows = evaluate(Counting(1), suite, 3, 0, 6, envs=2, broken=failures.append)
    assert len(rows) + len(failures) == 6
    assert rows
    assert all("ended by itself (SIGSEGV)" in str(failure) for failure in failures)
    assert failures


def test_one_that_ends_its_process_as_it_is_built_is_one_line():
    with pytest.raises(ValueError, match=r"sample_envs:fatal could not be started: .* \(exit code 9\)"):
        make_suite("sample_envs:fatal", env_timeout=20)
