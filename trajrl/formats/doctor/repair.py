"""Repair: what can be mended without guessing, written to a store of its own, everything counted.

steps with NaN, inf, absurd sizes or a jump   cut out; what is before and behind becomes episodes of its own
time limits written as terminals              marked truncated; with a made-up last observation o_T = o_(T-1),
                                              the last action is given up
actions outside the box that the source names  clipped to it
repeated episodes                             the first is kept
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.formats.base.importer import Show, attributes, quietly, write_labelled
from trajrl.formats.doctor.ends import at_limit, endless
from trajrl.formats.doctor.examine import Report, jump_of
from trajrl.formats.doctor.survey import COLUMNS, HUGE, Survey, hash_of
from trajrl.store.episode import Episode
from trajrl.store.file.writer import StoreWriter


def repair(report: Report, out: Path, show: Show = quietly) -> dict[str, Any]:
    """Write a repaired store; returns what was done.  A source that cannot be read through is refused."""
    if not report.whole or report.survey is None:
        raise ValueError(
            f"{out} was not written: the source cannot be read to its end, so it cannot be repaired"
        )
    source, done = report.open(), Counter[str]()
    wrong_ends = at_limit(report.survey) | endless(report.survey, source)
    seen: set[bytes] = set()
    with StoreWriter(out, read=source.stores()) as writer:
        labelled = show(source.labelled(), "repairing", source.count, "episodes")
        for e, (episode, labels) in enumerate(labelled):
            for part in mend(episode, report.survey, bool(wrong_ends[e]), jump_of(source), done):
                found = hash_of(part)
                if found in seen:
                    done["duplicates left out"] += 1
                    continue
                seen.add(found)
                write_labelled(writer, part, labels)
        writer.attributes.update(attributes(source))
        writer.attributes["provenance"]["repaired"] = dict(done)
        episodes, transitions = len(writer.table), writer.num_steps
    return {"out": str(out), "episodes": episodes, "transitions": transitions, "repaired": dict(done)}


def mend(
    episode: Episode, survey: Survey, wrong_end: bool, jump: float, done: Counter[str]
) -> Iterator[Episode]:
    """Yield what is left of an episode, repaired."""
    good = good_steps(episode, jump)
    if not good.all():
        done["steps cut out"] += int((~good).sum())
    for part in pieces(episode, good):
        left = open_end(part, done) if wrong_end and part.terminated else part
        if left is not None:
            yield clip(left, survey, done)


def good_steps(episode: Episode, jump: float) -> np.ndarray:
    """Return which steps (T,) can be learned from: their numbers and both observations are sound and near."""
    sound = {
        name: (np.abs(column) <= HUGE).all(tuple(range(1, column.ndim)))
        for name, column in ((name, getattr(episode, name)) for name in COLUMNS)
    }  # a comparison with NaN is False
    good = sound["obs"][:-1] & sound["obs"][1:] & sound["actions"] & sound["rewards"]
    if jump:
        good &= ~(np.linalg.norm(np.diff(episode.obs[:, :2], axis=0), axis=1) > jump)
    return good


def pieces(episode: Episode, good: np.ndarray) -> Iterator[Episode]:
    """Yield the runs of good steps as episodes; only the run that reaches the end keeps how it ended."""
    if good.all():
        yield episode
        return
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2).tolist():
        extras = {name: column[start:stop] for name, column in episode.extras.items()}
        images = {name: frames[start : stop + 1] for name, frames in episode.images.items()}
        yield replace(
            episode, obs=episode.obs[start : stop + 1], actions=episode.actions[start:stop], extras=extras,
            rewards=episode.rewards[start:stop], terminated=episode.terminated and stop == len(good),
            images=images,
        )  # fmt: skip


def open_end(episode: Episode, done: Counter[str]) -> Episode | None:
    """Mark an episode truncated; an observation that was made up for its end goes, with the last action."""
    done["ends marked truncated"] += 1
    if not all(np.array_equal(seen[-1], seen[-2]) for seen in (episode.obs, *episode.images.values())):
        return replace(episode, terminated=False)
    done["last actions given up"] += 1
    if len(episode) == 1:
        return None
    extras = {name: column[:-1] for name, column in episode.extras.items()}
    return replace(
        episode, obs=episode.obs[:-1], actions=episode.actions[:-1], rewards=episode.rewards[:-1],
        terminated=False, extras=extras, images={n: f[:-1] for n, f in episode.images.items()},
    )  # fmt: skip


def clip(episode: Episode, survey: Survey, done: Counter[str]) -> Episode:
    """Clip actions to the box; where the source names none, nothing says what is too far."""
    if not survey.boxed:
        return episode
    outside = (episode.actions < survey.low) | (episode.actions > survey.high)
    if not outside.any():
        return episode
    done["action entries clipped"] += int(outside.sum())
    return replace(episode, actions=np.clip(episode.actions, survey.low, survey.high))
