"""Criteria by name: each a function of kept policies and a question that returns estimates of all."""

from __future__ import annotations

CRITERIA: dict[str, str] = {
    "bc_loss": "trajrl.training.ope.losses:by_bc_loss",
    "doubly_robust": "trajrl.training.ope.doubly_robust:by_doubly_robust",
    "fqe": "trajrl.training.ope.values:by_fqe",
    "q_start": "trajrl.training.ope.values:by_q_start",
    "score": "trajrl.training.ope.score:by_score",
    "td": "trajrl.training.ope.losses:by_td",
    "wis": "trajrl.training.ope.importance:by_wis",
}
DEFAULT = "fqe"
