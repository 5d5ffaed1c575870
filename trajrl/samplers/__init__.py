"""Samplers decide which trajectories are learned from; `make_sampler` builds one by name or by expression.

    make_sampler("cluster", store, clusters=8)
    make_sampler("cluster*priority", store, metric="td_error_rank")
    make_sampler("policy=weighted values=uniform", store)

Adding one is a file, a line here and its tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trajrl.core.registry import find
from trajrl.samplers.options import choose_sampler

if TYPE_CHECKING:
    from trajrl.samplers.base.protocol import Sampler
    from trajrl.store.store import TrajectoryStore

SAMPLERS = {
    "advantage": "trajrl.samplers.advantage:AdvantageSampler",
    "cluster": "trajrl.samplers.cluster:ClusterSampler",
    "density": "trajrl.samplers.density:DensitySampler",
    "episode": "trajrl.samplers.episode:EpisodeSampler",
    "mixture": "trajrl.samplers.mixture:MixtureSampler",
    "onpolicy": "trajrl.samplers.onpolicy:OnPolicySampler",
    "priority": "trajrl.samplers.priority:PrioritySampler",
    "product": "trajrl.samplers.product:ProductSampler",
    "progress": "trajrl.samplers.progress:ProgressSampler",
    "quality": "trajrl.samplers.quality:QualitySampler",
    "recent": "trajrl.samplers.recent:RecentSampler",
    "roles": "trajrl.samplers.roles:RolesSampler",
    "top": "trajrl.samplers.top:TopSampler",
    "uniform": "trajrl.samplers.uniform:UniformSampler",
    "weighted": "trajrl.samplers.weighted:WeightedSampler",
}


def make_sampler(name: str, store: TrajectoryStore, seed: int = 0, **options: Any) -> Sampler:
    """Build a sampler on a store.

    Args:
        name: a name of SAMPLERS, a product of two such as "cluster*priority", or one for each role
        options: fields of the sampler's Config; "part.field" names a field of one part of a composed sampler,
            and a plain field that only the parts have goes to every part that has it
    """
    choice = choose_sampler(SAMPLERS, name, options)
    kind = find(SAMPLERS, choice.name, "sampler")
    if not choice.parts:
        sampler = kind(store, choice.config, seed)
        if choice.name not in SAMPLERS:  # a user's own: found out now and not at the end of a run
            from trajrl.samplers.base.distributions import require_probabilities  # numpy is slow to import

            require_probabilities(sampler.probabilities(), store.live, len(store), choice.name)
        return sampler
    parts = {
        part: make_sampler(inner, kind.view(store, part), seed, **inner_options)
        for part, (inner, inner_options) in choice.parts.items()
    }
    return kind(store, choice.config, parts)
