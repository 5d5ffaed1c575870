"""Embed: a store whose images are replaced by features of a frozen encoder, so that any agent can learn.

    obs (T+1, obs) = cat(state, features of every image)

Attributes name the encoder, its seed or the hash of its weights: acting makes features in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.core.out_paths import refuse_existing
from trajrl.formats.base.importer import Show, quietly
from trajrl.nets.frozen_encoder import FrozenEncoder, weights_hash
from trajrl.store.episode import Episode
from trajrl.store.file.writer import StoreWriter
from trajrl.store.images import EMBEDDING, keys_of
from trajrl.store.store import TrajectoryStore
from trajrl.store.table import PHASES


def embed_store(
    source: Path,
    out: Path,
    encoder: str,
    keys: Iterable[str] = (),
    seed: int = 0,
    show: Show = quietly,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the store of features and return what it holds; a failure leaves no file.

    Args:
        keys: what is kept of an observation, in this order; none: all of it
    """
    refuse_existing(out, overwrite)
    store = TrajectoryStore.open(source)
    if keys:
        store.keep_keys(keys)
    if not store.images:
        raise ValueError(f"{source} has no images to embed" + (" among those keys" if keys else ""))
    frozen = FrozenEncoder(encoder, store.image_shapes, seed)
    made = {
        "encoder": encoder, "seed": seed, "weights": weights_hash(encoder),
        "obs_keys": list(keys_of(store.obs_dim, store.images)),
    }  # fmt: skip
    kept = {n: v for n, v in store.attributes.items() if n not in ("statistics", "fingerprint", "seal")}
    origin = {"format": "embed", "of": store.fingerprint, "origin": kept.get("provenance", {})}
    attributes = {**kept, EMBEDDING: made, "provenance": {**origin, **made, "counts": {}}}
    table = store.table
    with StoreWriter(out, attributes, source, read=[store]) as writer:
        for e in show(store.live.tolist(), f"embed {source.name}", len(store.live), "episodes"):
            labels = {name: getattr(table, name)[e] for name in table.extra_names}
            writer.append(embedded(store.episode(e), frozen), PHASES[int(table.phase[e])], labels)
    return {
        "out": str(out), "encoder": encoder, "features": frozen.width,
        "obs_dim": store.obs_dim + frozen.width, "images": list(store.images),
        "episodes": len(store.live), "transitions": store.num_steps,
    }  # fmt: skip


def embedded(episode: Episode, frozen: FrozenEncoder) -> Episode:
    """Return an episode of vectors: the state, then what the encoder makes of every image."""
    rows = [
        frozen.one({name: frames[row] for name, frames in episode.images.items()})
        for row in range(len(episode) + 1)
    ]
    return replace(episode, obs=np.concatenate([episode.obs, np.stack(rows)], 1), images={})
