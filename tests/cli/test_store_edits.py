"""Edits of stores from the command line: what is answered and said, one line of reason, own rewards."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from episodes import counting, write

from trajrl import TrajectoryStore
from trajrl.cli.main import dispatch
from trajrl.core import trust

REWARDS = """
import numpy as np
def near(episode):
    return -np.abs(episode.obs[1:]).sum(1)
def short(episode):
    return [0.0]
def broken(episode):
    return episode.nothing
six = 6
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work in a folder with a store and a module of rewards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_rewards.py").write_text(REWARDS)
    episodes = [counting(3 + e, e % 2 == 0, success=e % 3 == 0, source="ab"[e % 2]) for e in range(10)]
    write(tmp_path / "x.h5", episodes, environment="E", provenance={"format": "npz"})
    yield
    sys.modules.pop("my_rewards", None)
    trust._known[:] = [trust.Known()]


def answer(capsys, *words: str, code: int = 0) -> dict:
    assert dispatch([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def refused(capsys, *words: str) -> list[str]:
    """Run a command that must fail and write nothing; returns its lines."""
    assert dispatch(list(words)) == 1
    assert sorted(place.name for place in Path().iterdir() if place.suffix) == ["my_rewards.py", "x.h5"]
    return capsys.readouterr().err.rstrip().splitlines()


def test_filter_answers_counts_and_the_new_fingerprint(capsys):
    found = answer(
        capsys, "store", "filter", "x.h5", "--where", "return > 5 and source == 'a'", "--out", "y.h5"
    )
    assert found["kept"] == {"episodes": 3, "transitions": 7 + 9 + 11}
    assert found["dropped"] == {"episodes": 7, "transitions": 75 - 27}
    assert found["fingerprint"] == TrajectoryStore.open("y.h5").fingerprint
    assert found["out"].endswith("/y.h5")
    known = answer(capsys, "store", "info", "y.h5")
    assert (known["episodes"], known["source_format"]) == (3, "npz")
    assert known["edits"] == ["filter of x.h5: 3 of 10 episodes"]


def test_a_filter_says_what_it_kept_and_what_is_not_carried(capsys):
    assert dispatch(["store", "filter", "x.h5", "--where", "success", "--out", "y.h5"]) == 0
    said = capsys.readouterr().out
    assert "kept 4 episodes, 30 steps; dropped 6 episodes, 45 steps" in said
    assert "not carried: held-out episodes of runs" in said


def test_a_question_that_is_none_is_one_line_with_a_caret_below(capsys):
    lines = refused(capsys, "store", "filter", "x.h5", "--where", "retrun > 5", "--out", "y.h5")
    assert lines == ["error: --where: no column 'retrun'; did you mean 'return'?", "  retrun > 5", "  ^"]
    lines = refused(capsys, "store", "delete", "x.h5", "--where", "return > > 5", "--out", "y.h5")
    assert lines[1:] == ["  return > > 5", "           ^"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["filter", "x.h5", "--where", "return > 500", "--out", "y.h5"], "no episode of the 10 in x.h5 fits"),
        (
            ["filter", "x.h5", "--where", "success", "--out", "x.h5"],
            "exists; choose another name or add --ov",
        ),
        (["filter", "z.h5", "--where", "success", "--out", "y.h5"], "z.h5: no such file"),
        (["filter", "my_rewards.py", "--where", "success", "--out", "y.h5"], "is not a whole HDF5 file"),
        (["delete", "x.h5", "--out", "y.h5"], "nothing is named to delete"),
        (["delete", "x.h5", "--episodes", "10", "--out", "y.h5"], "ids run from 0 to 9"),
        (["delete", "x.h5", "--episodes", "1", "--where", "success", "--out", "y.h5"], "or --where"),
        (["relabel", "x.h5", "--out", "y.h5"], "no other rewards are named"),
        (["relabel", "x.h5", "--reward", "near", "--out", "y.h5"], "--reward takes MODULE:CALLABLE"),
        (
            ["relabel", "x.h5", "--reward", "my_rewards:six", "--out", "y.h5"],
            "--reward takes MODULE:CALLABLE",
        ),
        (["relabel", "x.h5", "--reward", "my_rewards:neer", "--out", "y.h5"], "did you mean 'near'?"),
        (["relabel", "x.h5", "--reward", "nowhere:near", "--out", "y.h5"], "no module 'nowhere'"),
        (["relabel", "x.h5", "--reward", "my_rewards:short", "--out", "y.h5"], "it must return 3 numbers"),
        (["relabel", "x.h5", "--reward", "my_rewards:broken", "--out", "y.h5"], "my_rewards.py, line 8"),
        (["relabel", "x.h5", "--reward-scale", "inf", "--out", "y.h5"], "a reward is a finite number"),
        (["rename", "x.h5", "--sources", "c=d", "--out", "y.h5"], "no source 'c'"),
        (["merge", "x.h5", "--out", "y.h5"], "two stores or more"),
        (["split", "x.h5", "--parts", "a:0.5", "b:0.6", "--out", "parts"], "add up to 1.1"),
        (["split", "x.h5", "--parts", "a:0.5", "b:0.5", "--out", "x.h5"], "makes a folder of its own"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(capsys, words, says):
    (line,) = refused(capsys, "store", *words)
    assert says in line


def test_rewards_of_ones_own_function(capsys):
    found = answer(capsys, "store", "relabel", "x.h5", "--reward", "my_rewards:near", "--out", "y.h5")
    new = TrajectoryStore.open("y.h5")
    np.testing.assert_array_equal(new.rewards.slice(0, 3), [-1, -2, -3])
    assert found["return_before"] == 7.5
    assert found["returns"]["mean"] == new.table.returns.mean()
    (edit,) = new.attributes["provenance"]["edits"]
    assert edit["asked"]["reward"] == "my_rewards:near"


def test_success_as_reward_less_one(capsys):
    words = ["--success-to-reward", "--reward-shift", "-1", "--out", "y.h5"]
    answer(capsys, "store", "relabel", "x.h5", *words)
    assert TrajectoryStore.open("y.h5").table.returns.tolist()[:2] == [-2.0, -4.0]


def test_split_merge_rename_and_delete_one_after_the_other(capsys):
    found = answer(capsys, "store", "split", "x.h5", "--parts", "train:0.8", "val:0.2", "--out", "parts")
    assert [part["kept"]["episodes"] for part in found["parts"].values()] == [8, 2]
    assert dispatch(["store", "split", "x.h5", "--parts", "a:0.5", "b:0.5", "--out", "parts"]) == 1
    assert "parts exists" in capsys.readouterr().err
    merged = answer(capsys, "store", "merge", "parts/train.h5", "parts/val.h5", "--out", "m.h5")
    assert (merged["episodes"], merged["twice"]) == (10, 0)
    answer(
        capsys,
        "store",
        "rename",
        "m.h5",
        "--sources",
        "a=teleop",
        "--env",
        "F",
        "--out",
        "m.h5",
        "--overwrite",
    )
    assert answer(capsys, "store", "info", "m.h5")["sources"] == {"teleop": 5, "b": 5}
    found = answer(capsys, "store", "delete", "m.h5", "--episodes", "0:5", "9", "--out", "d.h5")
    assert found["kept"]["episodes"] == 4
    assert answer(capsys, "store", "verify", "d.h5")["findings"] == []
