"""What a command writes replaces nothing but a plain file, and a user's only with --overwrite."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from small_runs import trained, write_store

from trajrl.cli.main import dispatch
from trajrl.core.atomic_files import write_text

WRITERS = {
    "report": ["report", "RUN", "--detail", "0", "--out", "OUT"],
    "policy": ["export", "RUN", "--format", "torch", "--windows", "1", "--out", "OUT"],
    "import": ["store", "import", "FOREIGN", "--out", "OUT"],
    "export": ["store", "export", "STORE", "--format", "npz", "--out", "OUT"],
    "mix": ["store", "mix", "STORE:0.5", "STORE:0.5", "--transitions", "40", "--out", "OUT"],
    "pack": ["store", "pack", "STORE", "--out", "OUT"],
    "cluster": ["store", "cluster", "STORE", "--clusters", "2", "--out", "OUT"],
    "filter": ["store", "filter", "STORE", "--where", "length > 0", "--out", "OUT"],
    "doctor": ["store", "doctor", "FOREIGN", "--fix", "--out", "OUT"],
    "collect": ["collect", "--env", "toy:point", "--policy", "random", "--steps", "10", "--out", "OUT"],
    "reference": ["collect", "--env", "toy:point", "--policy", "RUN", "--reference", "--out", "OUT"],
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    store = write_store(place / "point.h5", 6)
    trained(place / "run", store, agent="td3_bc", sampler="uniform", steps=4)
    assert dispatch(["store", "export", str(store), "--format", "npz", "--out", str(place / "x.npz")]) == 0
    return place


def words(place: Path, what: str, out: Path) -> list[str]:
    named = {"RUN": place / "run", "STORE": place / "point.h5", "FOREIGN": place / "x.npz", "OUT": out}
    found = {**WRITERS, **FOLDERS}[what]
    for name, path in named.items():
        found = [word.replace(name, str(path)) for word in found]
    return found


@pytest.mark.parametrize("what", WRITERS)
def test_a_file_of_the_user_is_never_replaced_unasked(what, place, tmp_path, capsys):
    out = tmp_path / "mine.txt"
    out.write_text("mine")
    assert dispatch(words(place, what, out)) == 1
    assert f"{out} exists" in capsys.readouterr().err
    assert out.read_text() == "mine"


@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
@pytest.mark.parametrize("what", WRITERS)
def test_what_is_no_plain_file_is_never_replaced(what, kind, place, tmp_path, capsys):
    out = tmp_path / "out"
    {"device": lambda: out.symlink_to("/dev/null"), "pipe": lambda: os.mkfifo(out), "folder": out.mkdir}[
        kind
    ]()
    asked = words(place, what, out)
    more = [] if what == "reference" else ["--overwrite"]
    assert dispatch([*asked, *more]) == 1
    assert f"{out} is a {kind}" in capsys.readouterr().err
    assert not out.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_report_replaces_a_report_and_no_config(place, tmp_path, capsys):
    out, config = tmp_path / "report.html", place / "run" / "config.json"
    made = ["report", str(place / "run"), "--detail", "0", "--out"]
    assert dispatch([*made, str(out)]) == 0
    before = out.stat().st_ino
    assert dispatch([*made, str(out)]) == 0
    assert out.stat().st_ino != before
    assert dispatch([*made, str(config)]) == 1
    assert json.loads(config.read_text())["agent"] == "td3_bc"


def test_figures_replace_figures_and_nothing_else(place, tmp_path, capsys):
    made = ["report", str(place / "run"), "--detail", "0", "--format", "svg", "--out", str(tmp_path)]
    assert dispatch(made) == 0
    one = sorted(tmp_path.glob("*.svg"))[0]
    assert dispatch(made) == 0
    one.write_text("mine")
    assert dispatch(made) == 1
    assert f"{one} exists" in capsys.readouterr().err
    assert one.read_text() == "mine"


def test_a_run_is_not_written_over_files_of_the_user(place, tmp_path, capsys):
    (tmp_path / "metrics.csv").write_text("mine")
    line = ["offline", "--data", str(place / "point.h5"), "--steps", "2", "--out", str(tmp_path)]
    assert dispatch(line) == 1
    assert "holds metrics.csv" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


FOLDERS = {
    "run": ["offline", "--data", "STORE", "--env", "none", "--steps", "2", "--out", "OUT"],
    "figures": ["report", "RUN", "--detail", "0", "--format", "svg", "--out", "OUT"],
    "toy": ["toy", "8gaussians", "--steps", "2", "--out", "OUT"],
    "sweep": ["sweep", "--grid", "agent=td3_bc", "--steps", "2", "--out", "OUT"],
}  # fmt: skip
ODD = {
    "a link that leads nowhere": lambda out: out.symlink_to(out.with_name("nowhere")),
    "a pipe": os.mkfifo,
    "a device": lambda out: out.symlink_to("/dev/null"),
}  # fmt: skip


@pytest.mark.parametrize("what", [*WRITERS, *FOLDERS])
def test_an_out_of_another_kind_or_below_a_file_is_refused_before_any_work(what, place, tmp_path, capsys):
    for kind, make in ODD.items():
        make(out := tmp_path / kind.replace(" ", "-"))
        assert dispatch(words(place, what, out)) == 1
        assert f"{out} is {kind}; " in capsys.readouterr().err
        assert os.path.lexists(out)
        assert not out.is_file()
    (below := tmp_path / "mine.txt").write_text("mine")
    assert dispatch(words(place, what, below / "x.pt2")) == 1
    assert f"{below / 'x.pt2'} cannot be written: {below} is a file" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["mine.txt", *(kind.replace(" ", "-") for kind in ODD)]
    )


@pytest.mark.parametrize("left", ["checkpoints/step-000000009", "tb/events.out", "journal/episodes.journal"])
def test_a_new_run_begins_over_no_part_of_an_older_one(left, place, tmp_path, capsys):
    (tmp_path / left).mkdir(parents=True)
    line = ["offline", "--data", str(place / "point.h5"), "--steps", "2", "--out", str(tmp_path)]
    assert dispatch(line) == 1
    assert f"holds {left.partition('/')[0]}, which a run would write over" in capsys.readouterr().err
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.name == Path(left).name]


def test_videos_are_written_through_no_link(place, tmp_path, capsys):
    shutil.copytree(place / "run", tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "videos").symlink_to(tmp_path / "elsewhere")
    assert dispatch(["evaluate", str(tmp_path / "run"), "--episodes", "1", "--video", "1"]) == 1
    assert "outside" in capsys.readouterr().err
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_writer_whose_folder_another_removed_before_it_was_held_takes_a_new_one(tmp_path, monkeypatch):
    made, folders = tempfile.mkdtemp, []

    def seen_by_another(**where):
        folders.append(made(**where))
        if len(folders) == 1:
            os.rmdir(folders[0])
        return folders[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", seen_by_another)
    write_text(tmp_path / "x", "whole")
    assert (len(folders), (tmp_path / "x").read_text()) == (2, "whole")
