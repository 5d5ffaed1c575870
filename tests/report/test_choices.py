"""Would you have chosen right?  Regret, order and gain of criteria, and the report's section."""

import json

import numpy as np
import pandas as pd
import pytest
from synthetic import write_run

from trajrl.report.choices import CLONING, choice, choices, selections
from trajrl.report.page import compose
from trajrl.report.selection import four_scores
from trajrl.training.run_dir.evaluations import interval
from trajrl.training.run_dir.selection import NAME, write_selection


def test_regret_order_and_gain_of_a_choice():
    score = np.array([10.0, 30.0, 20.0, 25.0])
    right = choice(np.array([1.0, 4.0, 2.0, 3.0]), score, True)
    assert right == (1, 0.0, pytest.approx(1.0), True)
    wrong = choice(np.array([1.0, 4.0, 2.0, 3.0]), score, False)
    assert wrong == (0, 20.0, pytest.approx(-1.0), False)


def test_equal_policies_have_no_order_and_the_later_is_taken():
    found = choice(np.ones(3), np.array([1.0, 2.0, 3.0]), True)
    assert (found.place, found.regret, found.beats_last) == (2, 0.0, False)
    assert np.isnan(found.spearman)


def selection(steps, values, by="fqe", better="higher"):
    rows = [
        {"step": s, "value": v, "low": v - 1, "high": v + 1, "tied": False} for s, v in zip(steps, values)
    ]
    best = max(rows, key=lambda row: row["value"])
    return {"by": by, "better": better, "step": best["step"], "policies": rows}


def test_every_criterion_that_is_known_at_all_evaluations_has_a_row():
    evals = pd.DataFrame({"run": "a", "step": [10, 20, 30], "value": [1.0, 3.0, 2.0]})
    logged = pd.DataFrame(
        {"run": "a", "step": [10, 20, 30], "offline/actor/bc_loss": [3.0, 2.0, 1.0],
         "offline/validation/td_abs": [5.0, 1.0, 2.0], "offline/validation/bc_loss": [1.0, np.nan, 2.0]}
    )  # fmt: skip
    found = choices(evals, logged, {"a": selection([10, 20, 30], [9.0, 8.0, 7.0])}).set_index("criterion")
    assert found["step"].to_dict() == {CLONING: 30, "held-out TD error": 20, "select --by fqe": 10}
    assert found["regret"].to_dict() == {CLONING: 1.0, "held-out TD error": 0.0, "select --by fqe": 2.0}
    assert found["beats_last"].tolist() == [False, True, False]


def test_selected_is_what_select_chose():
    evals = pd.DataFrame({"run": "a", "step": [10, 20], "value": [1.0, 3.0]})
    assert np.isnan(four_scores(evals, pd.DataFrame())["selected"][0])
    assert four_scores(evals, pd.DataFrame(), chosen={"a": 10})["selected"][0] == 1.0


def test_value_and_interval_are_those_of_the_evaluation_that_select_chose(tmp_path):
    run = write_run(tmp_path / "a", evaluations=3)  # its summary was written before the choice
    write_selection(run, selection([100, 200, 300], [3.0, 2.0, 1.0]))
    rows = pd.read_csv(run / "evals.csv")
    found = interval(rows.loc[rows["step"] == 100, "score"].to_numpy(), 0)
    shown = compose.compose([run], compose.Options(detail=0)).sections[0].items[0].rows.iloc[0]
    assert shown["selected"] == f"{found['value']:.1f} ({found['low']:.1f} to {found['high']:.1f})"


def test_the_report_has_the_section_and_a_damaged_selection_is_a_note(tmp_path):
    good, bad = write_run(tmp_path / "good", evaluations=3), write_run(tmp_path / "bad", 1, evaluations=3)
    write_selection(good, selection([100, 200, 300], [1.0, 3.0, 2.0]))
    (bad / NAME).write_text(json.dumps({"by": "fqe"}))
    found = compose.compose([tmp_path], compose.Options(detail=0))
    section = next(one for one in found.sections if one.key == "choice")
    assert [item.key for item in section.items] == ["choices", "criterion-fqe", "criterion-score-fqe"]
    assert (
        section.items[0].rows.set_index(["run", "criterion"]).loc[("good", "select --by fqe"), "step"] == 200
    )
    assert any(NAME in note for note in found.notes)


def test_runs_without_an_environment_show_the_criterion_alone(tmp_path):
    run = write_run(tmp_path / "a", evaluations=0)
    write_selection(run, selection([100, 200], [1.0, 3.0]))
    section = next(s for s in compose.compose([run], compose.Options(detail=0)).sections if s.key == "choice")
    assert [item.key for item in section.items] == ["criterion-fqe"]
    assert selections({"a": run}, [])["a"]["step"] == 200
