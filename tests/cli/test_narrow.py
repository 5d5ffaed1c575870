"""A terminal of 50 columns: nothing that lists is wider than it."""

import pytest

from trajrl.cli.main import dispatch


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
