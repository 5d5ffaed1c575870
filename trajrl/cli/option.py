"""How options read in --help: a command's own first, one way of naming values, defaults in words."""

from __future__ import annotations

import ast
from dataclasses import MISSING, Field, field, fields, is_dataclass, make_dataclass, replace
from inspect import getsource
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

Command = TypeVar("Command")
METAVARS = {int: "N", float: "X", str: "NAME", Path: "PATH"}
ALIKE = {
    "checkpoint": "last|best|selected|distilled|STEP",
    "device": "auto|cpu|cuda|cuda:1",
    "env": "ID",
}  # by option


def silent(metavar: str, otherwise: str) -> Any:
    """Annotate an option that may be left out; `otherwise` says what holds then."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {otherwise})")


def presented(command: type[Command]) -> type[Command]:
    """Return a command whose help shows its own options before those it shares, all in one dialect."""
    hints = get_type_hints(command, include_extras=True)
    known = {f.name: f for f in fields(command)}  # type: ignore[arg-type]
    ordered: dict[str, Field[Any]] = {}
    texts: dict[str, str] = {}
    for kind in command.__mro__:
        texts = {**(_paragraphs(kind) if is_dataclass(kind) else {}), **texts}
        own = vars(kind).get("__annotations__", {})
        ordered.update({name: known[name] for name in own if name in known and name not in ordered})
    shown: Any = make_dataclass(
        command.__name__,
        [(name, _worded(hints[name], f, texts.get(name)), _again(f)) for name, f in ordered.items()],
        bases=(command,), frozen=True, kw_only=True,
    )  # fmt: skip
    shown.__doc__ = command.__doc__
    shown.__dataclass_fields__ = {name: shown.__dataclass_fields__[name] for name in ordered}
    return shown


def _paragraphs(kind: type) -> dict[str, str]:
    """Return the texts of a class's own options that span lines, each on one; tyro keeps the breaks."""
    body = ast.parse(dedent(getsource(kind))).body[0].body  # type: ignore[attr-defined]
    texts = {}
    for option, text in pairwise(body):
        if isinstance(option, ast.AnnAssign) and isinstance(text, ast.Expr):
            said = ast.literal_eval(text.value)
            if "\n" in said:
                texts[ast.unparse(option.target)] = " ".join(said.split())
    return texts


def _worded(hint: Any, f: Field[Any], text: str | None) -> Any:
    """Return an option's type with what is shown for its value and its default, where it does not say so."""
    kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    said: Any = next((note for note in notes if hasattr(note, "help_behavior_hint")), tyro.conf.arg())
    rest = [note for note in notes if not hasattr(note, "help_behavior_hint")]
    if said.metavar is None and kind is not bool:
        said = replace(said, metavar=ALIKE.get(f.name) or _metavar(kind))
    if said.help_behavior_hint is None and f.default is not MISSING:
        said = replace(said, help_behavior_hint=_default(f.default))
    if text:
        said = replace(said, help=text)
    return Annotated[(kind, *rest, said)]


def _metavar(kind: Any) -> str | None:
    """Return what stands for a value: N, X, NAME, PATH or the choices."""
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return "|".join(_metavar(part) or "" for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is tuple:
        return f"{_metavar(get_args(kind)[0])} ..."
    return METAVARS.get(kind)


def _default(value: Any) -> str:
    """Say a default in words; what is off or empty by default needs none."""
    if isinstance(value, bool) or value in (None, "", ()):
        return ""
    parts = value if isinstance(value, tuple) else (value,)
    return f"(default: {' '.join(f'{part:g}' if isinstance(part, float) else str(part) for part in parts)})"


def _again(f: Field[Any]) -> Any:
    """Return a field with the same default."""
    if f.default_factory is not MISSING:
        return field(default_factory=f.default_factory)
    return field(default=f.default) if f.default is not MISSING else field()
