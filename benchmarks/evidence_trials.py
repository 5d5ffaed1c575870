"""The runs of every table of the evidence, as data: a cell is what is varied, a trial a cell with a seed.

demo       every agent that learns offline on the embedded store, with its settings of `--preset demo`
time       how many updates a score takes: two agents with their standard settings, beside a Gaussian policy
parts      trajectory_ql with one ingredient changed at a time, rates decaying over the run
draws      which sampler helps a policy that clones, and one that learns values, in short runs
roles      one draw, or two with the policy's by return: from the start, or uniform for the first half
clones     what the network of a clone gives, the noise or the action, drawn from the better of two groups
history    what history is worth where velocities are hidden
returns    what the length of the returns is worth
sparse     offline, then online, on a task with a sparse reward
original   two agents in the environment that the published scores are of, where it is installed
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from evidence_data import EMBEDDED, ROBOTS

from trajrl.nets.solvers import PREDICTS

CLONE = ("agent.lr=1e-3", "agent.decay=update", "eval_every=5000", "eval_episodes=10")
OFTEN = ("eval_every=2500", "eval_episodes=10", "last_eval_episodes=10")
SHORT = ("eval_every=2000", "eval_episodes=10", "last_eval_episodes=20")
FROM = ("agent.decay=update",)  # what parts are changed of, beside the standard settings
PARTS: dict[str, tuple[str, ...]] = {  # one ingredient changed at a time
    "nothing": (),
    "history 1": ("agent.history=1",),
    "history 8": ("agent.history=8",),
    "returns of 1": ("agent.horizon=1",),
    "returns of 100": ("agent.horizon=100",),
    "no critic norm": ("agent.critic_norm=none",),
    "values of the policy": ("agent.expectile=0",),
    "a Q term of 0.3": ("agent.eta=0.3",),
    "one candidate": ("agent.candidates=1",),
    "10 candidates, temperature 0.5": ("agent.candidates=10", "agent.temperature=0.5"),
    "two critics": ("agent.critics=2",),
    "learning rates of 3e-4": ("agent.actor_lr=3e-4", "agent.critic_lr=3e-4"),
    "no decay": ("agent.decay=none",),
    "raw observations": ("agent.normalize_obs=false",),
    "raw rewards": ("reward=no",),
    "width 256": ("agent.width=256",),
}
CLONED = {  # the others ask for values, or for two phases
    **{name: (name,) for name in ("uniform", "episode", "top", "weighted", "cluster")},
    "priority by return": ("priority", "--metric", "return"),
}
VALUED = ("uniform", "cluster", "weighted", "priority", "cluster*priority")
BY_ROLE = ("policy=weighted values=uniform",)
BETTER = ("sampler.narrow_at=0.5", "sampler.policy.low_start=0", "sampler.policy.low_end=0")
ROLES = {  # what draws, and what is set of it
    "uniform": (("uniform",), ()),
    "weighted": (("weighted",), ()),
    "two draws, late": (BY_ROLE, ("sampler.narrow_at=0.5",)),
    "two draws": (BY_ROLE, ()),
    "better group, late": (("policy=quality values=uniform",), BETTER),
}
UPPER = ("sampler.low_start=0", "sampler.low_end=0")  # the better of two groups alone
ENDS = ("eval_every=10000", "eval_episodes=10", "last_eval_episodes=50")
HISTORIES, RETURNS = (1, 2, 4, 8, 16), (1, 3, 5, 10, 25, 100)
HIDDEN = {"hopper-expert25": 6_000, "walker2d-expert25": 20_000}  # a walker takes longer to learn at all
ONLINE = {  # what draws offline and then the online half of every batch
    "uniform, uniform": ("uniform", ("--sampler", "uniform")),
    "cluster, td_error_rank": ("cluster", ("--sampler", "priority", "--metric", "td_error_rank")),
}
DEMO = (  # those that learn online alone are left out
    "trajectory_ql", "bc_diffusion", "iql", "td3_bc", "rebrac", "awac", "cql", "cal_ql", "ifql", "edp",
    "diffusion_ql", "qg", "eg_ood", "stratified_ql", "acfql", "dqc",
)  # fmt: skip
# of `standard` when these rows were made
CHOICE = ("agent.candidates=32", "agent.temperature=0.1", "agent.pick=draw", "agent.predicts=noise")
# of `demo`, likewise
FORMER = (
    "agent.predicts=noise", "agent.candidates=10", "agent.temperature=0.5", "agent.pick=draw",
    "agent.critics=2", "agent.decay=update", "first_eval=500", "checkpoint_every=500", "log_every=250",
)  # fmt: skip
PULLED = ("sampler.tilt=0.8", "sampler.tilt_from=5000", "sampler.tilt_ramp=500", "sampler.describe=shape")
CUBE = ("agent.alpha=5", "agent.actor_lr=1e-3", "agent.critic_lr=1e-3")


@dataclass(frozen=True)
class Trial:
    """One run: the table and cell that it belongs to, its data, its seed and its command."""

    table: str
    cell: str
    data: str  # a name of evidence_data.MIXTURES
    seed: int
    words: tuple[str, ...]  # options of `offline`
    settings: tuple[str, ...]  # what --set takes
    online: tuple[str, ...] = ()  # options of the `online` that follows; none: it does not
    online_settings: tuple[str, ...] = ()
    together: int = 1  # runs that train in one program with it, itself among them

    @property
    def name(self) -> str:
        """Return the folder's name."""
        cell = "".join(letter if letter.isalnum() else "-" for letter in self.cell)
        return f"{self.table}-{self.data}-{cell}-s{self.seed}"

    def command(self, data: str, out: str) -> list[str]:
        """Return the words after `run.py`."""
        words = ["offline", "--data", data, *self.words, "--seed", str(self.seed), "--out", out]
        return [*words, "--set", *self.settings]

    def then(self, folder: str, out: str) -> list[str]:
        """Return the words of the online phase that continues from a folder; none where there is none."""
        words = ["online", "--from", folder, *self.online, "--seed", str(self.seed), "--out", out]
        return [*words, "--set", *self.online_settings] if self.online else []


def offline(agent: str, preset: str, steps: int, *law: str) -> tuple[str, ...]:
    """Return the options of a run; `law` is a sampler, and what is said of it."""
    sampler = law or ("uniform",)
    words = ("--agent", agent, "--preset", preset, "--steps", str(steps), "--sampler", *sampler)
    return (*words, "--holdout", "0")  # all of the data, as where others publish


def trials() -> Iterator[Trial]:
    """Yield every run, cells before seeds: what is there early covers every cell."""
    for seed in range(3):
        if seed < 2:
            for agent in ("trajectory_ql", "diffusion_ql"):
                words = offline(agent, "standard", 30_000)
                chosen = (*OFTEN, *CHOICE) if agent == "trajectory_ql" else OFTEN
                yield Trial("time", agent, "hopper-medium-expert", seed, words, chosen)
        if seed < 1:
            for cell, change in PARTS.items():
                words = offline("trajectory_ql", "standard", 10_000)
                yield Trial(
                    "parts", cell, "hopper-medium-expert", seed, words,
                    said_last(*OFTEN, *FROM, *CHOICE, *change),
                )  # fmt: skip
        yield from of_draws(seed)
        for data, updates in HIDDEN.items():
            for length in HISTORIES:
                words = offline("trajectory_ql", "standard", updates)
                hidden = ("env.observe=positions", f"agent.history={length}", "agent.candidates=1")
                change = said_last(*FORMER, *hidden)
                yield Trial("history", f"H={length}", data, seed, words, (*SHORT, *change))
        for length in RETURNS:
            words = offline("trajectory_ql", "standard", 10_000)
            change = (*SHORT, *FORMER, f"agent.horizon={length}")
            yield Trial("returns", f"n={length}", "hopper-expert25", seed, words, change)
        for data in ("hopper-medium-expert", "hopper-expert25", "walker2d-expert25"):
            words = offline("td3_bc", "standard", 30_000)
            yield Trial("time", "td3_bc", data, seed, words, OFTEN)
        yield from of_demo(seed)
        yield from of_rooms(seed)
        for agent in ("trajectory_ql", "td3_bc") if seed < 2 else ():
            words = offline(agent, "standard", 30_000)
            settings = (*OFTEN, *FROM, *CHOICE) if agent == "trajectory_ql" else OFTEN
            yield Trial("original", agent, "d4rl-hopper-medium-expert", seed, words, settings)
    for seed in range(3):
        yield from of_cube(seed)
    for seed in (1, 2, 3):
        yield from of_clones(seed)
        yield from of_roles(seed)


def said_last(*settings: str) -> tuple[str, ...]:
    """Return settings without those that a later one replaces."""
    return tuple({setting.partition("=")[0]: setting for setting in settings}.values())


def of_draws(seed: int) -> Iterator[Trial]:
    """Yield the runs of both tables of draws."""
    for data in ("hopper-expert10", "hopper-expert5"):
        for name, law in CLONED.items():
            words = offline("bc_diffusion", "standard", 30_000, *law)
            yield Trial("draws", f"bc_diffusion, {name}", data, seed, words, CLONE)
        for name in VALUED:
            words = offline("trajectory_ql", "standard", 10_000, name)
            settings = (*SHORT, *FORMER, *(PULLED if name == "cluster" else ()))
            yield Trial("draws", f"trajectory_ql, {name}", data, seed, words, settings)


def of_roles(seed: int) -> Iterator[Trial]:
    """Yield the runs that tell one draw from two, on data that needs a choice and data that does not."""
    for kind, robot in product(("expert5", "expert10"), ROBOTS):
        for cell, (law, settings) in ROLES.items():
            words = offline("trajectory_ql", "standard", 10_000, *law)
            yield Trial("roles", cell, f"{robot}-{kind}", seed, words, (*SHORT, *FORMER, *settings))


def of_clones(seed: int) -> Iterator[Trial]:
    """Yield the clones of two networks on three robots' better halves."""
    for robot, given in product(ROBOTS, PREDICTS):
        words = offline("bc_diffusion", "standard", 20_000, "quality")
        settings = (*UPPER, *ENDS, f"agent.predicts={given}")
        yield Trial("clones", given, f"{robot}-medium-expert", seed, words, settings)


def of_demo(seed: int) -> Iterator[Trial]:
    """Yield a run of each agent as its demo is set, of the length and sampler that the preset has."""
    for agent in DEMO:
        words = ("--agent", agent, "--preset", "demo", "--sampler", "uniform")
        yield Trial("demo", agent, EMBEDDED, seed, words, ("last_eval_episodes=20",))


def of_rooms(seed: int) -> Iterator[Trial]:
    """Yield the runs with a sparse reward where both phases are short."""
    settings = ("eval_every=0", "first_eval=0", "last_eval_episodes=50")
    often = ("envs=5", "eval_every=1000", "eval_episodes=50", "last_eval_episodes=50")
    for cell, (sampler, law) in ONLINE.items():
        words, online = offline("acfql", "demo", 4_000, sampler), ("--env-steps", "6000", *law)
        yield Trial("sparse", cell, "toy-rooms", seed, words, settings, online, often)


def of_cube(seed: int) -> Iterator[Trial]:
    """Yield the runs on OGBench's cube; the paper preset does the same with a million of each."""
    often = ("eval_every=5000", "eval_episodes=20", "last_eval_episodes=50")
    handed = (*often, "learning_starts=1000", "warmup_steps=5000")
    for cell, (sampler, law) in ONLINE.items():
        words = (
            *offline("acfql", "demo", 30_000, sampler),
            "--env",
            "ogbench:cube-single-play-singletask-v0",
        )
        online = ("--env-steps", "30000", *law)
        yield Trial("sparse", cell, "cube-single-oracle", seed, words, (*often, *CUBE), online, handed)
