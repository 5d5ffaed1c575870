"""The runs of the evidence are runs that can be made, and its tables say what the lines say."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from trajrl.choices import resolve

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from evidence_data import MIXTURES
from evidence_tables import table
from evidence_trials import trials


def test_every_run_has_a_folder_of_its_own_and_a_mixture_that_is_made():
    every = list(trials())
    assert len({trial.name for trial in every}) == len(every)
    assert {trial.data for trial in every} <= set(MIXTURES)
    assert all(abs(sum(shares.values()) - 1) < 1e-9 for shares in MIXTURES.values())


@pytest.mark.parametrize("trial", [trial for trial in trials() if trial.seed == 0], ids=lambda t: t.name)
def test_every_cell_is_a_config_that_resolves(trial):
    words = trial.command("hopper.h5", "out")
    asked = {word[2:]: words[i + 1] for i, word in enumerate(words) if word.startswith("--")}
    asked = {name: value for name, value in asked.items() if name not in ("set", "out", "seed")}
    config = resolve({**asked, "steps": int(asked["steps"])}, trial.settings)
    for setting in trial.settings:
        name, _, value = setting.partition("=")
        part, dot, field = name.partition(".")
        found = getattr(config, f"{part}_options")[field] if dot else getattr(config, name)
        assert str(found).lower() == value or float(found) == float(value)


def test_a_table_compares_with_uniform_sampling_by_the_same_agent():
    lines = [
        ("mix", cell, seed, score)
        for cell, scores in {
            "bc, uniform": (1, 2),
            "bc, top": (3, 4),
            "ql, uniform": (9, 9),
            "ql, top": (0, 9),
        }.items()
        for seed, score in enumerate(scores)
    ]
    rows = pd.DataFrame(lines, columns=["data", "cell", "seed", "last"])
    rows = rows.assign(mean_last_10=rows["last"], best=rows["last"], selected=rows["last"])
    found = {line.split("|")[2].strip(): line for line in table("samplers", rows).splitlines()[4:]}
    assert found["bc, top"].rstrip(" |").endswith("1.00 (1.00 to 1.00)")
    assert "| 3.5 (3.0 to 4.0) |" in found["bc, top"]
    assert "0.25" in found["ql, top"]
    assert found["bc, uniform"].rstrip(" |").endswith("2")
