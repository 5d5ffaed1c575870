"""Options of samplers: from a name and loose values to checked Configs.

A composed sampler names its parts in the fields that its class lists as PARTS; "part.field" is a field of
that part.  "A*B" is a product of two, "policy=A values=B" a sampler for each role.  The command line lists
and checks `--set sampler.X=..` with the same functions.  `table` is the registry, SAMPLERS: it is an
argument, because the registry itself calls these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from trajrl.core.registry import find, unknown

if TYPE_CHECKING:
    from trajrl.store.window import WindowSpec


class Choice(NamedTuple):
    """A sampler chosen: its registry name, its Config, and per part the name and options of another."""

    name: str
    config: Any
    parts: dict[str, tuple[str, dict[str, Any]]]


def choose_sampler(table: Mapping[str, str], name: str, options: Mapping[str, Any]) -> Choice:
    """Check the name and the options of a sampler; an unknown one fails with the nearest that exists."""
    if by_role := split_roles(name):
        name, options = "roles", {**by_role, **options}
    elif "*" in name:
        left, _, right = name.partition("*")
        name, options = "product", {"left": left.strip(), "right": right.strip(), **options}
    kind = find(table, name, "sampler")
    own = _own(kind)
    hints = get_type_hints(kind.config_type)
    config = kind.config_type(**{k: _typed(f"{name}.{k}", options[k], hints[k]) for k in own if k in options})
    config.validate()
    inner: dict[str, tuple[str, dict[str, Any]]] = {
        part: (getattr(config, part), {}) for part in getattr(kind, "PARTS", ())
    }
    for key, value in options.items():
        if key not in own:
            _give_to_parts(table, name, key, value, inner, own)
    for part_name, part_options in inner.values():
        if choose_sampler(table, part_name, part_options).name == "roles":
            raise ValueError(f"a sampler for each role stands alone; '{part_name}' is no part of '{name}'")
    return Choice(name, config, inner)


def split_roles(name: str) -> dict[str, str]:
    """Return the sampler of each role in "policy=A values=B"; nothing where one name serves both."""
    if "=" not in name:
        return {}
    before, *words = re.split(r"(?:^|\s+)(policy|values)=", name)
    found = {role: part.strip() for role, part in zip(words[::2], words[1::2])}
    if before or len(words) != 4 or len(found) != 2 or not all(found.values()):
        raise ValueError(f"a sampler for each role reads policy=NAME values=NAME; got '{name}'")
    return {role: found[role] for role in ("policy", "values")}


def in_order(name: str) -> str:
    """Return a sampler's name with its roles, if it has them, in the order in which they are always said."""
    return " ".join(f"{role}={part}" for role, part in split_roles(name).items()) or name


def resolved_options(table: Mapping[str, str], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option with its value, those of parts as "part.field"."""
    choice = choose_sampler(table, name, options)
    values = asdict(choice.config)
    for part, (inner, inner_options) in choice.parts.items():
        for key, value in resolved_options(table, inner, inner_options).items():
            values[f"{part}.{key}"] = value
    return values


def with_window(
    table: Mapping[str, str], name: str, options: Mapping[str, Any], spec: WindowSpec
) -> dict[str, Any]:
    """Return the options, the length of the agent's windows filled in where none was given."""
    known, steps = resolved_options(table, name, options), max(spec.num_actions, spec.n)
    unset = [key for key, value in known.items() if key.rpartition(".")[2] == "window" and value == 0]
    return {**options, **dict.fromkeys(unset, steps)}


def with_length(
    table: Mapping[str, str], name: str, options: Mapping[str, Any], updates: int, first: int = 0
) -> dict[str, Any]:
    """Return the options, the updates of the run filled in where shares of it are asked for without them."""
    known = resolved_options(table, name, options)
    unset = "narrow_at" in known and not known["updates"]
    return {**options, **({"updates": updates, "first_update": first} if unset else {})}


def _give_to_parts(
    table: Mapping[str, str],
    name: str,
    key: str,
    value: object,
    inner: dict[str, tuple[str, dict[str, Any]]],
    own: list[str],
) -> None:
    """Give an option that is not the sampler's own to the parts it is meant for."""
    part, dot, field = key.partition(".")
    if dot and part in inner:
        inner[part][1][field] = value
        return
    takers = [options for part_name, options in inner.values() if key in _names(table, part_name)]
    if not takers:
        known = [*own, *(field for part_name, _ in inner.values() for field in _names(table, part_name))]
        if not known:
            raise ValueError(f"the sampler '{name}' has no options; got '{key}'")
        raise ValueError(unknown(f"{name} sampler option", key, known))
    for options in takers:
        options.setdefault(key, value)


def _typed(name: str, value: Any, hint: Any) -> Any:
    """Return a value as the type of its field; a whole number may stand for a float, a bool for neither."""
    if type(value) is int and not isinstance(value, hint) and isinstance(0.0, hint):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        kind = getattr(hint, "__name__", str(hint))
        raise ValueError(f"the sampler option '{name}' takes {kind}; got {value!r}")
    return value


def _names(table: Mapping[str, str], expression: str) -> list[str]:
    """Return the plain options of a sampler and of its parts."""
    choice = choose_sampler(table, expression, {})
    nested = [field for inner, _ in choice.parts.values() for field in _names(table, inner)]
    return [field.name for field in fields(choice.config)] + nested


def _own(kind: Any) -> list[str]:
    return [field.name for field in fields(kind.config_type)]
