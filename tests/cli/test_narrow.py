"""A terminal of 50 columns: nothing that lists is wider than it."""

from types import SimpleNamespace

import pytest

from tests.store.episodes import random_episode, write
from trajrl.cli.main import dispatch
from trajrl.cli.select import show
from trajrl.cli.text_table import show_table


@pytest.mark.parametrize(
    "words", ["--help", "store --help", "list", "list agents", "list samplers", "list presets"]
)
@pytest.mark.parametrize("columns", [50, 80])
def test_what_is_listed_fits(words, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert dispatch(words.split()) == 0
    printed = capsys.readouterr()
    assert [line for line in (printed.out + printed.err).splitlines() if len(line) > columns] == []


def test_what_a_command_does_stands_beside_its_name_on_every_line(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "50")
    assert dispatch(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("  protocol"))
    assert lines[place : place + 3] == [
        "  protocol       offline, then online, on every",
        "                 task and seed, as published",
        "  report         show what runs learned, and from",
    ]


@pytest.mark.parametrize("columns", [40, 50, 60])
def test_numbers_of_an_episode_are_whole(columns, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    write(tmp_path / "x.h5", [random_episode(0, 0), random_episode(0, 1)])
    words = ["store", "show", str(tmp_path / "x.h5"), "--episode", "1"]
    assert dispatch(words) == 0
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.splitlines())) <= max(columns, len(str(tmp_path)))
    monkeypatch.setenv("COLUMNS", "140")
    dispatch(words)
    rows = capsys.readouterr().out.splitlines()
    numbers = [word for row in rows if row.strip().startswith("obs ") for word in row.split()[2:5]]
    assert numbers
    assert set(numbers) <= set(narrow.replace(",", " ").split())


def test_a_table_that_does_not_fit_is_a_paragraph_for_each_row(capsys):
    show_table(("run", "step", "value"), [("a-long-name", "100", "-2.103e+05")], ("step", "value"), 24)
    assert capsys.readouterr().out.splitlines() == ["a-long-name", "  step 100", "  value -2.103e+05"]
    show_table(("run", "step", "value"), [("a", "100", "-2.103e+05")], ("step", "value"), 40)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["a", "100", "-2.103e+05"]


def test_parts_of_a_split_fit(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.h5", [random_episode(0, e) for e in range(4)])
    assert dispatch(["store", "split", "x.h5", "--parts", "a:0.5", "b:0.5", "--out", "p"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert f"    {tmp_path}/p/a.h5" in printed
    assert "  episodes 2, steps" in "\n".join(printed)


def test_the_rows_of_a_selection_fit(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "50")
    row = {"run": "runs/offline-td3_bc-uniform-s0", "step": 100, "value": -2.103e5, "low": -3e5, "high": -1e5}
    ranking = SimpleNamespace(
        by="fqe", rows=lambda: [{**row, "tied": False}],
        estimates=SimpleNamespace(order=[0], higher_is_better=True),
    )  # fmt: skip
    show(ranking)
    assert "step 100, value -2.103e+05" in capsys.readouterr().out
