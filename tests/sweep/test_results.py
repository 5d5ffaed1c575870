"""The printed table of a sweep."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from small_runs import settings, write_store

from trajrl.cli.main import dispatch
from trajrl.sweep.results import table
from trajrl.sweep.unscored import judged, why
from trajrl.training.run_dir.csv_log import append_csv

CELL = {"grid.sampler": "uniform", "mean_last_10": 0.5, "best": 1.0, "selected": float("nan")}


@pytest.mark.parametrize(
    ("scale", "last", "told"),
    [("success", 0.75, ("75%", "one seed", "50%", "100%", "")),
     ("own", 7.5, ("7.5", "one seed", "0.5", "1.0", ""))],
)  # fmt: skip
def test_success_is_told_in_per_cent(scale: str, last: float, told: tuple[str, ...]) -> None:
    found = pd.DataFrame([{**CELL, "last": last, "score_name": scale}])
    assert table(found, ["sampler"], 0) == [("uniform", "1 of 1", *told)]


def test_what_was_never_scored_says_why_and_is_judged_by_its_log(tmp_path: Path) -> None:
    rows = []
    for seed, (share, loss) in enumerate([("0.25", 1.0), ("0.25", 3.0), ("0", 5.0)]):
        place = tmp_path / str(seed)
        place.mkdir()
        held = {"offline/validation/bc_loss": loss} if share == "0.25" else {}
        for step, more in ((2, {}), (4, held)):
            append_csv(place / "metrics.csv", ["step", "offline/actor/bc_loss", *held],
                       [{"step": step, "offline/actor/bc_loss": 10 * loss - step, **more}])  # fmt: skip
        rows.append({"grid.holdout": share, "state": "finished", "last": float("nan"), "path": str(place)})
    found = pd.DataFrame([*rows, {"grid.holdout": "0", "state": "waiting", "path": float("nan")}])
    assert why(found).startswith("no scores for 3 of 4: they have no environment to act in (--env none")
    header = ["seeds", "held-out cloning loss", "training's cloning loss"]
    assert judged(found, ["holdout"]) == (header, [("0.25", "2", "2", "16"), ("0", "1", "", "46")])
    assert why(found.assign(last=1.0)) == ""


@pytest.mark.slow
def test_a_sweep_without_an_environment_shows_no_empty_scores(tmp_path: Path, capsys) -> None:
    words = ["--data", str(write_store(tmp_path / "x.h5", 8)), "--env", "none", "--agent", "td3_bc"]
    words += ["--steps", "4", "--batch-size", "8", "--grid", "holdout=0.25,0", "--out", str(tmp_path / "out")]
    assert dispatch(["sweep", *words, "--set", *settings("td3_bc", log_every=2)]) == 0
    said = capsys.readouterr().out
    assert "no scores for 2 of 2" in said
    assert "held-out cloning loss" in said
    assert "of 1" not in said
