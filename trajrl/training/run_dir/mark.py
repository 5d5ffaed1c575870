"""The mark of a run: config.json as this user's trajrl wrote it, here, so that the names in it may be called.

Only a run that names a module:attr has one, in the file `mark`.  A run that was copied, moved or edited loses
it, and asks for the names to be typed or for --trust.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from hmac import compare_digest
from pathlib import Path
from typing import Any

from trajrl.core.atomic_files import write_text
from trajrl.core.console import say
from trajrl.core.owner_key import key_path, mark_of
from trajrl.core.plain_file import open_to_read
from trajrl.core.trust import allow, allowed, is_call, refusal
from trajrl.envs import ENVS

Config = Any  # a RunConfig, which itself asks here whether it may be read
JOINED = re.compile(r"\*|(?:^|\s+)(?:policy|values)=")  # what stands between names of samplers
PLACES = ("data", "device", "from_run")  # texts that name no part of a run


def mark_run(path: Path, config: Config) -> None:
    """Mark the config just written to `path`, if it names anything to call."""
    place = path.with_name("mark")
    if not dict(calls(config)):
        place.unlink(missing_ok=True)
        return
    made = mark_of(path, path.read_bytes(), create=True)
    if made is None:
        say(f"{key_path()} cannot be kept: to resume {path.parent} type its names again, or give --trust")
        return
    write_text(place, made + "\n")


def require_known(path: Path, content: bytes, config: Config, trust: bool = False) -> None:
    """Refuse a config that names something to call, unless it is marked, typed or trusted."""
    found = dict(calls(config))
    if found and (trust or marked(path, content)):
        allow(found)
    for name, kind in found.items():
        if not allowed(name):
            raise ValueError(refusal(name, kind, str(path)))


def marked(path: Path, content: bytes) -> bool:
    """Say whether a config is, and lies, as this user's trajrl wrote it."""
    try:
        with open_to_read(path.with_name("mark")) as file:
            said = file.read(100).strip()
    except (OSError, ValueError):
        return False
    if path.is_symlink():  # it lies elsewhere, and what lies beside it here is not what it was marked with
        return False
    made = mark_of(path, content)
    return made is not None and compare_digest(made.encode(), said)


def calls(config: Config) -> Iterator[tuple[str, str]]:
    """Yield every name in a config that would be imported and called, and what it is there."""
    for one in fields(config):
        value = getattr(config, one.name)
        if one.name == "env" and is_call(value, ENVS):
            yield value, "environment"
            if config.env_options.get("arguments"):  # a name that was typed does not vouch for these
                yield f"{value} with {config.env_options['arguments']}", "environment"
        elif one.name not in ("env", *PLACES):
            yield from ((text, one.name.removesuffix("_options")) for text in texts(value))


def texts(value: Any) -> Iterator[str]:
    """Yield the names in a value that would be called: of a product, or for roles, each on its own."""
    if isinstance(value, str):
        yield from (part for name in JOINED.split(value) if is_call(part := name.strip()))
    elif isinstance(value, Mapping):
        for inner in (*value, *value.values()):
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)
