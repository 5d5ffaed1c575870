"""Progress: rates count what they name, and an evaluation is no training."""

from __future__ import annotations

import re

import pytest

from trajrl.training import progress
from trajrl.training.progress import Progress, fitting, rate_line


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_online_updates_and_environment_steps_are_counted_apart(clock: list[float]) -> None:
    progress = Progress(1000, "online")
    clock[0] = 10.0
    progress.tick(830, 45)
    assert progress.rates() == {"updates_per_second": 4.5, "env_steps_per_second": 83.0}
    assert rate_line(progress.rates()) == "4 updates/s, 83 environment steps/s"
    assert progress._line() == (
        "online, environment step 830 of 1000, 4 updates/s, 83 environment steps/s, 2 s left"
    )


def test_offline_a_step_is_an_update(clock: list[float]) -> None:
    progress = Progress(100, "offline")
    clock[0] = 4.0
    progress.tick(20, 20)
    assert progress.rates() == {"updates_per_second": 5.0}
    assert progress._line() == "offline, step 20 of 100, 5 updates/s, 16 s left"


def test_processor_time_continues_where_a_run_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    used = [7.0]  # by the process before the run
    monkeypatch.setattr(progress.time, "process_time", lambda: used[0])
    resumed = Progress(100, "offline")
    resumed.resume(50.0, 40, 40, processor_seconds=30.0)
    used[0] = 9.0
    assert resumed.processor_seconds == 32.0
    assert resumed.summary()["processor_seconds"] == 32.0


def test_a_resumed_run_counts_what_this_process_did(clock: list[float]) -> None:
    progress = Progress(100, "online")
    progress.resume(50.0, 40, 30)
    clock[0] = 2.0
    progress.tick(60, 40)
    assert progress.rates() == {"updates_per_second": 5.0, "env_steps_per_second": 10.0}
    assert progress.seconds == 52.0


def test_seconds_of_an_evaluation_are_no_training_even_while_it_lasts(clock: list[float]) -> None:
    progress = Progress(100, "offline")
    clock[0] = 2.0
    progress.tick(20, 20)
    progress.say("evaluating 10 episodes")
    clock[0] = 9.0
    assert progress.rates() == {"updates_per_second": 10.0}


@pytest.mark.parametrize("columns", [50, 80, 110])
@pytest.mark.parametrize("phase", ["offline", "online"])
def test_the_bar_is_whole_on_one_line_of_a_terminal(monkeypatch, capsys, columns: int, phase: str) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    run = Progress(15_000, phase)
    run.step, run._last_score = 7_500, "score 63.1, success 40%"
    run.tick(7_500, 3_000)
    run.say("evaluating 20 episodes")
    run.summary()
    shown = [
        re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in re.split(r"[\r\n]", capsys.readouterr().err)
    ]
    lines = [line.rstrip() for line in shown if line.startswith(phase)]
    assert "7500/15000" in lines[0]
    assert all(len(line) <= columns and "\u2026" not in line for line in lines)
    assert all(line.count("\u2501") >= 7 for line in lines)
    assert "evaluating 20 episodes" in lines[-1]


def test_what_does_not_fit_beside_the_bar_is_left_out_and_the_rest_stays() -> None:
    notes = ["7/9", "score 63.1", "0:02:04", "40 updates/s, 50 environment steps/s"]
    assert fitting(notes, 23) == "7/9  score 63.1"
    assert fitting(notes, 24) == "7/9  score 63.1  0:02:04"
    assert fitting(["7/9", "too long for this place", "0:02:04"], 12) == "7/9  0:02:04"


def test_one_of_a_kind_is_told_in_the_singular() -> None:
    rates = {"updates_per_second": 1.2, "env_steps_per_second": 12.0}
    assert rate_line(rates) == "1 update/s, 12 environment steps/s"
