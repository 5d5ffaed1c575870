"""`toy`: train any agent on a two-dimensional bandit, where the right answer is known in closed form."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from trajrl.agents import AGENTS
from trajrl.cli.common import Common, say
from trajrl.cli.offline import Offline
from trajrl.cli.option import silent
from trajrl.cli.train_command import stop_politely
from trajrl.core.atomic_files import write_text
from trajrl.core.json_file import read_object
from trajrl.core.out_paths import refuse_no_folder
from trajrl.core.registry import find

if TYPE_CHECKING:
    from trajrl.training.run import Run

# What a bandit asks of an agent that has such a field: one step, small networks, a short run.
LABORATORY: dict[str, Any] = {
    "gamma": 0.0, "history": 1, "horizon": 1, "chunk": 1, "critic_chunk": 1, "candidates": 1,
    "diffusion_steps": 20, "schedule": "cosine", "width": 64,
    "lr": 1e-2, "actor_lr": 5e-3, "critic_lr": 3e-3, "critic_norm": "before", "decay": "update",
    "actor_clip": 2.0, "critic_clip": 2.0, "ema_every": 1, "ema_start": 0, "ratio": "snr_real",
}  # fmt: skip
DATASET, OFFLINE = "the data set that the command names", "what a toy run is"
FIXED = {  # fields that --set does not reach, and what says them
    "data": DATASET, "env": DATASET, "format": DATASET, "agent": "--agent", "steps": "--steps",
    "seed": "--seed", "phase": OFFLINE, "preset": OFFLINE, "from_run": OFFLINE,
}  # fmt: skip
AVERAGED = ("mean_energy", "total_variation", "off_mode", "sliced_w2", "mmd")


@dataclass(frozen=True)
class Setting:
    """One run of the laboratory: None leaves a field as the agent has it."""

    T: int | None
    eta: float | None
    seed: int

    @property
    def name(self) -> str:
        """Return what tells the run's folder from its neighbours'."""
        parts = [f"T{self.T}" if self.T else "", f"eta{self.eta:g}" if self.eta is not None else ""]
        return "-".join([*filter(None, parts), f"s{self.seed}"])


@dataclass(frozen=True, kw_only=True)
class Toy(Common):
    """Train an agent on a bandit, draw what it learned, and compare with the closed form."""

    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
    """8gaussians, rings, moons, checkerboard, 2spirals, swissroll, circles, pinwheel or corners."""
    agent: str = "qg"
    """The algorithm."""
    T: Annotated[tuple[int, ...], silent("T ...", "20")] = ()
    """Denoising steps; several values are swept and drawn as one figure."""
    eta: Annotated[tuple[float, ...], silent("ETA ...", "the agent's own for bandits")] = ()
    """Weight of the Q term; several values are swept and drawn as one figure."""
    beta: Annotated[float | None, silent("BETA", "eta where the agent has one, else 0")] = None
    """Inverse temperature of the closed form p_data(a) exp(beta e(a)) to compare with."""
    steps: int = 8_000
    """Gradient steps."""
    seeds: int = 1
    """Number of runs, with seeds from --seed on; more than one gives intervals."""
    samples: int = 10_000
    """Samples of the policy to measure."""
    out: Annotated[str, silent("DIR", "a new one under runs/")] = ""
    """Folder of the run; with several, the folder that holds them."""
    resume: bool = False
    """Continue with what --out holds."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="")] = ()
    """Any field of the resolved config, as for offline, such as --set agent.ratio=pred."""

    def run(self) -> dict[str, Any]:
        """Train, measure, draw."""
        from trajrl.envs.bandit import find_bandit

        find_bandit(self.dataset)
        if taken := [part for part in self.set if part.partition("=")[0] in FIXED]:
            said = FIXED[taken[0].partition("=")[0]]
            instead = "leave it out" if said == OFFLINE else "change that instead"
            raise ValueError(f"--set {taken[0]} would override {said}; {instead}")
        for option, field in (("T", "diffusion_steps"), ("eta", "eta")):
            twice = [part for part in self.set if part.partition("=")[0] == f"agent.{field}"]
            if twice and getattr(self, option):
                raise ValueError(f"--{option} and --set {twice[0]} both set {field}; give one of them")
        if self.seeds < 1 or self.steps < 1 or self.samples < 2:
            raise ValueError("--seeds and --steps are at least 1, --samples at least 2")
        if self.beta is not None and not isfinite(self.beta):
            raise ValueError(f"--beta is a finite number; got {self.beta}")
        settings = list(self.settings())
        folder = self.folder()
        if self.resume:
            require_begun(folder, settings)
        refuse_no_folder(folder, "toy runs")
        refuse_others(folder)
        rows = [self.one(each, folder / each.name if len(settings) > 1 else folder) for each in settings]
        answer = rows[0] if len(rows) == 1 else summarise(rows, self.seed)
        swept = [name for name in ("T", "eta") if len(getattr(self, name)) > 1]
        if swept:
            answer["figure"] = str(self.draw(rows, swept[0], folder / f"{swept[0]}.png"))
        write_text(folder / "toy.json", json.dumps(answer, indent=2) + "\n")
        show(answer)
        return answer

    def settings(self) -> Iterator[Setting]:
        """Yield every run asked for; T and eta are not swept together."""
        if len(self.T) > 1 and len(self.eta) > 1:
            raise ValueError("sweep --T or --eta, one at a time: one figure shows one of them")
        seeds = range(self.seed, self.seed + self.seeds)
        found = [Setting(*each) for each in product(self.T or (None,), self.eta or (None,), seeds)]
        if twice := [name for name, count in Counter(each.name for each in found).items() if count > 1]:
            raise ValueError(f"--T and --eta take each value once; two of the runs would be {twice[0]}")
        yield from found

    def folder(self) -> Path:
        """Return the folder of the run or runs, a new one unless --out says."""
        if self.out:
            return Path(self.out)
        if self.resume:
            raise ValueError("--resume needs --out, the folder of the run to continue with")
        stem = f"toy-{self.dataset}-{self.agent}-s{self.seed}"
        taken = (Path("runs") / (stem if not count else f"{stem}-{count + 1}") for count in range(10_000))
        return next(path for path in taken if not path.exists())

    def one(self, setting: Setting, folder: Path) -> dict[str, Any]:
        """Do one run in its folder and measure its policy."""
        from trajrl.core.distributed import Team
        from trajrl.training import loop

        begun = self.resume and (folder / "config.json").exists()
        if begun:
            refuse_other(setting, folder)
        command = Offline(
            data=(f"bandit:{self.dataset}",), agent=self.agent, steps=self.steps, preset="standard",
            out=str(folder), resume_or_start=self.resume, set=self.chosen(setting, begun), seed=setting.seed,
        )  # fmt: skip
        run = command.opened(Team())
        with stop_politely(run):
            loop.offline(run)
        return self.examine(run)

    def chosen(self, setting: Setting, begun: bool = False) -> tuple[str, ...]:
        """Return the settings of a run: the laboratory's until it has begun, then those asked for."""
        own = {field.name for field in fields(find(AGENTS, self.agent, "agent").Config)}
        laboratory = {name: value for name, value in LABORATORY.items() if name in own}
        lab = {} if begun else dict(laboratory)
        asked = {"diffusion_steps": setting.T, "eta": setting.eta}
        for name, value in asked.items():
            if value is not None and name not in own:
                raise ValueError(f"agent '{self.agent}' has no field {name} to set")
        lab |= {name: value for name, value in asked.items() if value is not None}
        quarter = max(1, self.steps // 4)
        pace = {
            "log_every": max(1, self.steps // 40), "eval_every": quarter, "eval_episodes": 200,
            "eval_envs": 50, "checkpoint_every": quarter,
        }  # fmt: skip
        agent = [f"agent.{name}={value}" for name, value in lab.items()]
        words = (*(f"{name}={value}" for name, value in pace.items()), *agent, *self.set)
        return words if begun or setting.T is None else (*words, *self.at_most(setting.T, laboratory))

    def at_most(self, levels: int, laboratory: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the setting that keeps the agent's own number of solver steps within so many levels."""
        from trajrl.nets.solvers import BY_LEVEL
        from trajrl.training.resolve_config import resolve_config

        if any(part.startswith("agent.solver") for part in self.set):
            return ()
        chosen = {"data": f"bandit:{self.dataset}", "agent": self.agent, "preset": "standard"}
        own = resolve_config(
            chosen, [f"agent.{name}={value}" for name, value in laboratory.items()]
        ).agent_options
        if own.get("solver") not in BY_LEVEL or own["solver_steps"] <= levels:
            return ()
        say(
            f"T {levels}: {own['solver']} takes {levels} steps, one for each level, not {own['solver_steps']}"
        )
        return (f"agent.solver_steps={levels}",)

    def examine(self, run: Run) -> dict[str, Any]:
        """Measure and draw the policy of a finished run."""
        from trajrl.report.bandit.figure import draw_run
        from trajrl.report.bandit.measures import goal, measure
        from trajrl.report.bandit.policy import critic_values, sample, sample_ms

        options = run.config.agent_options
        beta = options.get("eta", 0.0) if self.beta is None else self.beta
        x = sample(run.agent, self.dataset, self.samples, run.config.seed)
        found = measure(self.dataset, x, goal(self.dataset, beta, self.samples))
        q = critic_values(run.agent, self.dataset)
        over = "" if q is None else " over its critic"
        title = f"{self.agent}: {min(self.samples, 2000)} samples{over}"
        figure = draw_run(self.dataset, x, q, title, run.folder / "toy.png")
        summary = read_object(run.folder / "summary.json")
        rate = summary["updates_per_second"]  # 0 where nothing was ever timed
        return {
            **found, "figure": str(figure), "run": str(run.folder), "dataset": self.dataset,
            "agent": self.agent, "T": options.get("diffusion_steps"), "eta": options.get("eta"),
            "seed": run.config.seed, "steps": run.step, "seconds": summary["seconds"],
            "update_ms": 1000 / rate if rate else None, "sample_ms": sample_ms(run.agent),
        }  # fmt: skip

    def draw(self, rows: Sequence[Mapping[str, Any]], field: str, path: Path) -> Path:
        """Draw the sweep over T or eta."""
        from trajrl.report.bandit.figure import draw_sweep

        return draw_sweep(field, rows, f"{self.agent} on {self.dataset}, {self.steps} steps", path)


def require_begun(folder: Path, settings: Sequence[Setting]) -> None:
    """Refuse to resume a folder that holds none of the runs asked for."""
    from trajrl.training.run_dir.folder import require_run

    places = [folder / each.name for each in settings] if len(settings) > 1 else [folder]
    if not any((place / "config.json").exists() for place in places):
        require_run(folder)


def refuse_others(folder: Path) -> None:
    """Refuse to write over files that no toy run left in the folder."""
    if not ((folder / "config.json").exists() or any(folder.glob("*/config.json"))):
        for name in ("toy.json", "T.png", "eta.png"):
            if (folder / name).exists():
                raise FileExistsError(f"{folder / name} exists and is of no run; give another --out")


def refuse_other(setting: Setting, folder: Path) -> None:
    """Refuse to continue under another T or eta: the weights would be measured as what they are not."""
    from trajrl.training.config import RunConfig

    saved = RunConfig.load(folder / "config.json").agent_options
    for name, value in (("diffusion_steps", setting.T), ("eta", setting.eta)):
        if value is not None and name in saved and saved[name] != value:
            raise ValueError(f"{folder} has {name} {saved[name]:g}; got {value:g}: give another --out")


def summarise(rows: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Return the means over runs, 95 % intervals of them, and every run."""
    import numpy as np

    from trajrl.training.run_dir.evaluations import bootstrap_mean

    found: dict[str, Any] = {key: rows[0][key] for key in ("dataset", "agent", "expected_energy", "beta")}
    columns = {name: np.array([row[name] for row in rows]) for name in AVERAGED}
    found |= {name: float(values.mean()) for name, values in columns.items()}
    found["intervals"] = {name: bootstrap_mean(values, seed) for name, values in columns.items()}
    found["mode_masses"] = np.mean([row["mode_masses"] for row in rows], 0).tolist()
    found["expected_masses"] = rows[0]["expected_masses"]
    return {**found, "figure": rows[0]["figure"], "runs": [dict(row) for row in rows]}


def show(answer: Mapping[str, Any]) -> None:
    """Say what was found."""
    say()
    say(f"{answer['agent']} on {answer['dataset']}, against p_data exp({answer['beta']:g} e)")
    say(f"  mean energy           {answer['mean_energy']:.4f}   closed form {answer['expected_energy']:.4f}")
    say("  mode masses           " + " ".join(f"{mass:.3f}" for mass in answer["mode_masses"]))
    say("  closed form           " + " ".join(f"{mass:.3f}" for mass in answer["expected_masses"]))
    say(f"  total variation       {answer['total_variation']:.4f}")
    say(f"  off every mode        {answer['off_mode']:.2%}")
    say(f"  sliced W2, MMD        {answer['sliced_w2']:.4f}, {answer['mmd']:.4f}")
    say(f"wrote {answer['figure']}")
