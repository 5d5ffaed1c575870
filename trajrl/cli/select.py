"""`select`: rank the policies that runs keep, without any environment, and write down which is selected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from trajrl.cli.common import Common, UsageError, say
from trajrl.cli.option import silent
from trajrl.cli.text_table import show_table, terminal_width
from trajrl.core.source_place import short
from trajrl.store.places import join_places

if TYPE_CHECKING:
    from trajrl.training.ope.select import Ranking

HEADER = ("run", "step", "value", "95 % interval", "")
FIRST = 3  # updates of fqe for one of the regression that it begins with
LOSSES = ("td", "bc_loss")  # criteria that held-out episodes can be asked of
MOST = 40  # rows of the printed table
SHOWN = 6  # ties named in a line


@dataclass(frozen=True, kw_only=True)
class Select(Common):
    """Rank the kept policies of runs by a criterion, without any environment.

    Each run's selection.json names the first of its own, which evaluate and export take as selected.
    """

    COUNTS: ClassVar[tuple[str, ...]] = ("steps", "members", "updates")

    runs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(name="runs", metavar="RUN ...")
    ] = ()
    """Run folders, patterns, folders that hold runs, or sweeps."""
    by: Literal["cautious_fqe", "fqe", "td", "bc_loss", "q_start", "score", "wis", "doubly_robust"] = (
        "bc_loss"
    )
    """fqe: value by fitted Q evaluation.  cautious_fqe: less what leaving the data's actions costs.
    td, bc_loss: the agent's own losses.  q_start: its own Q at o_0.
    score: evaluations in the environment.  wis, doubly_robust: for policies that have a likelihood."""
    data: Annotated[tuple[str, ...], silent("PATH|NAME ...", "the runs' own")] = ()
    """Data to judge on, with all its episodes."""
    on: Literal["auto", "held", "all"] = "auto"
    """Episodes of td and bc_loss.  auto: those that were held out, where there are any; else all."""
    gamma: Annotated[float | None, silent("X", "the runs' own, 0.99 where they differ")] = None
    """Discount per step of fqe, wis and doubly_robust."""
    horizon: int = 0
    """Rewards of fqe before its bootstrap; 0: those of one chunk.  More are taken only as far as the data's
    actions are the policy's own."""
    steps: int = 20_000
    """Steps of the data that values are fitted to, drawn evenly."""
    members: int = 5
    """Networks of fqe for each policy."""
    updates: int = 1_500
    """Updates of fqe; a third as many go before, on the data's own returns."""
    caution: float = 1.0
    """Of cautious_fqe: what a policy loses, in typical returns, whose actions are all at squared distance 1
    from the data's (the box is [-1, 1])."""

    def check(self) -> None:
        """Refuse held-out episodes for a criterion that takes all."""
        super().check()
        if self.on == "held" and self.by not in LOSSES:
            raise ValueError(
                f"--on held is of --by td and bc_loss: {self.by} takes its own episodes; leave it out"
            )

    def run(self) -> dict[str, Any]:
        """Rank, write, and say what is first and what cannot be set apart from it."""
        from trajrl.training.ope import fqe
        from trajrl.training.ope.question import Question
        from trajrl.training.ope.select import kept_policies, rank, write

        if not self.runs:
            raise UsageError("name at least one run folder, such as runs/x or a sweep")
        policies = kept_policies(folders(self.runs), self.trust)
        first = max(1, self.updates // FIRST)
        fitting = fqe.Config(members=self.members, first_updates=first, updates=self.updates)
        data = join_places(self.data) if self.data else ""
        question = Question(
            data, self.on, self.gamma, self.horizon, self.steps, self.seed, self.caution, fitting
        )
        ranking = rank(policies, self.by, question)
        show(ranking)
        written = write(ranking)
        best, rows = ranking.best, ranking.rows()
        tied = [
            str(policy) for policy, row in zip(policies, rows) if row["tied"] and policy is not policies[best]
        ]
        say(f"selected: {policies[best]}")
        if tied:
            if why := ranking.estimates.lacking:
                say(f"{why}: no policy can be separated from another")
            count = f"{len(tied)} of {len(rows) - 1} others cannot be separated from it at 95 %"
            say(f"{count}: {', '.join(tied[:SHOWN])}{' ...' if len(tied) > SHOWN else ''}")
        elif len(rows) > 1:
            say("every other one is worse, at 95 %")
        for path in written:
            say(f"wrote {short(path)}")
        return {
            "by": self.by, **rows[best], "policies": rows, "tied_with_first": len(tied),
            "selections": [short(path) for path in written],
        }  # fmt: skip


def show(ranking: Ranking) -> None:
    """Print the policies, the best first."""
    rows, order = ranking.rows(), ranking.estimates.order
    shown = [rows[i] for i in order[:MOST]]
    better = "larger" if ranking.estimates.higher_is_better else "smaller"
    say(f"{ranking.by}, {better} is better; =: cannot be separated from the first at 95 %")
    table = [
        (row["run"], str(row["step"]), f"{row['value']:.4g}", f"{row['low']:.4g} to {row['high']:.4g}",
         "first" if place == 0 else "=" if row["tied"] else "")
        for place, row in enumerate(shown)
    ]  # fmt: skip
    show_table(HEADER, table, numbers=("step", "value"), width=terminal_width(), whole=HEADER)
    if len(rows) > MOST:
        say(f"and {len(rows) - MOST} more")


def folders(patterns: tuple[Path, ...]) -> list[Path]:
    """Return the run folders that paths, patterns and sweeps stand for; what is none of them is refused."""
    from trajrl.report.runs.folders import scan

    inside = [path / "trials" if (path / "sweep.json").exists() else path for path in patterns]
    found = scan([str(path) for path in inside])
    wrong = [note for note in found.notes if "has not finished" not in note]
    if wrong or not found.runs:
        raise ValueError("; ".join(wrong) or f"no run in {', '.join(map(str, patterns))}")
    return [run.path for run in found.runs]
