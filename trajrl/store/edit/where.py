"""Which episodes a question is true of: its tree, walked over columns of the episode table.

    and or not   < <= > >= == !=   in   is None   + - * / // %   column('name')
    abs of each; mean median std min max quantile over all episodes

Three answers, after Kleene: what is not known stays so (`not success` of an episode that nobody judged),
unless the rest decides (`success or length > 5`).  Only a yes counts.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trajrl.core.registry import unknown
from trajrl.store.edit.expression import Expression, parse
from trajrl.store.edit.values import FLAG, NUMBER, TEXT, Values, both, column_of, either, names_of

if TYPE_CHECKING:
    from trajrl.store.table import Table

SPOKEN = {NUMBER: "a number", FLAG: "yes or no", TEXT: "a text"}
ORDER: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
EQUAL: dict[type, Callable[[Any, Any], Any]] = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
SUMS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
OVER_ALL: dict[str, Callable[..., Any]] = {
    "max": np.max, "mean": np.mean, "median": np.median, "min": np.min, "quantile": np.quantile,
    "std": np.std,
}  # fmt: skip
FUNCTIONS = ("abs", "column", *OVER_ALL)
INSTEAD = {ast.BitAnd: "and", ast.BitOr: "or", ast.Invert: "not"}


class Answer(NamedTuple):
    """What a question is true of."""

    yes: np.ndarray  # (E,) bool
    unknown: np.ndarray  # (E,) bool


def where(table: Table, text: str) -> Answer:
    """Ask a question of every episode of a table."""
    question = Question(parse(text), table)
    found = question.flag(question.expression.tree)
    known, size = np.broadcast_to(found.known, len(table)), len(table)
    return Answer(np.broadcast_to(found.values, size) & known, ~known)


@dataclass(frozen=True)
class Question:
    """A question and the table it is asked of."""

    expression: Expression
    table: Table

    def value(self, node: ast.expr) -> Values:
        """Return what a part of the question is worth; a part of another kind is refused."""
        if type(node) not in PARTS:
            raise self.expression.wrong(node, f"'{self.expression.written(node)}' is no part of a question")
        with np.errstate(all="ignore"):  # what is not finite is not known
            return PARTS[type(node)](self, node)

    def flag(self, node: ast.expr) -> Values:
        """Return a part that says yes or no."""
        found = self.value(node)
        if found.kind != FLAG:
            raise self.expression.wrong(
                node, f"'{self.expression.written(node)}' is {SPOKEN[found.kind]}; yes or no is due here, as "
                "a comparison gives it",
            )  # fmt: skip
        return found

    def number(self, node: ast.expr) -> Values:
        """Return a part that is a number."""
        found = self.value(node)
        if found.kind != NUMBER:
            raise self.expression.wrong(
                node, f"'{self.expression.written(node)}' is {SPOKEN[found.kind]}; a number is due here"
            )
        return found

    def column(self, node: ast.expr, name: str) -> Values:
        """Return a column of the table."""
        names = names_of(self.table)
        if name not in names:
            raise self.expression.wrong(node, unknown("column", name, names))
        return column_of(self.table, name)


def _name(question: Question, node: ast.Name) -> Values:
    return question.column(node, question.expression.name(node))


def _constant(question: Question, node: ast.Constant) -> Values:
    if isinstance(node.value, bool | str):
        return Values.of(np.array(node.value, object) if isinstance(node.value, str) else node.value)
    if isinstance(node.value, int | float):
        try:
            return Values.of(float(node.value))
        except OverflowError:
            raise question.expression.wrong(node, "this number is too large") from None
    if node.value is None:
        raise question.expression.wrong(
            node, "None stands behind `is` or `is not` alone: success is not None"
        )
    raise question.expression.wrong(node, f"'{question.expression.written(node)}' is no number, text or flag")


def _both(question: Question, node: ast.BoolOp) -> Values:
    """Take parts together; one that decides leaves what is not known of the others aside."""
    parts = [question.flag(part) for part in node.values]
    return reduce(both if isinstance(node.op, ast.And) else either, parts)


def _one(question: Question, node: ast.UnaryOp) -> Values:
    if isinstance(node.op, ast.Not):
        found = question.flag(node.operand)
        return Values(FLAG, ~found.values, found.known)
    if isinstance(node.op, ast.Invert):
        raise question.expression.wrong(node, "write `not` for `~`")
    found = question.number(node.operand)
    return found._replace(values=-found.values) if isinstance(node.op, ast.USub) else found


def _two(question: Question, node: ast.BinOp) -> Values:
    if type(node.op) in INSTEAD:
        word = INSTEAD[type(node.op)]
        raise question.expression.wrong(node, f"write `{word}` between two questions, not a sign")
    if type(node.op) not in SUMS:
        raise question.expression.wrong(
            node, f"'{question.expression.written(node)}' is no part of a question"
        )
    left, right = question.number(node.left), question.number(node.right)
    return Values.of(SUMS[type(node.op)](left.values, right.values), left.known & right.known)


def _compare(question: Question, node: ast.Compare) -> Values:
    """Compare neighbour by neighbour: 10 < length <= 20 is two comparisons, both of which hold."""
    sides = [node.left, *node.comparators]
    found = [_pair(question, left, op, right) for left, op, right in zip(sides, node.ops, sides[1:])]
    return reduce(both, found)


def _pair(question: Question, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Values:
    if isinstance(op, ast.Is | ast.IsNot):
        return _is_none(question, left, op, right)
    if isinstance(op, ast.In | ast.NotIn):
        found = _inside(question, left, right)
        return found if isinstance(op, ast.In) else Values(FLAG, ~found.values, found.known)
    one, two = question.value(left), question.value(right)
    _refuse_unlike(question, left, right, one, two)
    if type(op) in ORDER and one.kind != NUMBER:
        raise question.expression.wrong(left, f"only numbers are in order; this is {SPOKEN[one.kind]}")
    compare = ORDER.get(type(op)) or EQUAL[type(op)]
    answer = np.asarray(compare(one.values, two.values), bool)
    return Values(FLAG, answer, one.known & two.known)


def _refuse_unlike(question: Question, left: ast.expr, right: ast.expr, one: Values, two: Values) -> None:
    if one.kind != two.kind:
        written = question.expression.written
        advice = "; write `success` or `not success`, as it is" if FLAG in (one.kind, two.kind) else ""
        raise question.expression.wrong(
            right, f"'{written(left)}' is {SPOKEN[one.kind]} and '{written(right)}' is {SPOKEN[two.kind]}: "
            f"they cannot be compared{advice}",
        )  # fmt: skip


def _is_none(question: Question, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Values:
    """Say which values are not known."""
    if not (isinstance(right, ast.Constant) and right.value is None):
        raise question.expression.wrong(right, "`is` asks for None alone; write == for everything else")
    known = question.value(left).known
    return Values.of(~known if isinstance(op, ast.Is) else known)


def _inside(question: Question, left: ast.expr, right: ast.expr) -> Values:
    """Say which values are in a list, or which texts hold a text."""
    one = question.value(left)
    if isinstance(right, ast.Tuple | ast.List | ast.Set):
        listed = [question.value(part) for part in right.elts]
        for part, two in zip(right.elts, listed):
            _refuse_unlike(question, left, part, one, two)
        pairs = [
            Values(FLAG, np.asarray(one.values == two.values, bool), one.known & two.known) for two in listed
        ]
        return reduce(either, pairs, Values.of(np.zeros(one.values.shape, bool)))
    two = question.value(right)
    if one.kind != TEXT or two.kind != TEXT:
        raise question.expression.wrong(
            right, "`in` takes a list, as in length in (10, 20), or a text in a text"
        )
    holds = np.frompyfunc(lambda part, whole: str(part) in str(whole), 2, 1)
    return Values(FLAG, np.asarray(holds(one.values, two.values), bool), one.known & two.known)


def _call(question: Question, node: ast.Call) -> Values:
    """Call one of the functions there are; its name is looked up in a list and nothing else."""
    expression = question.expression
    name = expression.name(node.func) if isinstance(node.func, ast.Name) else expression.written(node.func)
    if name not in FUNCTIONS:
        raise expression.wrong(node, unknown("function", name, FUNCTIONS))
    takes = 2 if name == "quantile" else 1
    if len(node.args) != takes or node.keywords or any(isinstance(one, ast.Starred) for one in node.args):
        example = (
            "quantile(return, 0.9)" if takes == 2 else f"{name}({'name' if name == 'column' else 'return'})"
        )
        raise expression.wrong(node, f"{name} takes {takes} value{'s' * (takes > 1)}, as in {example}")
    first = node.args[0]
    if name == "column":
        if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
            raise expression.wrong(first, "column takes the name of a column in quotes")
        return question.column(first, first.value)
    own = question.number(first)
    if name == "abs":
        return own._replace(values=np.abs(own.values))
    return _over_all(question, name, own, node.args[1:])


def _over_all(question: Question, name: str, own: Values, more: list[ast.expr]) -> Values:
    """Return one number of all the known values."""
    rest = [float(_share(question, node)) for node in more]
    values, known = np.broadcast_arrays(own.values, own.known)
    kept = values[known]
    return Values.of(OVER_ALL[name](kept, *rest) if kept.size else np.nan)


def _share(question: Question, node: ast.expr) -> float:
    found = question.number(node)
    if found.values.ndim or not 0 <= float(found.values) <= 1:
        raise question.expression.wrong(node, "a quantile is a number from 0 to 1")
    return float(found.values)


PARTS: dict[type, Callable[[Question, Any], Values]] = {
    ast.BinOp: _two, ast.BoolOp: _both, ast.Call: _call, ast.Compare: _compare, ast.Constant: _constant,
    ast.Name: _name, ast.UnaryOp: _one,
}  # fmt: skip
