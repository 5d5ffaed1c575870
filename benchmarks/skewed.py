"""A quarter expert among medium data: plain Diffusion-QL beside stratified learning; and sweeps of T and eta.

    python benchmarks/skewed.py --out out/skewed             # runs what is missing
    python benchmarks/skewed.py --out out/skewed --table     # shows what is there

`by the critic` is the published judge; `all rows` is the stratified agent whose second actor clones every
row: what the second actor alone is worth.
A run that has its summary is kept, one that was cut short is resumed.  Writes TASK.png, sweeps.png and
runs.csv.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from judged import recorded

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

COMMON = [
    "eval_every=2500",
    "eval_episodes=10",
    "last_eval_episodes=20",
    "eval_envs=10",
    "agent.width=128",
    "kernels=auto",
]
TASKS = ("hopper", "walker2d")
UPDATES = 5_000
DATA_SEED = 31  # of recordings that nothing was tuned on
FORMER = [  # the second actor as it is published, of raw observations
    "agent.judge=critic", "agent.second_q=1", "agent.second_predicts=noise", "agent.normalize_obs=false",
]  # fmt: skip
AGENTS: dict[str, tuple[str, list[str]]] = {
    "diffusion_ql": ("diffusion_ql", []),
    "stratified_ql": ("stratified_ql", []),
    "by the critic": ("stratified_ql", FORMER),
    "all rows": ("stratified_ql", [*FORMER, "agent.fraction_start=1", "agent.fraction_end=1"]),
}
SWEEPS: dict[str, tuple[float, ...]] = {"T": (2, 5, 10, 20), "eta": (0.0, 0.3, 1.0, 3.0, 10.0)}
FIELDS = {"T": "diffusion_steps", "eta": "eta"}
JUDGED = ("accuracy", "balanced_accuracy", "auroc", "precision_at_share")
STRATIFIED = ("stratified_ql", "by the critic")


class Trial(NamedTuple):
    """One run: which table it is for, its task, what is varied, and its seed."""

    part: str  # mixture, T or eta
    task: str
    value: str  # name of the agent, or the swept number
    seed: int
    words: list[str]

    @property
    def name(self) -> str:
        """Return the folder's name."""
        return f"{self.part}-{self.task}-{self.value.replace(' ', '_')}-s{self.seed}"


def trials(data: dict[str, Path], seeds: int) -> Iterator[Trial]:
    """Yield every run: the two agents on the mixture by seed, the sweeps, the agent that clones all rows."""
    for names in (("diffusion_ql", "stratified_ql"), ("by the critic", "all rows")):
        for seed in range(seeds):
            for task, path in data.items():
                for name in names:
                    agent, extra = AGENTS[name]
                    words = [*offline(path, agent, seed, UPDATES), *extra]
                    yield Trial("mixture", task, name, seed, words)
        yield from sweeps(data["hopper"]) if "all rows" not in names else ()


def sweeps(data: Path) -> Iterator[Trial]:
    """Yield the runs of T and of eta, two seeds."""
    for seed in range(2):
        for field, values in SWEEPS.items():
            for value in values:
                words = offline(data, "diffusion_ql", seed, UPDATES)
                words.append(f"agent.{FIELDS[field]}={value:g}")
                yield Trial(field, "hopper", f"{value:g}", seed, words)


def offline(data: Path, agent: str, seed: int, steps: int) -> list[str]:
    """Return the command of a run, ending in its settings."""
    words = ["offline", "--data", str(data), "--agent", agent, "--preset", "demo", "--sampler", "uniform"]
    return [*words, "--steps", str(steps), "--seed", str(seed), "--set", *COMMON]


def run(trial: Trial, out: Path) -> Path:
    """Do a run unless it is there whole; continue with one that was cut short."""
    folder = out / trial.name
    if not (folder / "summary.json").exists():
        resume = ["--resume"] if (folder / "checkpoints" / "latest").exists() else []
        words = [trial.words[0], *resume, "--out", str(folder), *trial.words[1:]]
        subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, check=True)
    return folder


def found(out: Path, every: list[Trial]) -> pd.DataFrame:
    """Return one row per evaluation of every finished run: score, return, and diagnostics."""
    rows: list[dict[str, Any]] = []
    for trial in every:
        folder = out / trial.name
        if not (folder / "summary.json").exists():
            continue
        evals = pd.read_csv(folder / "evals.csv").groupby("step")[["return", "score"]].mean()
        metrics = pd.read_csv(folder / "metrics.csv").set_index("step")
        judged = metrics[[c for c in metrics if c.rsplit("/", 1)[-1] in JUDGED]].dropna(how="all")
        judged.columns = [column.rsplit("/", 1)[-1] for column in judged]
        rate = json.loads((folder / "summary.json").read_text())["updates_per_second"]
        base = {"part": trial.part, "task": trial.task, "value": trial.value, "seed": trial.seed}
        for step, row in evals.join(judged, how="outer").iterrows():
            rows.append({**base, "step": int(step), "updates_per_second": rate, **row.to_dict()})
    return pd.DataFrame(rows)


def spread(values: pd.Series, digits: int = 1) -> str:
    """Return mean, least and greatest over seeds."""
    values = values.dropna()
    if values.empty:
        return ""
    low, high = values.min(), values.max()
    return f"{values.mean():.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def tables(runs: pd.DataFrame) -> str:
    """Return the tables as markdown: scores at every evaluation, diagnostics, sweeps."""
    lines: list[str] = []
    scored = runs.dropna(subset=["score"])
    for task, rows in scored[scored.part == "mixture"].groupby("task"):
        steps = sorted(rows.step.unique())
        lines += ["", f"{task}, score", "| agent | " + " | ".join(map(str, steps)) + " | seeds |"]
        lines.append("|---" * (len(steps) + 2) + "|")
        for name in [name for name in AGENTS if name in set(rows.value)]:
            own = rows[rows.value == name]
            cells = [spread(own[own.step == step].score) for step in steps]
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {own.seed.nunique()} |")
    for task, rows in runs[runs.part == "mixture"].groupby("task"):
        names = [name for name in JUDGED if name in rows]
        lines += ["", f"{task}, rows told apart", "| judged by, step | " + " | ".join(names) + " |"]
        lines.append("|---" * (len(names) + 1) + "|")
        evaluated = rows[rows.value.isin(STRATIFIED) & rows.score.notna()].dropna(subset=names[:1])
        for (value, step), own in evaluated.groupby(["value", "step"]):
            lines.append(f"| {value}, {step} | " + " | ".join(spread(own[name], 3) for name in names) + " |")
    for field in SWEEPS:
        rows = scored[scored.part == field]
        if rows.empty:
            continue
        rows = rows[rows.step == rows.groupby(["value", "seed"]).step.transform("max")]
        lines += ["", f"| {field} | score | updates/s | seeds |", "|---|---|---|---|"]
        for value, own in sorted(rows.groupby("value"), key=lambda pair: float(pair[0])):
            cells = f"{spread(own.score)} | {own.updates_per_second.mean():.0f} | {own.seed.nunique()}"
            lines.append(f"| {value} | {cells} |")
    return "\n".join(lines).strip()


def draw(runs: pd.DataFrame, out: Path) -> None:
    """Draw accuracy and score over training for each task, and the sweeps, means with least and greatest."""
    from matplotlib.figure import Figure

    for task, rows in runs[runs.part == "mixture"].groupby("task"):
        figure = Figure(figsize=(9.6, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        for name in AGENTS:
            own = rows[rows.value == name]
            curve(right, own, "score", name)
            if name in STRATIFIED:
                curve(left, own, "balanced_accuracy", f"{name}: balanced accuracy")
                curve(left, own, "auroc", f"{name}: AUROC", "--")
        left.axhline(0.5, color="0.6", lw=0.8)
        left.set(xlabel="updates", title=f"{task}: expert rows told apart")
        right.set(xlabel="updates", title=f"{task}: score of the evaluated actor")
        for axes in (left, right):
            axes.legend(fontsize=8)
        figure.savefig(out / f"{task}.png", dpi=100)
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    for axes, field in zip(figure.subplots(1, 2), SWEEPS):
        rows = runs[runs.part == field].dropna(subset=["score"])
        if len(rows):
            last = rows[rows.step == rows.step.max()].assign(step=lambda x: x.value.astype(float))
            curve(axes, last, "score", "diffusion_ql")
        axes.set(xlabel=field, title=f"hopper: score after 5,000 updates by {field}")
        axes.set_xscale("symlog", linthresh=0.3) if field == "eta" else None
    figure.savefig(out / "sweeps.png", dpi=100)


def curve(axes: Any, rows: pd.DataFrame, column: str, label: str, style: str = "-") -> None:
    """Draw mean, least and greatest over seeds against the step."""
    if column not in rows or rows[column].dropna().empty:
        return
    per = rows.dropna(subset=[column]).groupby("step")[column]
    step = np.array(sorted(per.groups), float)
    (line,) = axes.plot(step, per.mean(), style, marker="o", ms=3, label=label)
    axes.fill_between(step, per.min(), per.max(), color=line.get_color(), alpha=0.15, lw=0)


def main() -> None:
    """Run what is missing, write the tables and the figures of what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="of the mixture, from 0 on")
    parser.add_argument("--policies", default="data/policies", help="folder of their policies, *.npz")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "skewed", help="folder of the runs")
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    data = {task: out / f"{task}-{DATA_SEED}.h5" for task in TASKS}
    every = list(trials(data, options.seeds))
    for task in [] if options.table else TASKS:
        recorded(task, DATA_SEED, out, Path(options.policies).resolve())
    for trial in [] if options.table else every:
        run(trial, out)
    runs = found(out, every)
    if runs.empty:
        raise SystemExit(f"no finished run in {out}")
    runs.to_csv(out / "runs.csv", index=False)
    draw(runs, out)
    print(tables(runs))


if __name__ == "__main__":
    main()
