"""Wrong usage is one line, whatever was wrong, and says where help is."""

import pytest

from trajrl.cli.commands import COMMANDS, GROUPS
from trajrl.cli.main import dispatch
from trajrl.cli.usage import unboxed

EVERY = [*COMMANDS, *(f"{group} {name}" for group, table in GROUPS.items() for name in table)]
ALONE = ("offline", "online", "list", "zoo", "bench")  # work, or show a list, without a word more
ASKING = [words for words in EVERY if words.split()[0] not in ALONE and words not in GROUPS]


@pytest.mark.parametrize("words", ASKING)
def test_a_command_without_what_it_needs_ends_in_one_line(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert dispatch(words.split()) in (1, 2)
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert not any(sign in printed for sign in "│╭╰─")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("export", "error: missing from {0} export: RUN: Folder of the run. ({0} export --help shows"),
        ("offline --stepz 5", "error: unrecognized options: --stepz, 5; perhaps you meant: --steps N: "),
        ("offline --steps x", "error: --steps takes N; got 'x' ({0} offline --help shows the options)\n"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_what_was_meant(words, said, capsys):
    from trajrl.core.program import program

    assert dispatch(words.split()) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(said.format(program()))
    assert printed.count("\n") == 1


def test_a_box_of_colours_and_narrow_lines_is_the_same_line():
    lines = [
        "╭─ Required ─╮",
        "│ Missing    │",
        "│ from x:    │",
        "│     RUN    │",
        "│         A  │",
        "│         b. │",
    ]
    box = "\x1b[31m" + "\n".join([*lines, "╰────────────╯\x1b[0m"])
    plain = " Required  \n ---------\n  Missing  \n  from x:  \n      RUN\n          A b.\n  ---------\n"
    assert unboxed(box) == unboxed(plain) == "missing from x: RUN: A b."
