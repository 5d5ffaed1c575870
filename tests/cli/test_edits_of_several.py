"""Edits of several files: they are read as one store, in order, and the result is that of one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from episodes import assert_same, counting, filmed, random_episode, write

from trajrl import TrajectoryStore
from trajrl.cli.main import dispatch

SEVERAL = ["a.h5", "shards/*.h5"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work in a folder with twelve episodes in one file, and the same in three."""
    monkeypatch.chdir(tmp_path)
    Path("shards").mkdir()
    episodes = [random_episode(3, e, marks=True) for e in range(12)]
    write(Path("whole.h5"), episodes, environment="E")
    for place, part in (
        ("a.h5", episodes[:4]),
        ("shards/1.h5", episodes[4:8]),
        ("shards/2.h5", episodes[8:]),
    ):
        write(Path(place), part, environment="E")


def edited(capsys, *words: str) -> dict:
    assert dispatch(["store", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def refused(capsys, *words: str) -> str:
    """Run an edit that must fail and leave nothing; returns its one line."""
    before = sorted(Path().rglob("*"))
    assert dispatch(["store", *words]) == 1
    assert sorted(Path().rglob("*")) == before
    (line,) = capsys.readouterr().err.rstrip().splitlines()
    return line


@pytest.mark.parametrize(
    "words",
    [
        ["filter", "--where", "length > 4 and source == 'source 1'"], ["delete", "--episodes", "2:5", "9"],
        ["relabel", "--reward-scale", "2"], ["rename", "--sources", "source 1=left"],
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_several_files_are_edited_as_one_store(capsys, words):
    one = edited(capsys, words[0], "whole.h5", *words[1:], "--out", "one.h5")
    many = edited(capsys, words[0], *SEVERAL, *words[1:], "--out", "many.h5")
    assert (many["kept"], many["dropped"]) == (one["kept"], one["dropped"])
    assert many["fingerprint"] == one["fingerprint"]
    assert many["from"]["file"] == "a.h5 and 2 more"
    for left, right in zip(
        TrajectoryStore.open("one.h5").episodes(), TrajectoryStore.open("many.h5").episodes()
    ):
        assert_same(left, right)
    assert edited(capsys, "info", "many.h5")["edits"][0].startswith(f"{words[0]} of a.h5 and 2 more: ")


def test_several_files_are_shared_out_together(capsys):
    found = edited(capsys, "split", *SEVERAL, "--parts", "train:0.5", "val:0.5", "--out", "parts")
    assert [part["kept"]["episodes"] for part in found["parts"].values()] == [6, 6]
    whole = {tuple(one.rewards) for one in TrajectoryStore.open("whole.h5").episodes()}
    parts = [TrajectoryStore.open(f"parts/{name}.h5") for name in ("train", "val")]
    assert {tuple(one.rewards) for part in parts for one in part.episodes()} == whole


def test_a_pattern_is_merged_in_order_of_name(capsys):
    found = edited(capsys, "merge", *SEVERAL, "--out", "merged.h5")
    assert [part["source"] for part in found["parts"]] == ["a.h5", "1.h5", "2.h5"]
    assert found["episodes"] == 12


def test_packed_files_are_edited_with_others(capsys):
    edited(capsys, "pack", "shards/1.h5", "--out", "p.h5")
    found = edited(capsys, "filter", "a.h5", "p.h5", "--where", "episode < 6", "--out", "y.h5")
    assert found["kept"]["episodes"] == 6


def test_images_of_several_files_go_along(capsys):
    for place in range(2):
        write(Path(f"i{place}.h5"), [filmed(place, e) for e in range(3)])
    edited(capsys, "filter", "i0.h5", "i1.h5", "--where", "episode != 1", "--out", "y.h5")
    assert_same(TrajectoryStore.open("y.h5").episode(3), filmed(1, 1))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["filter", "a.h5", "shards/*.h5", "--where", "success", "--out", "a.h5", "--overwrite"],
         "a.h5 is one of the 3 files that are read; --out takes another name"),
        (["filter", "a.h5", "a.h5", "--where", "success", "--out", "y.h5"], "a.h5 is named twice"),
        (["filter", "none/*.h5", "--where", "success", "--out", "y.h5"], "none/*.h5: no file is called so"),
        (["filter", "a.h5", "whole.h5", "--where", "length > 99", "--out", "y.h5"],
         "no episode of the 16 in a.h5 and 1 more fits the question"),
        (["delete", "a.h5", "shards/1.h5", "--episodes", "8", "--out", "y.h5"], "ids run from 0 to 7"),
        (["merge", "whole.h5", "--out", "y.h5"], "a merge takes two stores or more"),
        (["relabel", "https://127.0.0.1:9/x.h5", "--reward-scale", "2", "--out", "y.h5"],
         "lies elsewhere; an edit reads files of this machine: copy it here first"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_with_several_is_one_line(capsys, words, says):
    assert says in refused(capsys, *words)


def test_files_that_are_not_parts_of_one_store_are_refused(capsys):
    write(Path("b.h5"), [counting(3)], environment="E")
    line = refused(capsys, "filter", "a.h5", "b.h5", "--where", "length > 1", "--out", "y.h5")
    assert "b.h5" in line
    assert line.endswith("they are not parts of one store")


def test_no_file_is_wrong_usage(capsys):
    assert dispatch(["store", "filter", "--where", "success", "--out", "y.h5"]) == 2
