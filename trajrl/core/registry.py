"""Look a name up in a literal table of "module:attr" targets; an unknown name fails with the nearest one.

A name with a colon is such a target itself: a user's own class, in a module that Python can import.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from trajrl.core.trust import is_call, require

MOST = 24  # names listed in a message


def find(table: Mapping[str, str], name: str, kind: str) -> Any:
    """Import what `name` stands for in `table`; `kind` names the table in the message ('sampler')."""
    if name not in table and is_call(name):
        return own(name, kind)
    if name not in table:
        raise ValueError(unknown(kind, name, table))
    module, attribute = table[name].split(":")
    return getattr(import_module(module), attribute)


def own(name: str, kind: str) -> Any:
    """Import a user's own "module:attr"."""
    require(name, kind)
    place, _, attribute = name.partition(":")
    if not place or not attribute or ":" in attribute:
        raise ValueError(f"no {kind} '{name}'; one of your own is named MODULE:NAME, such as my_code:Mine")
    try:
        module = import_module(place)
    except ModuleNotFoundError as error:
        if error.name != place.split(".")[0] and error.name != place:
            raise  # the module is there; something that it imports is not
        raise ValueError(
            f"no module '{place}' for the {kind} '{name}'; put its file into this folder, "
            "or its folder on PYTHONPATH"
        ) from error
    if not hasattr(module, attribute):
        names = [known for known, value in vars(module).items() if callable(value)]
        raise ValueError(unknown(f"{kind} in {place}", attribute, names))
    return getattr(module, attribute)


def unknown(kind: str, name: str, names: Iterable[str]) -> str:
    """Say that there is no such name, and which one may have been meant."""
    names = sorted(names)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    shown = ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {shown}"
    return f"no {kind} '{name}'; {hint}"
