"""Mix stores: whole episodes chosen at random, shares counted in transitions, every source kept.

want_i = share_i * transitions        got_i = the total nearest to want_i of whole episodes in random order
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.core.rng import stream
from trajrl.store.action_box import SCALED, ActionBox, box_origin, is_scaled, recorded_box, unit_box
from trajrl.store.episode import Episode
from trajrl.store.file.writer import StoreWriter
from trajrl.store.images import described
from trajrl.store.store import TrajectoryStore
from trajrl.store.table import PHASES

Show = Callable[[list[Any]], Iterable[Any]]  # the same items, shown as they go by
SAME = ("environment", "units")  # attributes kept where all parts agree


@dataclass(frozen=True)
class Part:
    """One store of a mixture and what is taken of it."""

    path: Path
    share: float
    store: TrajectoryStore
    want: int  # transitions
    chosen: np.ndarray  # ids of the episodes taken, in random order

    @property
    def got(self) -> int:
        """Return how many transitions are taken."""
        return int(self.store.table.length[self.chosen].sum())


def parse_share(text: str) -> tuple[Path, float]:
    """Read PATH:SHARE."""
    path, colon, number = text.rpartition(":")
    try:
        share = float(number)
    except ValueError:
        share = 0.0
    if not colon or not path or not 0 < share <= 1:
        raise ValueError(
            f"'{text}' is not PATH:SHARE with a share above 0 and at most 1, such as expert.h5:0.25"
        )
    return Path(path).expanduser(), share


def choose(
    shares: Sequence[tuple[Path, float]], transitions: int, seed: int, force: bool = False
) -> list[Part]:
    """Open the stores and choose the episodes of each; nothing is written.

    Args:
        force: stores of different action boxes or environments are mixed all the same
    """
    total = sum(share for _, share in shares)
    if abs(total - 1) > 1e-6:
        raise ValueError(f"the shares of a mixture add up to 1; these add up to {total:g}")
    if transitions < 1:
        raise ValueError(f"a mixture has at least one transition; got --transitions {transitions}")
    parts = [_part(index, path, share, transitions, seed) for index, (path, share) in enumerate(shares)]
    first = parts[0]
    for part in parts[1:]:
        if part.store.image_shapes != first.store.image_shapes:
            own, other = (described(p.store.obs_dim, p.store.image_shapes) for p in (part, first))
            raise ValueError(
                f"{part.path} has observations of {own}; {first.path} of {other}: they cannot be mixed"
            )
        dims, expected = (
            (part.store.obs_dim, part.store.action_dim),
            (first.store.obs_dim, first.store.action_dim),
        )
        if dims != expected:
            raise ValueError(
                f"{part.path} has observations of {dims[0]} and actions of {dims[1]} numbers; "
                f"{first.path} has {expected[0]} and {expected[1]}: they cannot be mixed"
            )
    if not force:
        refuse_strangers({part.path: part.store for part in parts})
    _refuse_twins(parts)
    return parts


def refuse_strangers(stores: Mapping[Path, TrajectoryStore]) -> None:
    """Refuse stores whose actions have other units, or that were recorded in another environment.

    A store that names no box stands for [-1, 1], as it does in training, if its numbers lie there; beside
    another box they say nothing.  One that names no environment may be of any.
    """
    (first, like), *others = stores.items()
    named = (first, like.attributes.get("environment"))
    for path, store in others:
        if not (_box(store).same_as(_box(like)) and _reads_alike(store, like) and _reads_alike(like, store)):
            raise ValueError(
                f"{first} has actions {_in_box(like)} and {path} {_in_box(store)}: one number may mean two "
                "actions; --force mixes them as they are"
            )
        environment = store.attributes.get("environment")
        if environment and named[1] and environment != named[1]:
            raise ValueError(
                f"{named[0]} was recorded in {named[1]} and {path} in {environment}; --force mixes them"
            )
        named = named if named[1] else (path, environment)


def _box(store: TrajectoryStore) -> ActionBox:
    return recorded_box(store.attributes, store.action_dim) or unit_box(store.action_dim)


def _reads_alike(store: TrajectoryStore, other: TrajectoryStore) -> bool:
    """Say whether a store without a box has its numbers in the box that the other one names."""
    unnamed = recorded_box(store.attributes, store.action_dim) is None
    box = recorded_box(other.attributes, other.action_dim)
    return box is None or not unnamed or box.holds(*store.action_range())


def _in_box(store: TrajectoryStore) -> str:
    if recorded_box(store.attributes, store.action_dim) is not None:
        return f"in the box {_box(store)}"
    low, high = store.action_range()
    return f"without a box (from {low.min():.3g} to {high.max():.3g})"


def _refuse_twins(parts: Sequence[Part]) -> None:
    """Refuse two parts with one content: their draws are independent, so episodes would come twice."""
    seen: dict[str, Path] = {}
    for part in parts:
        twin = seen.setdefault(part.store.fingerprint, part.path)
        if twin is not part.path:
            raise ValueError(
                f"{twin} and {part.path} hold the same episodes, some of which would come twice; "
                "name the store once, with the sum of the shares"
            )


def _part(index: int, path: Path, share: float, transitions: int, seed: int) -> Part:
    """Take whole episodes in random order, as many as come nearest to the share."""
    store, want = TrajectoryStore.open(path), round(share * transitions)
    if store.num_steps < want:
        most = int(store.num_steps / share)
        raise ValueError(
            f"{path} has {store.num_steps} transitions; a share of {share:g} of {transitions} needs {want}: "
            f"lower --transitions to {most} or the share"
        )
    order = stream(seed, "mix", index).permutation(store.live)
    totals = np.cumsum(store.table.length[order])
    return Part(path, share, store, want, order[: max(1, int(np.abs(totals - want).argmin()) + 1)])


def write_mixture(parts: Sequence[Part], out: Path, seed: int, show: Show = iter) -> dict[str, Any]:
    """Write the chosen episodes in random order; returns what was wanted, came and was left out."""
    kept, left_out = common_columns(parts)
    found = [
        {"source": part.path.name, "share": part.share, "wanted": part.want, "got": part.got,
         "episodes": len(part.chosen), "fingerprint": part.store.fingerprint} for part in parts
    ]  # fmt: skip
    attributes = common_attributes(parts)
    left_out += facts_left_out(parts, attributes)
    origins = [part.store.attributes.get("provenance", {}) for part in parts]
    attributes["provenance"] = {
        "format": "mix",
        "seed": seed,
        "parts": found,
        "origins": origins,
        "counts": {},
    }
    with StoreWriter(out, attributes, read=[part.store for part in parts]) as writer:
        for part, e in show(in_random_order(parts, seed)):
            phase = PHASES[int(part.store.table.phase[e])]
            writer.append(_labelled(part, part.store.episode(e), kept), phase)
        transitions, episodes = writer.num_steps, len(writer.table)
    return {
        "out": str(out),
        "parts": found,
        "transitions": transitions,
        "episodes": episodes,
        "left_out": left_out,
    }


def in_random_order(parts: Sequence[Part], seed: int) -> list[tuple[Part, int]]:
    """Return all chosen episodes, shuffled: no part of the file belongs to one source."""
    places = [(part, int(e)) for part in parts for e in part.chosen]
    return [places[i] for i in stream(seed, "mix", len(parts)).permutation(len(places))]


def common_columns(parts: Sequence[Part]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the extra columns that all parts have (as arrays of no rows), and the names of what is left out.

    Terminal marks are kept if any part has them: the others have none.  Labels belong to one store alone.
    """
    columns = [{name: column.base[:0] for name, column in part.store.extras.items()} for part in parts]
    kinds = [{name: (like.dtype, like.shape[1:]) for name, like in found.items()} for found in columns]
    every = dict.fromkeys(name for found in columns for name in found)
    kept = {
        name: columns[0][name]
        for name in every
        if all(kind.get(name) == kinds[0].get(name) for kind in kinds) and name in columns[0]
    }
    if "terminal" in every:
        kept["terminal"] = np.zeros(0, bool)
    labels = dict.fromkeys(f"table/{name}" for part in parts for name in part.store.table.extra_names)
    return kept, [f"extras/{name}" for name in every if name not in kept] + list(labels)


def common_attributes(parts: Sequence[Part]) -> dict[str, Any]:
    """Return the attributes on which all parts agree; an action box that all name is one of them."""
    found = [part.store.attributes for part in parts]
    kept = {
        name: found[0][name]
        for name in SAME
        if name in found[0] and all(other.get(name) == found[0][name] for other in found)
    }
    if all(map(is_scaled, found)):
        kept[SCALED] = True
    boxes = [recorded_box(part.store.attributes, part.store.action_dim) for part in parts]
    first = boxes[0]
    if first is not None and all(box is not None and box.same_as(first) for box in boxes):
        kept |= first.attributes("; ".join(dict.fromkeys(map(box_origin, found))))
    return kept


def facts_left_out(parts: Sequence[Part], kept: Mapping[str, Any]) -> list[str]:
    """Return what some part says of itself and the mixture does not, with the parts' different words."""
    found = []
    for name in (*SAME, SCALED):
        said = {str(part.store.attributes.get(name) or "nothing") for part in parts}
        if name not in kept and said != {"nothing"}:
            found.append(f"{name} ({' | '.join(sorted(said))})")
    boxes = [recorded_box(part.store.attributes, part.store.action_dim) for part in parts]
    if "action_low" not in kept and any(box is not None for box in boxes):
        found.append(f"action box ({' | '.join(sorted({str(box or 'none') for box in boxes}))})")
    return found


def _labelled(part: Part, episode: Episode, kept: Mapping[str, np.ndarray]) -> Episode:
    """Give an episode without a source its file's name, and exactly the kept columns."""
    extras = {
        name: episode.extras.get(name, np.zeros((len(episode), *like.shape[1:]), like.dtype))
        for name, like in kept.items()
    }
    return replace(episode, source=episode.source or part.path.stem, extras=extras)
