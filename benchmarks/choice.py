"""Is the choice among candidates right?  The Q of actions beside what came of them in the simulator.

    python benchmarks/choice.py run RUN [RUN ...]       # measure the policies that MuJoCo runs keep
    python benchmarks/choice.py run RUN --step 20000    # one of them
    python benchmarks/choice.py scores RUN [RUN ...]    # their scores under several ways to choose
    python benchmarks/choice.py table                   # what is there, as markdown

At S states that the policy meets, C candidates of its clone are executed, and the clone alone goes on from
there, R times each with the same noise for every candidate:

    G_cr = sum_{t<K} gamma^t r_t,   A_c = G_c - mean_c G_c,   a_c = q_c - mean_c q_c,   q_c = min_j Q_j

    real     sqrt(mean A^2 - noise), the spread of what the candidates are worth
    claimed  sqrt(mean a^2)
    rho      cov(a, A) / (claimed real), the correlation within a state, noise taken off
    gain     mean over states of A at the candidate of the greatest q
    doubt    sqrt(mean_c var_j A_jc) / claimed, the critics' disagreement about the order
    level    mean q - mean G over states, in units of mean |G|;  across: correlation of the means over states

Every policy is a line of docs/evidence/choice/worth.csv as soon as it is measured, and every score a line of
scores.csv beside it: 20 episodes, the same ones for every way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from trajrl.agents.base.candidates import padded_history, valued_candidates
from trajrl.agents.base.proposer import proposer
from trajrl.agents.base.protocol import History
from trajrl.core.rng import torch_stream
from trajrl.report.runs.rundata import open_store
from trajrl.rollout.evaluate import evaluate
from trajrl.rollout.history_queue import HistoryQueue, Queues
from trajrl.training.run_dir.evaluations import bootstrap_mean
from trajrl.training.run_dir.load_run import LoadedRun, load_run

if TYPE_CHECKING:
    from trajrl.agents.trajectory_ql import TrajectoryQL

EVIDENCE = Path(__file__).parents[1] / "docs" / "evidence" / "choice"
ROWS, SCORES = EVIDENCE / "worth.csv", EVIDENCE / "scores.csv"
WAYS: dict[str, dict[str, Any]] = {
    "one": {"candidates": 1},
    "softmax, .1": {"candidates": 32, "temperature": 0.1, "pick": "draw"},
    "softmax, .3": {"candidates": 32, "temperature": 0.3, "pick": "draw"},
    "8, softmax, .5": {"candidates": 8, "temperature": 0.5, "pick": "draw"},
    "densest, 1": {"candidates": 32, "temperature": 1.0, "pick": "densest"},
    "densest, 2": {"candidates": 32, "temperature": 2.0, "pick": "densest"},
    "densest, 4": {"candidates": 32, "temperature": 4.0, "pick": "densest"},
    "typical": {"candidates": 32, "temperature": 1e9, "pick": "densest"},
}
EPISODES = 20
WALKERS, KEPT_STEPS = 10, 400  # episodes that states are taken from, and their greatest length


class Moment(NamedTuple):
    """A state of the simulator, and what the policy remembers there."""

    qpos: np.ndarray
    qvel: np.ndarray
    history: History  # (1, H, ...)


class Sizes(NamedTuple):
    """How much is measured."""

    states: int
    candidates: int
    repeats: int
    length: int  # K


class Measured(NamedTuple):
    """What was found at S states."""

    q: np.ndarray  # (S, E, C)
    returns: np.ndarray  # (S, C, R)


def main() -> None:
    """Measure, or show the table."""
    options = asked()
    if options.command == "table":
        print(table(pd.read_csv(ROWS)), "", ways(pd.read_csv(SCORES)), sep="\n")
        return
    sizes = Sizes(options.states, options.candidates, options.repeats, options.length)
    for folder in options.runs:
        run = load_run(folder)
        for step in options.step or [int(run.step("last"))]:
            row = {"data": Path(run.config.data).stem, "sampler": drawn(run), "seed": run.config.seed}
            row |= {"step": step}
            if options.command == "scores":
                for way in options.ways:
                    add(row | {"way": way} | score(run, step, way), SCORES)
            else:
                add(row | {"by": options.by} | facts(measure(run, step, sizes, options.by)), ROWS)


def drawn(run: LoadedRun) -> str:
    """Return a run's sampler with its options."""
    options = " ".join(f"{name}={value}" for name, value in run.config.sampler_options.items())
    return f"{run.config.sampler} {options}".strip()


def asked() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "scores", "table"))
    parser.add_argument("runs", nargs="*", help="run folders of trajectory_ql in a MuJoCo environment")
    parser.add_argument("--step", type=int, nargs="*", default=[], help="kept policies; left out: the last")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS)
    parser.add_argument("--by", choices=("choice", "clone"), default="choice", help="whose states")
    parser.add_argument("--states", type=int, default=60)
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--length", type=int, default=250, help="K, steps that a return is made of")
    return parser.parse_args()


def score(run: LoadedRun, step: int, way: str) -> dict[str, float]:
    """Return the score of a policy that chooses in one of WAYS: mean over episodes, error, and lengths.

    Where returns have no references it is the success in percent.
    """
    agent = run.agent(str(step), **WAYS[way])
    rows = evaluate(agent, run.suite(str(step)), seed=100, step=0, episodes=EPISODES, envs=EPISODES)
    scores = np.array([100.0 * row["success"] if row["score"] is None else row["score"] for row in rows])
    error = scores.std(ddof=1) / len(scores) ** 0.5
    return {"score": float(scores.mean()), "error": float(error), "low": float(scores.min()),
            "length": float(np.mean([row["length"] for row in rows]))}  # fmt: skip


def measure(run: LoadedRun, step: int, sizes: Sizes, by: str) -> Measured:
    """Return the Q of candidates and the returns that followed them."""
    which = str(step)
    clone: Any = run.agent(which, candidates=1)
    walker: Any = clone if by == "clone" else run.agent(which)
    suite, store = run.suite(which), open_store(run.folder)
    envs = [suite.make_here(number) for number in range(max(WALKERS, sizes.candidates * sizes.repeats))]
    q, returns = [], []
    for number, moment in enumerate(met(walker, envs[:WALKERS], suite.action_box, sizes.states)):
        chunks, values = proposed(clone, moment.history, sizes.candidates, number)
        rewards = followed(clone, envs, suite.action_box, moment, chunks, sizes, number)
        shaped = store.shape_reward(torch.as_tensor(rewards)).numpy() * ~np.isnan(rewards)
        discounts = clone.config.gamma ** np.arange(sizes.length)
        q.append(values)
        returns.append(np.nan_to_num(shaped) @ discounts)
    return Measured(np.stack(q), np.stack(returns))


def met(agent: TrajectoryQL, envs: Sequence[Any], box: Any, states: int) -> list[Moment]:
    """Return states that a policy meets, drawn evenly from all of its steps."""
    queues, rng = Queues(agent, len(envs)), [torch_stream(0, "choice/walk", i) for i in range(len(envs))]
    seen = {row: env.reset(seed=row)[0] for row, env in enumerate(envs)}
    kept: list[Moment] = []
    for _ in range(KEPT_STEPS):
        rows = list(seen)
        asked = queues.waiting(rows)  # a chunk begins here
        actions = queues.act([seen[row] for row in rows], [rng[row] for row in rows], rows)
        for row, action in zip(rows, actions):
            data = envs[row].unwrapped.data
            if row in asked:
                kept.append(Moment(data.qpos.copy(), data.qvel.copy(), queues.show([row])))
            seen[row], _, terminated, truncated, _ = envs[row].step(box.from_unit(action))
            if terminated or truncated:
                del seen[row]
    order = np.random.default_rng(0).permutation(len(kept))[:states]
    return [kept[place] for place in order]


def proposed(
    agent: TrajectoryQL, history: History, count: int, number: int
) -> tuple[torch.Tensor, np.ndarray]:
    """Return candidates (C, N, act) at a history (1, H, ...), and their Q by every critic (E, C)."""
    rng, filled = [torch_stream(0, "choice/draw", number)], padded_history(history)
    with torch.no_grad():
        (policy, context), view = proposer(agent, filled), agent.context(agent.target.encoder, filled)
        chunks, q = valued_candidates(
            policy, agent.seen_value, context[:1], view[:1], count, agent.width, rng
        )
    return chunks[0].unflatten(1, (-1, agent.action_dim)), q[:, 0].numpy()


def followed(
    agent: TrajectoryQL,
    envs: Sequence[Any],
    box: Any,
    moment: Moment,
    chunks: torch.Tensor,
    sizes: Sizes,
    number: int,
) -> np.ndarray:
    """Return rewards (C, R, K): each candidate from the same state, then the agent; NaN after an end."""
    count, repeats = len(chunks), sizes.repeats
    queues = Queues(agent, count * repeats)
    rng = [torch_stream(0, "choice/follow", number, r) for _ in range(count) for r in range(repeats)]
    rewards = np.full((count * repeats, sizes.length), np.nan, np.float32)
    for row in range(count * repeats):
        envs[row].reset(seed=row)
        envs[row].unwrapped.set_state(moment.qpos, moment.qvel)
    remember(queues, moment.history)
    alive = list(range(count * repeats))
    queues.put(alive, chunks.clamp(-1, 1).repeat_interleave(repeats, 0))
    for t in range(sizes.length):
        for row in list(alive):
            obs, rewards[row, t], terminated, *_ = envs[row].step(box.from_unit(queues.take(row)))
            queues.see(row, obs)
            if terminated:
                alive.remove(row)
        queues.ask(queues.waiting(alive), dict(enumerate(rng)), explore=False)
    return rewards.reshape(count, repeats, sizes.length)


def remember(queues: Queues, history: History) -> None:
    """Give every row of empty queues the same history (1, H, ...)."""
    _, length, size = history.obs.shape
    queues.history = HistoryQueue(queues.num_envs, length, size, queues.actor.action_dim)
    for own, given in zip(
        (queues.history.obs, queues.history.prev_actions, queues.history.mask),
        (history.obs, history.prev_actions, history.mask),
    ):
        own[:] = given.numpy()


def facts(found: Measured) -> dict[str, float]:
    """Return the figures of the module's docstring, and the 95 % interval of the gain over states."""
    q, worth = found.q.min(1), found.returns.mean(2)  # (S, C)
    a, truth = q - q.mean(1, keepdims=True), worth - worth.mean(1, keepdims=True)
    count, repeats = found.returns.shape[1:]
    # Noise of a mean over repeats whose common part (the state's and the noise stream's) is taken off.
    paired = found.returns - found.returns.mean(1, keepdims=True)
    noise = paired.var(2, ddof=1).mean() / repeats
    spread = max(float((truth**2).mean() - noise), 0.0)
    claimed, real = float(np.sqrt((a**2).mean())), float(np.sqrt(spread))
    gain = truth[np.arange(len(q)), q.argmax(1)]  # (S,)
    apart = found.q - found.q.mean(2, keepdims=True)
    low, high = bootstrap_mean(gain, seed=0)
    return {
        "states": len(q), "candidates": count, "repeats": repeats,
        "real": real, "claimed": claimed,
        "rho": float((a * truth).mean()) / (claimed * real) if real else np.nan,
        "gain": float(gain.mean()), "low": low, "high": high,
        "doubt": float(np.sqrt(apart.var(1, ddof=1).mean())) / claimed,
        "level": float((q.mean() - worth.mean()) / np.abs(worth).mean()),
        "across": float(np.corrcoef(q.mean(1), worth.mean(1))[0, 1]) if np.ptp(worth.mean(1)) else np.nan,
        "worth": float(worth.mean()),
    }  # fmt: skip


def add(row: dict[str, Any], place: Path) -> None:
    """Append a line to the rows and show it."""
    pd.DataFrame([row]).round(4).to_csv(place, mode="a", header=not place.exists(), index=False)
    print(row, flush=True)


def ways(rows: pd.DataFrame) -> str:
    """Return the scores as markdown, a line for each policy."""
    shown = rows.assign(cell=[f"{mean:.1f} +- {error:.1f}" for mean, error in zip(rows.score, rows.error)])
    found = shown.pivot_table(
        index=["data", "sampler", "step", "seed"], columns="way", values="cell", aggfunc="last"
    )
    names = [way for way in WAYS if way in found]
    lines = ["| data | sampler | step | seed | " + " | ".join(names) + " |", "|" + "---|" * (4 + len(names))]
    for key, row in found[names].iterrows():
        lines.append("| " + " | ".join((*map(str, key), *row.fillna(""))) + " |")
    return "\n".join(lines)


def table(rows: pd.DataFrame) -> str:
    """Return the rows as markdown."""
    names = [
        "data",
        "sampler",
        "step",
        "by",
        "states",
        "real",
        "claimed",
        "rho",
        "gain",
        "doubt",
        "level",
        "across",
    ]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows.to_dict("records"):
        shown = {
            name: f"{row[name]:.2f}" if isinstance(row[name], float) else str(row[name]) for name in names
        }
        shown["gain"] += f" ({row['low']:.2f} to {row['high']:.2f})"
        lines.append("| " + " | ".join(shown.values()) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
