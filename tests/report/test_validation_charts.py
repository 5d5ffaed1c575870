"""Figures of held-out episodes stand beside those of the episodes that were learned from."""

import numpy as np
import pandas as pd
import pytest
from small_runs import trained, write_store

from trajrl.report.charts.validation import beside_training, by_third
from trajrl.report.runs.rundata import open_store


def frames(groups: int, seeds: int = 1):
    """Return runs and their logs: run r has a loss of s + r at step s, and half of that in training."""
    runs = [(f"g{g}-{seed}", f"g{g}", "offline") for g in range(groups) for seed in range(seeds)]
    rows = [
        {"run": name, "step": step, "offline/validation/bc_loss": step + r,
         "offline/validation/training/bc_loss": (step + r) / 2, "offline/validation/late/bc_loss": 7.0}
        for r, (name, _, _) in enumerate(runs) for step in (10, 20)
    ]  # fmt: skip
    logged = pd.DataFrame([*rows, {"run": "g0-0", "step": 15, "offline/actor/bc_loss": 1.0}])  # between two
    return pd.DataFrame(runs, columns=["run", "group", "phase"]), logged


def test_held_out_and_training_lines_are_of_the_same_steps():
    (chart,) = beside_training(*frames(groups=1, seeds=2))
    held, seen = chart.series
    assert (held.name, seen.name) == ("held out, g0 (2 runs)", "learned from, g0 (2 runs)")
    assert (held.place, seen.place) == (0, 1)
    for one, values in ((held, [10.5, 20.5]), (seen, [5.25, 10.25])):
        assert one.x.tolist() == [10, 20]
        assert np.allclose(one.y, values)
    assert chart.key == "held-out-bc_loss-0"
    assert chart.title == "Behaviour-cloning loss, held out and learned from"


@pytest.mark.parametrize(("groups", "thin"), [(3, False), (4, True)])
def test_of_many_groups_the_lines_of_training_are_thin(groups, thin):
    (chart,) = beside_training(*frames(groups))
    assert len(chart.series) == 2 * groups
    assert [one.faint for one in chart.series] == [False, thin] * groups
    assert len({one.place for one in chart.series}) == (groups if thin else 2 * groups)


def test_a_third_that_nobody_logged_has_no_line():
    runs, logged = frames(groups=1)
    (chart,) = by_third(runs, logged, "g0-0")
    assert [(one.name, one.y.tolist()) for one in chart.series] == [("late third", [7.0, 7.0])]
    plain = logged[["run", "step", "offline/actor/bc_loss"]]
    assert beside_training(runs, plain) == by_third(runs, plain, "g0-0") == []


def test_a_report_looks_at_the_episodes_that_were_learned_from(tmp_path):
    data = write_store(tmp_path / "x.h5")
    run = trained(tmp_path / "a", data, agent="td3_bc", sampler="uniform", holdout=0.25, eval_every=0)
    store = open_store(tmp_path / "a")
    assert store.live.tolist() == run.store.live.tolist()
    assert len(store) - len(store.live) == 3
