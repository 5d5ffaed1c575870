"""The bandit laboratory's acceptance: agents and guidance ratios beside the closed form, and two sweeps.

    python benchmarks/laboratory.py --out out/laboratory                # runs what is missing, prints tables
    python benchmarks/laboratory.py --out out/laboratory --table        # prints what is there

A run is `python run.py toy DATASET --agent NAME ...`, one folder per seed; one that has its numbers is kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SETS = ("8gaussians", "rings")
AGENTS = {"bc_diffusion": 16_000, "qg": 8_000, "edp": 8_000, "diffusion_ql": 4_000}  # updates
COLUMNS = (
    "run", "mean energy", "closed form", "total variation", "off every mode, %", "mode masses", "s", "seeds",
)  # fmt: skip
LEVELS = (2, 5, 10, 20, 50)
ETAS = (0.0, 1.0, 3.0, 10.0)


class Trial(NamedTuple):
    """What is run once per seed, and the table that it is a row of."""

    table: str
    dataset: str
    agent: str
    row: str
    seeds: int
    steps: int = 8_000
    T: tuple[int, ...] = ()
    eta: tuple[float, ...] = ()
    set: tuple[str, ...] = ()

    def folder(self, out: Path, seed: int) -> Path:
        """Return the run's folder."""
        return out / f"{self.table}-{self.dataset}-{self.agent}-{self.row}-s{seed}"


def trials() -> list[Trial]:
    """Return every row, the acceptance first."""
    from trajrl.nets.guidance import RATIOS

    agents = [Trial("agents", each, name, name, 5, steps) for each in SETS for name, steps in AGENTS.items()]
    terms = [
        Trial("agents", SETS[0], "edp", "edp-td3", 2, set=("agent.q_term=td3", "agent.eta=1")),
        Trial("agents", SETS[1], "edp", "edp-awr", 2, set=("agent.q_term=awr", "agent.eta=3")),
    ]
    ratios = [Trial("ratios", SETS[0], "qg", name, 1, set=(f"agent.ratio={name}",)) for name in RATIOS]
    levels = [Trial("T", SETS[0], "bc_diffusion", f"{T}", 2, T=(T,)) for T in LEVELS]
    etas = [Trial("eta", SETS[0], "qg", f"{eta:g}", 2, eta=(eta,)) for eta in ETAS]
    strengths = [Trial("eta", SETS[0], "diffusion_ql", f"{eta:g}", 2, 4_000, eta=(eta,)) for eta in ETAS]
    return [*agents, *terms, *levels, *etas, *strengths, *ratios]


def run(trial: Trial, seed: int, out: Path) -> None:
    """Do one run unless its numbers are there; one that was cut short starts again."""
    from trajrl.cli.toy import Toy

    folder = trial.folder(out, seed)
    if (folder / "toy.json").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    Toy(
        dataset=trial.dataset, agent=trial.agent, seed=seed, steps=trial.steps, T=trial.T, eta=trial.eta,
        out=str(folder), set=trial.set,
    ).run()  # fmt: skip


def rows(trial: Trial, out: Path) -> list[dict[str, Any]]:
    """Return the numbers of every seed that is there."""
    paths = [trial.folder(out, seed) / "toy.json" for seed in range(trial.seeds)]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def line(trial: Trial, out: Path) -> str:
    """Return a row of the table: means over seeds with 95 % intervals."""
    from trajrl.cli.toy import summarise

    found = rows(trial, out)
    if not found:
        return ""
    one = summarise(found, 0)
    cells = []
    for name, scale, digits in (("mean_energy", 1, 3), ("total_variation", 1, 3), ("off_mode", 100, 1)):
        low, high = (scale * value for value in one["intervals"][name])
        cells.append(f"{scale * one[name]:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
    masses = " ".join(f"{mass:.3f}" for mass in one["mode_masses"])
    seconds = sum(each["seconds"] for each in found) / len(found)
    name = trial.agent if trial.row == trial.agent else f"{trial.agent} {trial.row}"
    wanted = f"{one['expected_energy']:.3f}"
    parts = [name, cells[0], wanted, *cells[1:], masses, f"{seconds:.0f}", str(len(found))]
    return "| " + " | ".join(parts) + " |"


def tables(every: list[Trial], out: Path) -> str:
    """Return the tables as markdown."""
    lines: list[str] = []
    for table, dataset in dict.fromkeys((trial.table, trial.dataset) for trial in every):
        own = [line(each, out) for each in every if (each.table, each.dataset) == (table, dataset)]
        if any(own):
            lines += ["", f"{dataset}, {table}"]
            lines += ["| " + " | ".join(COLUMNS) + " |"]
            lines += ["|---" * len(COLUMNS) + "|", *filter(None, own)]
    return "\n".join(lines).strip()


def draw(every: list[Trial], out: Path) -> None:
    """Draw the sweeps, one figure for each agent and field."""
    from trajrl.report.bandit.figure import draw_sweep

    for field, agent in dict.fromkeys((trial.table, trial.agent) for trial in every):
        found = [row for t in every if (t.table, t.agent) == (field, agent) for row in rows(t, out)]
        if field in ("T", "eta") and len({row[field] for row in found}) > 1:
            draw_sweep(field, found, f"{agent} on {SETS[0]}", out / f"{field}-{agent}.png")


def main() -> None:
    """Run what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "laboratory", help="folder of the runs")
    parser.add_argument("--only", default="", help="one table: agents, ratios, T or eta")
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    every = [trial for trial in trials() if options.only in ("", trial.table)]
    work = [(seed, trial) for seed in range(max(t.seeds for t in every)) for trial in every]
    for seed, trial in [] if options.table else work:
        if seed < trial.seeds:
            run(trial, seed, options.out)
    draw(every, options.out)
    print(tables(every, options.out))


if __name__ == "__main__":
    main()
