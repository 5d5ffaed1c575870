"""The printed table of a sweep."""

from __future__ import annotations

import pandas as pd
import pytest

from trajrl.sweep.results import table

CELL = {"grid.sampler": "uniform", "mean_last_10": 0.5, "best": 1.0, "selected": float("nan")}


@pytest.mark.parametrize(
    ("scale", "last", "told"),
    [("success", 0.75, ("75%", "one seed", "50%", "100%", "")),
     ("own", 7.5, ("7.5", "one seed", "0.5", "1.0", ""))],
)  # fmt: skip
def test_success_is_told_in_per_cent(scale: str, last: float, told: tuple[str, ...]) -> None:
    found = pd.DataFrame([{**CELL, "last": last, "score_name": scale}])
    assert table(found, ["sampler"], 0) == [("uniform", "1 of 1", *told)]
