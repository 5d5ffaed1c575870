"""Criteria by name: each a function of kept policies and a question that returns estimates of all."""

from __future__ import annotations

from typing import Any

CRITERIA: dict[str, str] = {
    "bc_loss": "trajrl.training.ope.losses:by_bc_loss",
    "cautious_fqe": "trajrl.training.ope.values:by_cautious_fqe",
    "doubly_robust": "trajrl.training.ope.doubly_robust:by_doubly_robust",
    "fqe": "trajrl.training.ope.values:by_fqe",
    "q_start": "trajrl.training.ope.values:by_q_start",
    "score": "trajrl.training.ope.score:by_score",
    "td": "trajrl.training.ope.losses:by_td",
    "wis": "trajrl.training.ope.importance:by_wis",
}
DEFAULT = "bc_loss"  # of least regret among those measured, benchmarks/RESULTS.md


def lacking(by: str, agent: Any, config: Any, scored: bool) -> str:
    """Return what a criterion needs and a run will not have, as far as is known before; nothing if it fits.

    Args:
        agent: its class, which says what it has
        config: the agent's
        scored: the run has an environment
    """
    critic = getattr(agent, "roles", ()) != ("policy",)
    needs = {
        "bc_loss": ("a behaviour-cloning loss", getattr(config, "clones", True)),
        "doubly_robust": ("the likelihood of a Gaussian policy", hasattr(agent, "log_prob")),
        "q_start": ("a critic", critic), "score": ("an environment", scored), "td": ("a critic", critic),
        "wis": ("the likelihood of a Gaussian policy", hasattr(agent, "log_prob")),
    }  # fmt: skip
    what, there = needs.get(by, ("", True))
    return "" if there else what
