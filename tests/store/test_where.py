"""Questions about episodes: what they are true of, what is not known, and what is refused, with its place."""

from __future__ import annotations

import numpy as np
import pytest
from episodes import counting
from hypothesis import given, settings
from hypothesis import strategies as st

from trajrl import TrajectoryStore
from trajrl.store.edit.where import where

RETURNS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


def table():
    """Six episodes of 1 to 6 steps of reward 1; success is unknown, True, False, and so on again."""
    store = TrajectoryStore.of(
        counting(n, n % 2 == 1, success=[None, True, False][(n - 1) % 3], source=["a", "teleop"][n % 2])
        for n in range(1, 7)
    )
    store.table.set("20_percent", np.arange(6) % 2 == 0)
    store.table.set("cluster", np.array([-1, 0, 1, 2, 0, 1]))
    store.table.set("score", np.array([0.5, np.nan, 1.5, 2.5, 3.5, 4.5]))
    return store.table


def yes(text: str) -> list[int]:
    return np.flatnonzero(where(table(), text).yes).tolist()


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("return > 3 and source == 'teleop'", [4]),
        ("return >= 3", [2, 3, 4, 5]),
        ("returns == return", [0, 1, 2, 3, 4, 5]),
        ("2 < length <= 4", [2, 3]),
        ("length in (1, 6) or episode == 2", [0, 2, 5]),
        ("length not in [1, 6]", [1, 2, 3, 4]),
        ("'tele' in source", [0, 2, 4]),
        ("success", [1, 4]),
        ("not success", [2, 5]),
        ("success == False", [2, 5]),
        ("success is None", [0, 3]),
        ("success is not None and terminated", [2, 4]),
        ("truncated", [1, 3, 5]),
        ("phase == 'offline'", [0, 1, 2, 3, 4, 5]),
        ("cluster == 0", [1, 4]),
        ("cluster != 0", [2, 3, 5]),
        ("score < 2", [0, 2]),
        ("column('20_percent')", [0, 2, 4]),
        ("return > mean(return)", [3, 4, 5]),
        ("return >= quantile(return, 0.8)", [4, 5]),
        ("score == min(score) or score == max(score)", [0, 5]),
        ("abs(return - 4) < 1.5", [2, 3, 4]),
        ("-return + 2 * length // 1 > 5 % 6", [5]),
        ("return / (length - 1) > 1.3", [1, 2, 3]),
        ("source == 'return'", []),
        ("True", [0, 1, 2, 3, 4, 5]),
        ("(return\n> 5)", [5]),
    ],
)
def test_question_is_true_of(text, ids):
    assert yes(text) == ids


def test_what_is_not_known_stays_so_unless_the_rest_decides():
    found = where(table(), "not success")
    assert np.flatnonzero(found.unknown).tolist() == [0, 3]
    found = where(table(), "success or length == 1")
    assert (np.flatnonzero(found.yes).tolist(), np.flatnonzero(found.unknown).tolist()) == ([0, 1, 4], [3])
    found = where(table(), "success and length == 1")
    assert np.flatnonzero(found.unknown).tolist() == [0]
    assert where(table(), "score > 0").unknown.tolist() == [False, True, False, False, False, False]
    assert where(table(), "length / 0 > 1").unknown.all()


@pytest.mark.parametrize(
    ("text", "says", "place"),
    [
        ("retrun > 3", "no column 'retrun'; did you mean 'return'?", 0),
        ("length > 1 and sorce == 'a'", "no column 'sorce'; did you mean 'source'?", 15),
        ("return > > 3", "does not read as a question", 9),
        ("return = 3", "compare with ==", 7),
        ("success && terminated", "write `and`", 9),
        ("source > 3", "'source' is a text and '3' is a number", 9),
        ("source > 'a'", "only numbers are in order", 0),
        ("success == 1", "write `success` or `not success`", 11),
        ("return", "'return' is a number; yes or no is due", 0),
        ("return and success", "'return' is a number; yes or no is due", 0),
        ("success + 1 > 1", "'success' is yes or no; a number is due", 0),
        ("success == None", "None stands behind `is`", 11),
        ("length is 3", "`is` asks for None alone", 10),
        ("length in 3", "`in` takes a list", 10),
        ("meen(return) > 1", "did you mean 'mean'", 0),
        ("mean(return, 1) > 1", "mean takes 1 value", 0),
        ("quantile(return, 3) > 1", "a quantile is a number from 0 to 1", 17),
        ("column(source)", "the name of a column in quotes", 7),
        ("column('nine') > 1", "no column 'nine'", 7),
        ("'ü' == source and ü > 1", "no column 'ü'", 18),
        ("__import__('os').system('x')", "no function '__import__('os').system'", 0),
        ("().__class__", "is no part of a question", 0),
        ("source.upper() == 'A'", "no function 'source.upper'", 0),
        ("[x for x in (1,)]", "is no part of a question", 0),
        ("lambda: 3", "is no part of a question", 0),
        ("return ** 99999999 > 1", "'return ** 99999999' is no part of a question", 0),
        ("(return > 1) & success", "write `and` between two questions", 0),
        ("length if success else 3", "is no part of a question", 0),
        ("f'{return}' == source", "f-string", None),
        ("(y := 3) > 1", "is no part of a question", 1),
        ("mean(*success) > 1", "takes 1 value", 0),
        ("b'a' == source", "is no number, text or flag", 0),
        ("1e400j > 1", "is no number, text or flag", 0),
        (f"{'9' * 400} > 1", "too large", 0),
    ],
)
def test_what_is_no_question_is_refused_with_a_caret_below_its_place(text, says, place):
    with pytest.raises(ValueError, match="--where") as caught:
        where(table(), text)
    assert says in str(caught.value)
    (note,) = caught.value.__notes__
    shown, caret = note.splitlines()
    assert shown == f"  {text}"
    if place is not None:
        assert caret == " " * (place + 2) + "^"


@pytest.mark.parametrize(
    "text", ["not " * 400 + "success", "(" * 300, "-" * 900 + "1 > 0", "1" + "+1" * 900, "", " "]
)
def test_what_is_empty_or_too_deep_is_one_line(text):
    with pytest.raises(ValueError, match="--where: "):
        where(table(), text)


NUMBERS = st.sampled_from(
    ["return", "length", "episode", "1", "2.5", "(return - length)", "abs(length - 4)", "3 * 2"]
)
FLAGS = st.one_of(
    st.tuples(NUMBERS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBERS).map(" ".join),
    st.sampled_from(
        ["terminated", "truncated", "source == 'a'", "'e' in source", "length in (1, 3)", "1 < return < 5"]
    ),
)
QUESTIONS = st.recursive(
    FLAGS,
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map("({0[0]}) {0[1]} ({0[2]})".format),
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(QUESTIONS)
def test_answers_are_those_of_python_row_by_row(text):
    rows = [
        {"result": float(n), "length": n, "episode": n - 1, "terminated": n % 2 == 1, "truncated": n % 2 == 0,
         "source": ["a", "teleop"][n % 2]} for n in range(1, 7)
    ]  # fmt: skip
    expected = [bool(eval(text.replace("return", "result"), {"abs": abs}, row)) for row in rows]
    assert where(table(), text).yes.tolist() == expected


WORDS = [
    "return",
    "length",
    "success",
    "source",
    "'a'",
    "1",
    "-",
    "not",
    "and",
    "or",
    "in",
    "is",
    "None",
    "(",
    ")",
    ",",
    "<",
    "==",
    "+",
    "mean",
    "quantile",
    "column",
    "[",
    "]",
    "{",
    "}",
    ":",
    "lambda",
    "if",
    "else",
    "*",
    "**",
    "'",
    "=",
    "f''",
    "b''",
    "...",
    ".",
    "@",
    "\\",
    "#",
    "\x00",
    "ü",
    "1e999",
    "0x1",
    "yield",
    "await",
    "import",
]


@settings(max_examples=100)
@given(st.one_of(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), st.text(max_size=20)))
def test_any_text_is_answered_or_refused_in_one_line(text):
    try:
        found = where(table(), text)
    except ValueError as error:
        said = str(error)
    else:
        assert found.yes.shape == found.unknown.shape == (6,)
        assert not (found.yes & found.unknown).any()
        return
    assert said.startswith("--where: ")
    assert "\n" not in said
