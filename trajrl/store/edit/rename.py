"""Rename: sources, per-step extras, table columns and the environment of a store; no number changes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trajrl.core.registry import unknown
from trajrl.store.edit.rewrite import Edit
from trajrl.store.edit.values import BUILT_IN, CLUSTER
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore
from trajrl.store.table import CORE

MARKS = "terminal"  # the extra that says where the MDP ended
PLAIN = re.compile(r"[^/\x00-\x1f\x7f]+")


def pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """Read OLD=NEW, several; the first = divides."""
    found: dict[str, str] = {}
    for word in words:
        old, equals, new = word.partition("=")
        if not equals or not new or old in found:
            raise ValueError(f"--{option} takes OLD=NEW, each OLD once; got '{word}'")
        found[old] = new
    return found


def renamed(
    store: TrajectoryStore,
    sources: Mapping[str, str],
    extras: Mapping[str, str],
    labels: Mapping[str, str],
    environment: str = "",
) -> Edit:
    """Return the edit that gives things other names; a source may be the name of nothing ('')."""
    if not (sources or extras or labels or environment):
        raise ValueError("nothing is named to rename: --sources, --extras, --labels or --env")
    _check("source", sources, sorted(set(store.table.source[store.live])), joins=True)
    _check("extra", extras, list(store.extras))
    _check("table column", labels, store.table.extra_names)
    if MARKS in extras:
        raise ValueError(
            f"extras/{MARKS} marks where the task ended, and training looks for it by that name; "
            f"`store delete --extras {MARKS}` takes the marks out"
        )
    if CLUSTER in labels:
        raise ValueError("the labels of `store cluster` belong to its centres and keep their name")
    if taken := [new for new in labels.values() if new in CORE or new in (*BUILT_IN, CLUSTER)]:
        raise ValueError(f"'{taken[0]}' is a column of every table, or of a clustering; choose another name")

    def change(episode: Episode) -> Episode:
        kept = {extras.get(name, name): column for name, column in episode.extras.items()}
        return replace(episode, source=sources.get(episode.source, episode.source), extras=kept)

    asked = {"sources": sources, "extras": extras, "labels": labels, "environment": environment}
    attributes: dict[str, Any] = {"environment": environment} if environment else {}
    return Edit(
        "rename", {name: value for name, value in asked.items() if value}, store, store.live, change=change,
        labels={name: labels.get(name, name) for name in store.table.extra_names}, attributes=attributes,
    )  # fmt: skip


def _check(kind: str, new_names: Mapping[str, str], known: Sequence[str], joins: bool = False) -> None:
    """Refuse a name that is not there, a new one that is taken or cannot be, and two that become one."""
    for old, new in new_names.items():
        if old not in known:
            raise ValueError(unknown(kind, old, known) if known else f"no {kind} '{old}'; the store has none")
        if not joins and not PLAIN.fullmatch(new):
            raise ValueError(f"'{new}' cannot be the name of a column: it holds / or a control letter")
    kept = [new_names.get(name, name) for name in known]
    if not joins and (twice := [name for name in kept if kept.count(name) > 1]):
        raise ValueError(f"two columns would be called '{twice[0]}'; give each {kind} a name of its own")
