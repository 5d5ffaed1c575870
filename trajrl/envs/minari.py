"""minari:NAME: a Minari data set, the environment it was recorded in, and its own reference scores.

    score = 100 (R - ref_min_score) / (ref_max_score - ref_min_score), where the set has them

The environment is the one its metadata describe: id, arguments, time limit.  D4RL's references never apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gymnasium

from trajrl.core.registry import unknown
from trajrl.envs.base.protocol import Score
from trajrl.envs.base.reference_scores import normalised
from trajrl.envs.base.suite import Suite
from trajrl.envs.base.wrappers import EnvOptions
from trajrl.envs.gymnasium import make_registered, registered
from trajrl.formats.base.options import Options
from trajrl.formats.dataset_names import locate_dataset
from trajrl.store.episode import Episode

if TYPE_CHECKING:
    from trajrl.formats.minari.reader import Minari


class MinariSuite(Suite):
    """One data set by its id, such as minari:mujoco/hopper/medium-v0."""

    prefix = "minari"
    takes_arguments = True

    def __init__(self, name: str, options: EnvOptions | None = None) -> None:
        self.source = find_source(name)
        self.spec = recovered(self.source)
        super().__init__(name, options)

    def build(self, seed: int, render: bool) -> gymnasium.Env:
        """Make the environment that the data was recorded in."""
        known = registered(self.spec["id"])
        if self.spec["id"] not in known:
            raise ValueError(f"{self.name}: {unknown('environment', self.spec['id'], known)}")
        limit = self.spec.get("max_episode_steps")
        own = {"max_episode_steps": limit} if limit else {}
        arguments = {**(self.spec.get("kwargs") or {}), **own, **self.options.arguments}
        return make_registered(self.spec["id"], render, arguments)

    def episodes(self) -> Iterator[Episode]:
        """Yield the episodes of the set."""
        yield from self.source.episodes()

    def score(self, episode_return: float) -> Score:
        """Put a return between the set's own references."""
        low, high = (reference(self.source, f"ref_{end}_score") for end in ("min", "max"))
        if low is None or high is None or low == high or self.options.alters_returns:
            return Score(None, "none")
        value = normalised(episode_return, low, high)
        return Score(value, f"{self.name} (the data set's own references, {self.spec['id']})")


def find_source(name: str) -> Minari:
    """Open a data set from Minari's cache, or fetch it."""
    from trajrl.formats.minari.reader import Minari

    return Minari(locate_dataset(f"minari:{name}"), Options())


def recovered(source: Minari) -> dict[str, Any]:
    """Return what a set says of its environment; a set that names none, or a wrapped one, is refused."""
    from trajrl.formats.minari.reader import as_tree

    spec = as_tree(source.metadata.get("env_spec"))
    if not isinstance(spec.get("id"), str) or not isinstance(spec.get("kwargs") or {}, dict):
        raise ValueError(f"{source.path} does not say which environment it was recorded in; give --env")
    if spec.get("additional_wrappers"):
        names = ", ".join(str(wrapper.get("name")) for wrapper in spec["additional_wrappers"])
        raise ValueError(f"{source.path} was recorded in {spec['id']} under wrappers ({names}); give --env")
    return spec


def reference(source: Minari, name: str) -> float | None:
    """Return one of a set's reference scores; None where it has none."""
    found = source.metadata.get(name)
    try:
        return None if found is None else float(found)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source.path} has a {name} that is no number: {found!r}") from error
