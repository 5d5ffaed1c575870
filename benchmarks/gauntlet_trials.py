"""The runs of the gauntlet, as data: every agent on every task with every seed.

An agent makes 100,000 updates, and half as many where one takes several times as long; every tenth part of
them it is evaluated over ten episodes.  Kernels are timed at a run's start, and the faster are taken.

Settings: `trajectory_ql` has its preset `standard` everywhere, its sampler too; the others have `paper`, and
draw every step alike.  Of those that were published by data set it is the row of the nearest:
medium-expert-v2 (for expert25, expert10 and expert5 too), medium-v2 and medium-replay-v2 of the same robot,
with its reward transform and batch size.  For the point maze it is antmaze-medium-play-v0, whose transforms
take rewards of 0 and 1: OGBench's -1 and 0 are raised by 1 first.
"""

from __future__ import annotations

from collections.abc import Iterator

from evidence_data import MAZE, ROBOTS, TOY
from evidence_trials import Trial

from trajrl.training.chosen_preset import agent_preset

TABLE = "gauntlet"
UPDATES, EVALUATIONS = 100_000, 10
SEEDS = (1, 2, 3)
FLAGSHIP = "trajectory_ql"
AGENTS = (FLAGSHIP, "iql", "td3_bc", "rebrac", "ifql", "bc_diffusion", "diffusion_ql", "cql")
LONG_UPDATES = (FLAGSHIP, "bc_diffusion", "diffusion_ql", "cql")  # tens of milliseconds each
SETTINGS = (
    "eval_episodes=10", "last_eval_episodes=10", "checkpoint_every=1000", "video_every=0", "kernels=auto",
)  # fmt: skip
ENVS = {  # of data whose own environment is not the task
    "cube-single-play": "ogbench:cube-single-play-singletask-v0",
    "cube-single-oracle": "ogbench:cube-single-play-singletask-v0",
    "cube-double-oracle": "ogbench:cube-double-play-singletask-v0",
}
NEAREST = {
    **dict.fromkeys(("medium-expert", "expert25", "expert10", "expert5"), "medium-expert-v2"),
    "medium": "medium-v2", "replay": "medium-replay-v2",
}  # fmt: skip
NEAREST_MAZE = "antmaze-medium-play-v0"
GROUPS: tuple[tuple[str, ...], ...] = (  # in the order in which they are done
    *(tuple(f"{robot}-{kind}" for robot in ROBOTS) for kind in ("medium-expert", "expert25")),
    (TOY, MAZE, "cube-single-play"),
    *(tuple(f"{robot}-{kind}" for robot in ROBOTS) for kind in ("medium", "replay")),
    ("cube-double-oracle", "cube-single-oracle"),
)
TASKS = tuple(task for group in GROUPS for task in group)


def trials(
    tasks: tuple[str, ...] = (), agents: tuple[str, ...] = (), seeds: tuple[int, ...] = ()
) -> Iterator[Trial]:
    """Yield the runs wanted, all of a seed first: what is there early covers tasks and agents."""
    for seed in seeds or SEEDS:
        for group in GROUPS:
            for agent in agents or AGENTS:
                yield from (trial(task, agent, seed) for task in group if task in (tasks or TASKS))


def trial(task: str, agent: str, seed: int, *sampler: str) -> Trial:
    """Return one run; `sampler` is what draws, where it is not the agent's own."""
    preset, steps = "standard" if agent == FLAGSHIP else "paper", updates_of(agent)
    words = ["--agent", agent, "--preset", preset, "--steps", str(steps)]
    sampler = sampler or (() if agent == FLAGSHIP else ("uniform",))
    words += ["--sampler", *sampler] if sampler else []
    words += ["--holdout", "0"]  # all of the data, as where others publish
    words += ["--env", ENVS[task]] if task in ENVS else []
    own = published(agent, task) if preset == "paper" else ()
    every = f"eval_every={steps // EVALUATIONS}"
    return Trial(TABLE, agent, task, seed, tuple(words), (every, *SETTINGS, *own))


def updates_of(agent: str) -> int:
    """Return how many updates an agent makes."""
    return UPDATES // 2 if agent in LONG_UPDATES else UPDATES


def published(agent: str, task: str) -> tuple[str, ...]:
    """Return what an agent's paper preset sets for the published data set that is nearest to a task's."""
    robot, _, kind = task.partition("-")
    if task != MAZE and robot not in ROBOTS:
        return ()
    nearest = NEAREST_MAZE if task == MAZE else f"{robot}-{NEAREST[kind]}"
    run, own = agent_preset("paper", agent, nearest)
    found = {name: value for name, value in run.items() if name in ("batch_size", "reward")}
    if task == MAZE and "reward" in found:
        found["env.reward_shift"] = 1.0
    found |= {f"agent.{name}": value for name, value in own.items()}
    return tuple(f"{name}={str(value).lower()}" for name, value in found.items())
