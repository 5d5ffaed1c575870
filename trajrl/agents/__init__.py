"""Agents: one algorithm per file; `make_agent` builds one by name.

To add one: a file here with `Config`, `PRESETS` and a `Learner` (td3_bc.py is short and has all), and a line
in AGENTS.  Presets that fill a page go to presets/NAME.py, from where the agent's file imports PRESETS and
`preset(name, env)`.  The contract tests find it by its line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from trajrl.agents.base.checks import shares
from trajrl.core.registry import find, unknown

if TYPE_CHECKING:
    from trajrl.agents.base.protocol import Agent

RATES = ("gamma", "tau", "ema_decay")  # outside of [0, 1] what they weigh grows without bound
DEFAULT_AGENT = "trajectory_ql"  # of a run that names none
AGENTS: dict[str, str] = {
    "acfql": "trajrl.agents.acfql:ACFQL",
    "awac": "trajrl.agents.awac:AWAC",
    "bc_diffusion": "trajrl.agents.bc_diffusion:BCDiffusion",
    "cal_ql": "trajrl.agents.cal_ql:CalQL",
    "cql": "trajrl.agents.cql:CQL",
    "diffusion_ql": "trajrl.agents.diffusion_ql:DiffusionQL",
    "dqc": "trajrl.agents.dqc:DQC",
    "edp": "trajrl.agents.edp:EDP",
    "eg_ood": "trajrl.agents.eg_ood:EGOOD",
    "ifql": "trajrl.agents.ifql:IFQL",
    "iql": "trajrl.agents.iql:IQL",
    "qg": "trajrl.agents.qg:QG",
    "rebrac": "trajrl.agents.rebrac:ReBRAC",
    "rlpd": "trajrl.agents.rlpd:RLPD",
    "sac": "trajrl.agents.sac:SAC",
    "stratified_ql": "trajrl.agents.stratified_ql:StratifiedQL",
    "td3_bc": "trajrl.agents.td3_bc:TD3BC",
    "trajectory_ql": "trajrl.agents.trajectory_ql:TrajectoryQL",
}


def make_config(name: str, **values: Any) -> Any:
    """Build and validate the config of agent `name`; an unknown field fails with the nearest one."""
    kind = find(AGENTS, name, "agent").Config
    require_fields(name, values)
    for one in fields(kind):
        may_be = one.default is None or any(word in str(one.type) for word in ("None", "Optional"))
        if values.get(one.name, 0) is None and not may_be:
            raise ValueError(f"agent.{one.name} takes {one.type}; got null")
    config = kind(**values)
    shares(config, *(rate for rate in RATES if hasattr(config, rate)))
    config.validate()
    return config


def require_fields(name: str, keys: Iterable[str]) -> None:
    """Refuse a field that an agent lacks, naming the agents that have it, else the nearest field."""
    known = fields_of(name)
    for key in keys:
        if key not in known:
            others = [other for other in AGENTS if key in fields_of(other)]
            have = f"no agent option '{key}' of {name}; agents that have it: {', '.join(others)}"
            raise ValueError(have if others else unknown("agent option", key, known))


def fields_of(name: str) -> list[str]:
    """Return the names of the fields of an agent's config."""
    return [f.name for f in fields(find(AGENTS, name, "agent").Config)]


def make_agent(
    name: str,
    obs_dim: int,
    action_dim: int,
    *,
    device: str = "cpu",
    seed: int = 0,
    statistics: Mapping[str, Any] | None = None,
    images: Mapping[str, tuple[int, ...]] | None = None,
    **config: Any,
) -> Agent:
    """Build agent `name` from config fields; `statistics` (obs_mean, obs_std) serve normalize_obs.

    Args:
        images: (height, width, channels) of every image that observations hold beside the vector
    """
    kind = find(AGENTS, name, "agent")
    shown = {"images": dict(images)} if images else {}
    if shown and not getattr(kind, "takes_images", False):
        others = ", ".join(other for other in AGENTS if find(AGENTS, other, "agent").takes_images)
        raise ValueError(
            f"{name} takes no images, and observations hold {', '.join(shown['images'])}; agents that take "
            f"them: {others}"
        )
    return kind(
        obs_dim, action_dim, make_config(name, **config), device=device, seed=seed, statistics=statistics,
        **shown,
    )  # fmt: skip
