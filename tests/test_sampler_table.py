"""The table that decides among samplers says what its lines say, and its runs are runs that can be made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trajrl.training.resolve_config import resolve_config

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from evidence_data import MAZE, ORACLES, RECORDINGS, TOY
from evidence_data import MIXTURES as MIXED
from sampler_tables import beside_each_other, ended, floors, tables
from sampler_trials import AGENTS, LATE, MIXTURES, RANDOM, SAMPLERS, every_trial, trials

ROOT = Path(__file__).parents[1]


def lines(data: str, agent: str, sampler: str, seed: int, *scores: float, steps: int = 100, **more) -> list:
    """Return the lines of a run that has ended; the last has its scores."""
    at = np.linspace(0, steps, len(scores) + 1).astype(int)[1:]
    return [
        {
            "data": data, "cell": f"{sampler} under {agent}", "seed": seed, "step": step, "score": score,
            "seconds": 1.0, **({"last": 1.0, **more} if step == steps else {"last": np.nan}),
        }
        for step, score in zip(at, scores)
    ]  # fmt: skip


def kept(*runs: list) -> pd.DataFrame:
    """Return the table of some runs."""
    return pd.DataFrame([line for run in runs for line in run])


def of_all(data: str, agent: str, **scores: float) -> list[list]:
    """Return runs of one seed by the names of samplers; `late` stands for the late draw by return."""
    return [lines(data, agent, LATE if name == "late" else name, 1, x) for name, x in scores.items()]


def found_of(rows: pd.DataFrame, data: str) -> dict[str, float | None]:
    """Return what was found of the floors of some data."""
    return {floor.what: floor.found for floor in floors(beside_each_other(ended(rows))) if floor.task == data}


def test_a_sampler_is_compared_with_uniform_seed_by_seed():
    rows = kept(
        lines("hopper-medium", "td3_bc", "uniform", 1, 90, 10, 20, 30, 40, 50),  # of the last five: 30
        lines("hopper-medium", "td3_bc", "uniform", 2, 0, 40, 40, 40, 40, 40),
        lines("hopper-medium", "td3_bc", "weighted", 1, 0, 33, 33, 33, 33, 33),
        lines("hopper-medium", "td3_bc", "weighted", 2, 0, 39, 39, 39, 39, 39),
        lines("hopper-medium", "iql", "weighted", 1, 0, 80, 80, 80, 80, 80),  # has nothing beside it
    )
    found = {tuple(cell.strip() for cell in line.split("|")[2:4]): line for line in tables(rows).splitlines()}
    assert "| 36.0 (33.0 to 39.0) | 1.0 (-1.0 to 3.0) | 1, 1 | 0.50" in found["td3_bc", "weighted"]
    assert "| 35.0 (30.0 to 40.0) |  |  |  | 2 |" in found["td3_bc", "uniform"]
    assert "| 80.0 |  |  |  | 1 |" in found["iql", "weighted"]


def test_a_run_counts_when_it_has_ended_and_as_it_ended():
    under_way = lines("hopper-medium", "iql", "uniform", 1, 5, 6)
    under_way[-1]["last"] = np.nan
    stopped_early = lines("hopper-medium", "iql", "uniform", 2, 7, steps=40)
    assert tables(kept(under_way)) == "No run has ended yet."
    assert ended(kept(under_way, stopped_early)).five.tolist() == [7]


def test_agents_count_alike_however_many_seeds_they_have():
    runs = [lines(RANDOM[0], "iql", "uniform", seed, 10) for seed in (1, 2, 3)]
    runs += [lines(RANDOM[0], "iql", "auto", seed, 10 + up) for seed, up in ((1, 3), (2, 6), (3, 9))]
    runs += [lines(RANDOM[0], "td3_bc", "uniform", 1, 20), lines(RANDOM[0], "td3_bc", "auto", 1, 50)]
    line = next(line for line in tables(kept(*runs)).splitlines() if line.startswith("| auto | 1 |"))
    assert line == f"| auto | 1 | 1 | 0 | 0 | 18.0 ({RANDOM[0]}) | 18.0 |"  # (6 + 30) / 2


def test_what_must_be_reached_is_told_of_all_agents_with_the_same_seeds():
    data, what = RANDOM[1], "late, above uniform"
    runs = of_all(data, "trajectory_ql", uniform=5, weighted=20, late=40, auto=9)
    runs += of_all(data, "td3_bc", uniform=50)  # alone it would halve the lead
    assert set(found_of(kept(*runs), data).values()) == {None}
    runs += of_all(data, "td3_bc", weighted=40, late=55, auto=50)
    runs += of_all(data, "iql", uniform=10, weighted=30, late=22, auto=13)
    runs += [lines(data, "iql", "uniform", 2, 90)]  # a seed that the others do not have
    assert found_of(kept(*runs), data) == {
        "auto, above uniform": pytest.approx((4 + 0 + 3) / 3),
        "late, above the better of uniform and weighted": pytest.approx(
            (40 + 55 + 22) / 3 - (20 + 40 + 30) / 3
        ),
        "late, above weighted": pytest.approx(9),
        what: pytest.approx((35 + 5 + 12) / 3),
    }
    known = {
        floor.what: floor.fails
        for floor in floors(beside_each_other(ended(kept(*runs))))
        if floor.task == data
    }
    assert known == {name: name != "late, above the better of uniform and weighted" for name in known}
    assert set(found_of(kept(*runs), RANDOM[0]).values()) == {None}


def test_success_stands_in_per_cent_and_auto_says_what_it_took():
    rows = kept(
        lines(TOY, "iql", "uniform", 1, np.nan, success=0.5),
        lines(TOY, "iql", "auto", 1, np.nan, success=0.75, drawn="uniform"),
    )
    assert "| iql | auto: uniform | 75.0 | 25.0 | 1, 0 |" in tables(rows)


def test_every_run_is_there_once_and_its_data_can_be_made():
    every = list(trials())
    assert (
        len({trial.name for trial in every}) == len(every) == len(AGENTS) * len(SAMPLERS) * len(MIXTURES) * 3
    )
    assert set(MIXTURES) <= {*MIXED, *RECORDINGS, *ORACLES, TOY, MAZE}
    assert not any("trajectory-ql--" in trial.name for trial in every)  # folders of another table once
    names = [trial.name for trial in every_trial()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "trial", [t for t in trials() if t.seed == 1 and t.data in (RANDOM[0], MAZE)], ids=lambda t: t.name
)
def test_every_cell_is_a_config_that_resolves(trial):
    words = list(trial.words)
    sampler = next(name for name in SAMPLERS if trial.cell.startswith(f"{name} under "))
    at = words.index("--sampler")
    named = words[at + 1 : next(i for i in range(at + 1, len(words)) if words[i].startswith("--"))]
    assert " ".join(named) == sampler
    chosen = {"data": "x.h5", "sampler": sampler, "steps": int(words[words.index("--steps") + 1])}
    for name in ("agent", "preset"):
        chosen[name] = words[words.index(f"--{name}") + 1]
    config = resolve_config(chosen, trial.settings)
    assert config.sampler == sampler
    assert config.sampler_options.get("narrow_at") == (0.5 if sampler == LATE else None)


def test_the_command_shows_the_table_asked_for():
    words = [sys.executable, "benchmarks/evidence.py", "table", "--workers", "1", "samplers"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("samplers\n")
    assert "auto, above uniform" in done.stdout or "No run has ended yet" in done.stdout
    assert "roles" not in done.stdout
