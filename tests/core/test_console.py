"""What the program prints for people: names that come from files cannot steer the terminal."""

from __future__ import annotations

import pytest

from trajrl.core.console import harmless, progress, say

LABEL = "a\x1b]0;owned\x07\x1b[2Jb"


@pytest.mark.parametrize(
    ("text", "due"),
    [
        (LABEL, r"a\x1b]0;owned\x07\x1b[2Jb"), ("a\rb", r"a\rb"), ("a\x9b2Jb", r"a\x9b2Jb"),
        ("a\u202eb", r"a\u202eb"), ("two\n\tlines", "two\n\tlines"), ("Gr\u00f6\u00dfe", "Gr\u00f6\u00dfe"),
    ],
)  # fmt: skip
def test_what_would_steer_a_terminal_is_written_as_its_number(text, due):
    assert harmless(text) == due


def test_lines_and_progress_are_printed_harmlessly(capsys, monkeypatch):
    say(LABEL)
    monkeypatch.setattr("time.monotonic", iter(range(0, 100, 3)).__next__)
    list(progress([1, 2], LABEL))
    said = capsys.readouterr()
    assert r"a\x1b]0" in said.out
    assert r"a\x1b]0" in said.err
    assert "\x1b" not in said.out + said.err


def test_what_takes_uneven_time_claims_no_time_left(capsys, monkeypatch):
    monkeypatch.setattr("time.monotonic", iter(range(0, 100, 3)).__next__)
    list(progress([1, 2], "looking", 2, "parts", even=False))
    assert capsys.readouterr().err.splitlines() == ["looking: 1 of 2 parts", "looking: 2 of 2 parts"]
