"""Units of actions: one box asks nothing, two boxes ask once, and nothing is guessed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from episodes import write
from sample_envs import Robot

from trajrl import Episode, TrajectoryStore
from trajrl.cli.main import dispatch
from trajrl.envs import make_suite
from trajrl.store.file.writer import StoreWriter
from trajrl.store.mix import choose, write_mixture
from trajrl.training.action_units import action_units, trained_units

TABLE = """
| the store's box | the environment's | recorded | `as_found` | `clip` | `scale` | `scaled` | `rescale` |
|---|---|---|---|---|---|---|---|
| none | [-1, 1] | 0.5 | 0.5 | 0.5 | 0.5 | 0.5 | no box |
| none | [-1, 1] | 1.5 | outside | 1 | 1 | outside | no box |
| none | [-2, 2] | 0.5 | asks | asks | 0.5 | 1 | no box |
| none | [-2, 2] | 1.5 | asks | asks | 1.5 | outside | no box |
| none | [-2, 2] | 3 | asks | asks | 2 | outside | no box |
| [-1, 1] | [-1, 1] | 0.5 | 0.5 | 0.5 | 0.5 | 0.5 | 0.5 |
| [-1, 1] | [-1, 1] | 1.5 | outside | 1 | 1 | outside | 1 |
| [-2, 2] | [-2, 2] | 0.5 | 0.5 | 0.5 | 0.5 | 1 | 0.5 |
| [-2, 2] | [-2, 2] | 1.5 | 1.5 | 1.5 | 1.5 | outside | 1.5 |
| [-2, 2] | [-2, 2] | 3 | outside | 2 | 2 | outside | 2 |
| [-2, 2] | [-1, 1] | 0.5 | asks | asks | 0.5 | 0.5 | 0.25 |
| [-2, 2] | [-1, 1] | 1.5 | asks | asks | 1 | outside | 0.75 |
| [-2, 2] | [-1, 1] | 3 | asks | asks | 1 | outside | 1 |
| [-1, 1] | [-2, 2] | 0.5 | asks | asks | 0.5 | 1 | 1 |
| [-1, 1] | [-2, 2] | 1.5 | asks | asks | 1.5 | outside | 2 |
| [-1, 1] | [-2, 2] | 3 | asks | asks | 2 | outside | 2 |
| marked as [-1, 1] | [-2, 2] | 0.5 | 1 | 1 | marked | 1 | 1 |
| marked as [-1, 1] | [-2, 2] | 1.5 | outside | 2 | marked | outside | 2 |
"""
REFUSED = {
    "outside": "lie outside", "asks": "which units", "no box": "names no box|nothing names one",
    "marked": "says that its actions are in",
}  # fmt: skip
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.strip().splitlines()]
WIDE = {"action_low": [-2.0, -2.0], "action_high": [2.0, 2.0]}


def data(largest: float = 0.5, **attributes) -> TrajectoryStore:
    """Return a store of one episode whose actions go up to `largest`."""
    store = TrajectoryStore.of([Episode(np.zeros((4, 2)), np.full((3, 2), largest), np.zeros(3), False)])
    store.attributes.update(attributes)
    return store


@pytest.fixture(scope="module")
def robot():
    return make_suite("sample_envs:robot")


@pytest.fixture(scope="module")
def unit():
    return make_suite("toy:point")


def learned(store, mode, suite) -> float:
    """Return what training sees of the first action."""
    return float(action_units(store, mode, suite).shape()(torch.from_numpy(store.actions.slice(0, 1)))[0, 0])


@pytest.mark.parametrize("row", ROWS[2:], ids=lambda row: "/".join(row[:3]))
def test_the_environment_receives_what_the_table_says(row):
    kept, bound, recorded, *cells = row
    suite = make_suite("sample_envs:robot", arguments={"bound": float(bound[5:-1])})
    attributes = {} if kept == "none" else {"action_low": -float(kept[-2]), "action_high": float(kept[-2])}
    store = data(float(recorded), **attributes, actions_scaled=kept.startswith("marked"))
    for mode, cell in zip(ROWS[0][3:], cells):
        if cell in REFUSED:
            with pytest.raises(ValueError, match=REFUSED[cell]):
                learned(store, mode.strip("`"), suite)
            continue
        suite.make(0).step(np.full(2, learned(store, mode.strip("`"), suite), np.float32))
        np.testing.assert_allclose(Robot.received[-1], float(cell), rtol=1e-6, err_msg=mode)


def test_the_docs_have_the_table():
    assert TABLE in (Path(__file__).parents[2] / "docs" / "2-your-data.md").read_text()


def test_clip_is_no_answer_and_says_why(robot):
    with pytest.raises(ValueError, match=r"--actions clip cuts to a box and does not say .* which units"):
        learned(data(0.5), "clip", robot)


def test_a_run_is_reloaded_with_the_cut_that_it_was_trained_with(unit):
    outside = torch.tensor([[1.5, 0.0]])
    for attributes, mode in ({}, "scale"), ({}, "clip"), (WIDE, "rescale"):
        store = data(3.0, **attributes)
        made = action_units(store, mode, unit)
        found = trained_units(store, mode, made.acted)
        assert torch.equal(found.shape()(outside), made.shape()(outside)), mode
        assert found.data.same_as(made.data)


def test_one_box_asks_nothing_and_is_divided_by(robot):
    assert learned(data(0.5, **WIDE), "as_found", robot) == 0.25
    assert learned(data(1.5, **WIDE), "as_found", robot) == 0.75
    assert learned(data(0.5, **WIDE), "as_found", None) == 0.25  # without an environment the store's box


def test_a_store_without_a_box_asks_nothing_where_the_environment_has_the_unit_box(unit):
    store = data(0.5)
    assert learned(store, "as_found", unit) == learned(store, "as_found", None) == 0.5
    with pytest.raises(ValueError, match=r"lie outside \[-1, 1\] .*--actions clip"):
        learned(data(1.5), "as_found", unit)
    assert learned(data(1.5), "clip", unit) == 1.0


@pytest.mark.parametrize("attributes", [{}, {"action_low": -1.0, "action_high": 1.0}])
@pytest.mark.parametrize("mode", ["as_found", "clip"])
def test_an_ambiguous_box_is_one_question(robot, attributes, mode):
    with pytest.raises(ValueError, match=r"takes \[-2, 2\]: which units .*--actions scale.*--actions scaled"):
        learned(data(0.5, **attributes), mode, robot)
    assert learned(data(0.5, **attributes), "scale", robot) == 0.25  # received: 0.5
    assert learned(data(0.5, **attributes), "scaled", robot) == 0.5  # received: 1


def test_scale_takes_the_true_box_and_never_the_largest_action(robot):
    assert learned(data(1.2), "scale", robot) == pytest.approx(0.6)
    with pytest.raises(ValueError, match="nothing names one"):
        learned(data(1.2), "scale", None)
    with pytest.raises(ValueError, match="lie outside"):
        learned(data(1.2), "scaled", robot)


def test_what_trajrl_recorded_in_the_unit_box_is_known_to_be_scaled(robot):
    old = data(0.5, action_low=-1.0, action_high=1.0, provenance={"command": "collect"})
    units = action_units(old, "as_found", robot)
    assert units.data.is_unit
    assert str(units.acted) == "[-2, 2]"


def test_a_run_made_before_boxes_were_kept_is_read_as_it_was_trained():
    assert trained_units(data(0.5), "as_found", None).data.is_unit
    assert trained_units(data(0.5, **WIDE), "scale", None).data.high.tolist() == [2.0, 2.0]


def test_import_takes_the_given_box_and_the_files_own_before_the_environments(tmp_path, capsys):
    made = write(tmp_path / "a.h5", data(0.5).episodes(), **WIDE)
    words = ["store", "import", str(made), "--env", "toy:point", "--out", str(tmp_path / "b.h5"), "--json"]
    assert dispatch(words) == 0
    assert "[-2, 2]" in json.loads(capsys.readouterr().out.splitlines()[-1])["action_box"]
    words = [
        "store",
        "import",
        str(made),
        "--action-box",
        "[-1,-3]",
        "[1,3]",
        "--out",
        str(tmp_path / "c.h5"),
    ]
    assert dispatch(words) == 0
    assert "actions: in the box [-1, -3] to [1, 3], from --action-box" in capsys.readouterr().out
    assert dispatch(["store", "doctor", str(tmp_path / "c.h5")]) == 0
    assert "from --action-box" in capsys.readouterr().out


def test_a_store_that_is_written_anew_keeps_its_phases(tmp_path):
    with StoreWriter(tmp_path / "a.h5") as writer:
        for phase in ("offline", "online", "online"):
            writer.append(data(0.5).episode(0), phase, {"broken": phase == "online"})
    words = ["store", "import", str(tmp_path / "a.h5"), "--action-box", "-1", "1"]
    assert dispatch([*words, "--out", str(tmp_path / "b.h5")]) == 0
    table = TrajectoryStore.open(tmp_path / "b.h5").table
    assert (table.phase.tolist(), table.broken.tolist()) == ([0, 1, 1], [False, True, True])


@pytest.mark.parametrize("words", [["2", "-2"], ["a", "1"], ["[-1,-1,-1]", "[1,1,1]"]])
def test_a_box_that_is_none_is_refused(tmp_path, capsys, words):
    made = write(tmp_path / "a.h5", data(0.5).episodes())
    asked = ["store", "import", str(made), "--action-box", *words, "--out", str(tmp_path / "b.h5")]
    assert dispatch(asked) == 1
    assert "action" in capsys.readouterr().err


def test_mix_refuses_other_boxes_and_environments_unless_forced(tmp_path):
    one = write(tmp_path / "a.h5", data(0.5).episodes(), environment="A", **WIDE)
    other = write(tmp_path / "b.h5", data(0.4).episodes(), environment="A")
    third = write(tmp_path / "c.h5", data(0.3).episodes(), environment="B", **WIDE)
    with pytest.raises(
        ValueError, match=r"a.h5 has actions in the box \[-2, 2\] and .*b.h5 without a box .*--force"
    ):
        choose([(one, 0.5), (other, 0.5)], 6, 0)
    with pytest.raises(ValueError, match=r"recorded in A and .*c.h5 in B; --force"):
        choose([(one, 0.5), (third, 0.5)], 6, 0)
    found = write_mixture(choose([(one, 0.5), (third, 0.5)], 6, 0, force=True), tmp_path / "m.h5", 0)
    assert found["left_out"][-1] == "environment (A | B)"
    kept = TrajectoryStore.open(tmp_path / "m.h5").attributes
    assert (kept["action_high"], kept.get("environment")) == ([2.0, 2.0], None)  # what agrees is kept


def test_mix_takes_a_store_without_a_box_beside_the_unit_box_only_where_its_numbers_lie_in_it(tmp_path):
    unit = {"action_low": [-1.0, -1.0], "action_high": [1.0, 1.0], "action_box_from": "--action-box"}
    boxed = write(tmp_path / "a.h5", data(0.5).episodes(), **unit)
    inside, outside = (write(tmp_path / f"{v}.h5", data(v).episodes()) for v in (0.4, 1.5))
    parts = choose([(boxed, 0.5), (inside, 0.5)], 6, 0)
    assert write_mixture(parts, tmp_path / "m.h5", 0)["left_out"][-1] == "action box ([-1, 1] | none)"
    for shares in ([(boxed, 0.5), (outside, 0.5)], [(outside, 0.5), (boxed, 0.5)]):
        with pytest.raises(ValueError, match=r"without a box \(from .* to 1.5\)"):
            choose(shares, 6, 0)


def test_import_does_not_say_that_numbers_outside_the_box_are_received_as_recorded(tmp_path, capsys):
    made = write(tmp_path / "a.h5", data(1.5).episodes())
    words = ["store", "import", str(made), "--action-box", "-1", "1", "--out", str(tmp_path / "b.h5")]
    assert dispatch(words) == 0
    said = capsys.readouterr().out
    assert "some lie outside it" in said
    assert "as recorded" not in said
