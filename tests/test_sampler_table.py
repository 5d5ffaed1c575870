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
from sampler_tables import floors, tables, whole_runs
from sampler_trials import AGENTS, LATE, LAWS, MIXTURES, RANDOM, every_trial, trials

ROOT = Path(__file__).parents[1]


def lines(data: str, agent: str, law: str, seed: int, *scores: float, updates: int = 100_000, **more) -> list:
    """Return the lines of a run, the last of which has its scores."""
    steps = np.linspace(0, updates, len(scores) + 1).astype(int)[1:]
    return [
        {
            "data": data, "cell": f"{agent}, {law}", "seed": seed, "step": step, "score": score,
            "seconds": 1.0, "last": score if step == updates else np.nan, **(more if step == updates else {}),
        }
        for step, score in zip(steps, scores)
    ]  # fmt: skip


def kept(*runs: list) -> pd.DataFrame:
    """Return the table of some runs."""
    return pd.DataFrame([line for run in runs for line in run])


def test_a_law_is_compared_with_uniform_seed_by_seed():
    rows = kept(
        lines("hopper-medium", "td3_bc", "uniform", 1, 90, 10, 20, 30, 40, 50),  # of the last five: 30
        lines("hopper-medium", "td3_bc", "uniform", 2, 0, 40, 40, 40, 40, 40),
        lines("hopper-medium", "td3_bc", "weighted", 1, 0, 33, 33, 33, 33, 33),
        lines("hopper-medium", "td3_bc", "weighted", 2, 0, 39, 39, 39, 39, 39),
        lines("hopper-medium", "iql", "weighted", 1, 0, 80, 80, 80, 80, 80),  # has nothing beside it
    )
    done = whole_runs(rows)
    assert done.five.tolist() == [30, 40, 33, 39, 80]
    assert done.d.fillna(99).tolist() == [0, 0, 3, -1, 99]
    found = {tuple(cell.strip() for cell in line.split("|")[2:4]): line for line in tables(rows).splitlines()}
    assert "| 36.0 (33.0 to 39.0) | 1.0 (-1.0 to 3.0) | 1, 1 | 0.50" in found["td3_bc", "weighted"]
    assert "| 80.0 |  |  |  | 1 |" in found["iql", "weighted"]


def test_a_run_under_way_is_not_counted():
    short = lines("hopper-medium", "iql", "uniform", 1, 5, 6, updates=50_000)
    assert whole_runs(kept(short)).empty
    flagship = lines("hopper-medium", "trajectory_ql", "uniform", 1, 5, 6, updates=50_000)
    assert len(whole_runs(kept(short, flagship))) == 1


def test_agents_count_alike_however_many_seeds_they_have():
    runs = [lines(RANDOM[0], "iql", "uniform", seed, 10) for seed in (1, 2, 3)]
    runs += [lines(RANDOM[0], "iql", "auto", seed, 10 + up) for seed, up in ((1, 3), (2, 6), (3, 9))]
    runs += [lines(RANDOM[0], "td3_bc", "uniform", 1, 20), lines(RANDOM[0], "td3_bc", "auto", 1, 50)]
    line = next(line for line in tables(kept(*runs)).splitlines() if line.startswith("| auto | 1 |"))
    assert line == f"| auto | 1 | 1 | 0 | 0 | 18.0 ({RANDOM[0]}) | 18.0 |"  # (6 + 30) / 2


def test_what_a_law_must_reach_needs_both_sides_of_the_comparison():
    data = RANDOM[1]
    runs = [lines(data, "iql", "uniform", 1, 5), lines(data, "iql", LATE, 1, 50)]
    missing = {floor.what: floor.found for floor in floors(whole_runs(kept(*runs))) if floor.task == data}
    assert missing["late, above the better of uniform and weighted"] is None
    assert missing["late, above uniform"] == 45
    assert missing["late, above weighted"] is None
    runs += [lines(data, "iql", "weighted", 1, 44), lines(data, "iql", "auto", 1, 4)]
    known = {floor.what: floor for floor in floors(whole_runs(kept(*runs))) if floor.task == data}
    assert known["late, above the better of uniform and weighted"].found == 6
    assert known["late, above weighted"].fails  # 6 of 10
    assert known["auto, above uniform"].found == -1
    assert known["auto, above uniform"].fails  # 15 are asked for where most is random
    assert not known["late, above uniform"].fails
    elsewhere = [floor for floor in floors(whole_runs(kept(*runs))) if floor.task != data]
    assert all(floor.found is None for floor in elsewhere)


def test_success_stands_in_per_cent_and_auto_says_what_it_took():
    rows = kept(
        lines(TOY, "iql", "uniform", 1, np.nan, success=0.5),
        lines(TOY, "iql", "auto", 1, np.nan, success=0.75, drawn="uniform"),
    )
    assert "| iql | auto: uniform | 75.0 | 25.0 | 1, 0 |" in tables(rows)


def test_every_run_is_there_once_and_its_data_can_be_made():
    every = list(trials())
    assert len({trial.name for trial in every}) == len(every) == len(AGENTS) * len(LAWS) * len(MIXTURES) * 3
    assert set(MIXTURES) <= {*MIXED, *RECORDINGS, *ORACLES, TOY, MAZE}
    names = [trial.name for trial in every_trial()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "trial", [t for t in trials() if t.seed == 1 and t.data in (RANDOM[0], MAZE)], ids=lambda t: t.name
)
def test_every_cell_is_a_config_that_resolves(trial):
    words = list(trial.words)
    law = next(law for law in LAWS if trial.cell.endswith(f", {law}"))
    at = words.index("--sampler")
    named = words[at + 1 : next(i for i in range(at + 1, len(words)) if words[i].startswith("--"))]
    assert " ".join(named) == law
    chosen = {"data": "x.h5", "sampler": law, "steps": int(words[words.index("--steps") + 1])}
    for name in ("agent", "preset"):
        chosen[name] = words[words.index(f"--{name}") + 1]
    config = resolve_config(chosen, trial.settings)
    assert config.sampler == law
    assert config.sampler_options.get("narrow_at") == (0.5 if law == LATE else None)


def test_the_command_shows_the_table_asked_for():
    words = [sys.executable, "benchmarks/evidence.py", "table", "samplers"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "auto, above uniform" in done.stdout or "no run has ended yet" in done.stdout
    assert "roles" not in done.stdout
