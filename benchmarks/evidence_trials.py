"""The runs of every table of the evidence, as data: a cell is what is varied, a trial a cell with a seed.

time       how many updates a score takes: two agents with their standard settings
parts      trajectory_ql with one ingredient changed at a time
samplers   which sampler helps a policy that clones, and one that learns values
history    what history is worth where velocities are hidden
returns    what the length of the returns is worth
baseline   a Gaussian policy on the same data
sparse     offline, then online, on a task with a sparse reward
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CLONE = ("agent.lr=1e-3", "agent.decay=update", "eval_every=5000", "eval_episodes=10")
OFTEN = ("eval_every=2500", "eval_episodes=10", "last_eval_episodes=10")
SHORT = ("eval_every=2000", "eval_episodes=10", "last_eval_episodes=20")
PARTS: dict[str, tuple[str, ...]] = {  # one ingredient changed at a time
    "standard": (),
    "history 1": ("agent.history=1",),
    "history 8": ("agent.history=8",),
    "returns of 1": ("agent.horizon=1",),
    "returns of 100": ("agent.horizon=100",),
    "no critic norm": ("agent.critic_norm=none",),
    "values of the policy": ("agent.expectile=0",),
    "a Q term of 0.3": ("agent.eta=0.3",),
    "one candidate": ("agent.candidates=1",),
    "10 candidates, temperature 0.5": ("agent.candidates=10", "agent.temperature=0.5"),
    "ensemble of 5": ("agent.critics=5",),
    "learning rates of 3e-4": ("agent.actor_lr=3e-4", "agent.critic_lr=3e-4"),
    "no decay": ("agent.decay=none",),
    "raw observations": ("agent.normalize_obs=false",),
    "raw rewards": ("reward=no",),
    "width 256": ("agent.width=256",),
}
CLONED = ("uniform", "episode", "top", "weighted", "cluster", "quality", "mixture", "priority")
VALUED = ("uniform", "cluster", "weighted", "priority", "cluster*priority")
HISTORIES, RETURNS = (1, 2, 4, 8, 16), (1, 3, 5, 10, 25, 100)


@dataclass(frozen=True)
class Trial:
    """One run: the table and cell that it belongs to, its data, its seed and its command."""

    table: str
    cell: str
    data: str  # a name of evidence_data.MIXTURES
    seed: int
    words: tuple[str, ...]  # options of `offline`
    settings: tuple[str, ...]  # what --set takes

    @property
    def name(self) -> str:
        """Return the folder's name."""
        cell = "".join(letter if letter.isalnum() else "-" for letter in self.cell)
        return f"{self.table}-{self.data}-{cell}-s{self.seed}"

    def command(self, data: str, out: str) -> list[str]:
        """Return the words after `run.py`."""
        words = ["offline", "--data", data, *self.words, "--seed", str(self.seed), "--out", out]
        return [*words, "--set", *self.settings]


def offline(agent: str, preset: str, steps: int, sampler: str = "uniform") -> tuple[str, ...]:
    """Return the options of a run."""
    return ("--agent", agent, "--preset", preset, "--steps", str(steps), "--sampler", sampler)


def trials() -> Iterator[Trial]:
    """Yield every run, cells before seeds: what is there early covers every cell."""
    for seed in range(3):
        if seed < 2:
            for agent in ("trajectory_ql", "diffusion_ql"):
                words = offline(agent, "standard", 30_000)
                yield Trial("time", agent, "hopper-medium-expert", seed, words, OFTEN)
        if seed < 1:
            for cell, change in PARTS.items():
                words = offline("trajectory_ql", "standard", 10_000)
                yield Trial("parts", cell, "hopper-medium-expert", seed, words, (*OFTEN, *change))
        yield from of_samplers(seed)
        for data in ("hopper-expert25", "walker2d-expert25"):
            for length in HISTORIES:
                words = offline("trajectory_ql", "demo", 10_000)
                change = ("env.observe=positions", f"agent.history={length}")
                yield Trial("history", f"H={length}", data, seed, words, (*SHORT, *change))
        for length in RETURNS:
            words = offline("trajectory_ql", "demo", 10_000)
            change = (f"agent.horizon={length}", "agent.expectile=0")
            yield Trial("returns", f"n={length}", "hopper-expert25", seed, words, (*SHORT, *change))
        for data in ("hopper-medium-expert", "hopper-expert25", "walker2d-expert25"):
            words = offline("td3_bc", "standard", 30_000)
            yield Trial("baseline", "td3_bc", data, seed, words, OFTEN)


def of_samplers(seed: int) -> Iterator[Trial]:
    """Yield the runs of both tables of samplers."""
    for data in ("hopper-expert10", "hopper-expert5"):
        for name in CLONED:
            words = offline("bc_diffusion", "standard", 30_000, name)
            yield Trial("samplers", f"bc_diffusion, {name}", data, seed, words, CLONE)
        for name in VALUED:
            words = offline("trajectory_ql", "demo", 10_000, name)
            yield Trial("samplers", f"trajectory_ql, {name}", data, seed, words, SHORT)
