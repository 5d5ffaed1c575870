"""The runs of the gauntlet, as data: every agent on every task with every seed, 100,000 updates each.

Settings: `trajectory_ql` has its preset `standard` everywhere, the others have `paper`.  Of those that were
published by data set it is the row of the nearest: medium-expert-v2 (for expert25 too), medium-v2 and
medium-replay-v2 of the same robot, with its reward transform and batch size.
"""

from __future__ import annotations

from collections.abc import Iterator

from evidence_data import ROBOTS, TOY
from evidence_trials import Trial

from trajrl.training.resolve_config import agent_preset

TABLE = "gauntlet"
UPDATES, EVERY = 100_000, 10_000
SEEDS = (1, 2, 3)
FLAGSHIP = "trajectory_ql"
AGENTS = (FLAGSHIP, "iql", "td3_bc", "rebrac", "ifql", "bc_diffusion", "diffusion_ql", "cql")
SETTINGS = (
    f"eval_every={EVERY}", "eval_episodes=10", "last_eval_episodes=10", "checkpoint_every=5000",
    "video_every=0",
)  # fmt: skip
ENVS = {  # of data whose own environment is not the task
    "cube-single-oracle": "ogbench:cube-single-play-singletask-v0",
    "cube-double-oracle": "ogbench:cube-double-play-singletask-v0",
}
NEAREST = {
    "expert25": "medium-expert-v2", "medium": "medium-v2", "medium-expert": "medium-expert-v2",
    "replay": "medium-replay-v2",
}  # fmt: skip
GROUPS: tuple[tuple[str, ...], ...] = (  # in the order in which they are done
    *(tuple(f"{robot}-{kind}" for robot in ROBOTS) for kind in ("medium-expert", "expert25")),
    (TOY, "cube-single-oracle"),
    *(tuple(f"{robot}-{kind}" for robot in ROBOTS) for kind in ("medium", "replay")),
    ("cube-double-oracle",),
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


def trial(task: str, agent: str, seed: int) -> Trial:
    """Return one run."""
    preset = "standard" if agent == FLAGSHIP else "paper"
    words = ["--agent", agent, "--preset", preset, "--steps", str(UPDATES), "--sampler", "uniform"]
    words += ["--env", ENVS[task]] if task in ENVS else []
    own = published(agent, task) if preset == "paper" else ()
    return Trial(TABLE, agent, task, seed, tuple(words), (*SETTINGS, *own))


def published(agent: str, task: str) -> tuple[str, ...]:
    """Return what an agent's paper preset sets for the published data set that is nearest to a task's."""
    robot, _, kind = task.partition("-")
    if robot not in ROBOTS:
        return ()
    run, own = agent_preset("paper", agent, f"{robot}-{NEAREST[kind]}")
    found = {name: value for name, value in run.items() if name in ("reward", "batch_size")}
    found |= {f"agent.{name}": value for name, value in own.items()}
    return tuple(f"{name}={str(value).lower()}" for name, value in found.items())
