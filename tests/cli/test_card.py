"""The card of an exported policy: from which data, with which settings, what it scored, whose it is."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import trained, write_store

from trajrl.cli import card
from trajrl.cli.main import dispatch
from trajrl.core.paths import DEMO_STORE
from trajrl.store.store import TrajectoryStore
from trajrl.training.config import RunConfig
from trajrl.training.run_dir.selection import write_selection


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("card")
    store = write_store(place / "x.h5")
    trained(place / "run", store)
    (place / "run/versions.json").write_text(
        json.dumps({"trajrl": "0.2.0", "data_fingerprint": TrajectoryStore.open(store).fingerprint})
    )
    words = ["export", str(place / "run"), "--format", "torch", "--out", str(place / "p.pt2"), "--trust"]
    assert dispatch(words) == 0
    return place


def test_the_card_inside_the_file_has_data_scores_licence_and_settings(exported):
    extra = {"trajrl.json": ""}
    torch.export.load(exported / "p.pt2", extra_files=extra)
    found = json.loads(extra["trajrl.json"])["card"]
    config = json.loads((exported / "run/config.json").read_text())
    assert found["data"] == {
        "name": "x.h5", "fingerprint": TrajectoryStore.open(exported / "x.h5").fingerprint,
    }  # fmt: skip
    with (exported / "run/evals.csv").open() as file:
        rows = [float(row["return"]) for row in csv.DictReader(file) if int(row["step"]) == found["step"]]
    assert found["scores"]["return"]["value"] == pytest.approx(np.mean(rows))
    assert found["scores"]["return"]["episodes"] == len(rows)
    assert (config["env"], found["environment"]) == ("", "toy:point")  # the data's own
    assert (found["seed"], found["config"]["batch_size"]) == (config["seed"], config["batch_size"])
    assert found["licence"] == card.UNNAMED


def test_the_card_beside_the_file_says_the_same_and_no_place_on_a_machine(exported):
    text = (exported / "p.pt2.card.md").read_text()
    assert text.startswith("# p.pt2\n")
    assert f"fingerprint {TrajectoryStore.open(exported / 'x.h5').fingerprint}" in text
    assert "- return: " in text
    assert f"- licence: {card.UNNAMED}" in text
    assert "batch_size = " in text
    assert str(exported) not in text


def test_the_card_of_a_selected_policy_says_by_what_and_what_cannot_be_separated_from_it(exported, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(exported / "run", run)
    rows = [
        {"step": step, "value": -value, "low": -value - 1, "high": 1 - value, "tied": tied}
        for step, value, tied in ((10, 1.5, True), (20, 1.0, True), (25, 9.0, False))
    ]
    write_selection(run, {"by": "fqe", **rows[1], "better": "higher", "policies": rows})
    store, config = TrajectoryStore.open(exported / "x.h5"), RunConfig.load(run / "config.json")
    text = card.as_text(card.card(run, config, 20, store, "", "selected"), "p")
    assert "- selected by fqe, of 3 kept policies: -1, 95 % interval -2 to 0\n" in text
    assert "- cannot be separated from it: step 10\n" in text
    assert "selected by" not in card.as_text(card.card(run, config, 25, store, ""), "p")


def test_a_card_that_is_there_is_not_replaced_unasked(exported, tmp_path, capsys):
    (tmp_path / "q.pt2.card.md").write_text("mine")
    words = [
        "export",
        str(exported / "run"),
        "--format",
        "torch",
        "--out",
        str(tmp_path / "q.pt2"),
        "--trust",
    ]
    assert dispatch(words) == 1
    assert "q.pt2.card.md" in capsys.readouterr().err
    assert (tmp_path / "q.pt2.card.md").read_text() == "mine"


def test_the_demo_store_gives_its_licence_and_data_that_names_one_its_own():
    demo = TrajectoryStore.open(DEMO_STORE)
    assert card.licence(demo, demo.fingerprint) == card.DEMO
    other = TrajectoryStore()
    assert card.licence(other, "abc") == card.UNNAMED
    other.attributes["licence"] = "CC BY 4.0"
    assert card.licence(other, "abc").startswith("CC BY 4.0, ")


def test_a_one_step_student_has_its_own_scores_on_its_card(tmp_path, monkeypatch):
    own = {"value": 7.0, "low": 6.0, "high": 8.0, "step": 5, "scale": "score"}
    monkeypatch.setattr(card, "facts", lambda folder, step: {"score": own, "milliseconds": {}})
    assert card.student_scores(tmp_path, 5) == {"score": {"value": 7.0, "low": 6.0, "high": 8.0}}
    monkeypatch.setattr(card, "facts", lambda folder, step: {"score": None})
    assert card.student_scores(tmp_path, 5) is None
