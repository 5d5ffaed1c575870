"""Run folders written by the writers of a real run, in milliseconds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from trajrl.core.rng import stream
from trajrl.training.config import RunConfig
from trajrl.training.run_dir import checkpoint
from trajrl.training.run_dir.evaluations import Evaluation, Evaluations
from trajrl.training.run_dir.logger import Logger

VERSIONS = {"python": "3.11", "trajrl": "0.1", "data_fingerprint": "abc"}


def write_run(
    folder: Path,
    seed: int = 0,
    *,
    sampler: str = "uniform",
    agent: str = "diffusion_ql",
    gain: float = 0.0,
    finished: bool = True,
    env: str = "Hopper-v5",
    evaluations: int = 12,
    phase: str = "offline",
    solved: float | None = None,
    scaled: bool = True,
    **changes,
) -> Path:
    """Write a run whose score climbs by about 5 + gain per evaluation.

    Args:
        solved: share of the four episodes of every evaluation that succeed; None: nobody says
        scaled: a score belongs to the environment
    """
    (folder / "checkpoints").mkdir(parents=True)
    config = RunConfig(agent=agent, sampler=sampler, seed=seed, env=env, steps=100 * evaluations, phase=phase)
    config = replace(config, agent_options={"eta": 1.0}, **changes)
    config.save(folder / "config.json")
    (folder / "command.txt").write_text(f"python run.py offline --seed {seed}\n")
    (folder / "versions.json").write_text(json.dumps(VERSIONS))
    rng = stream(seed, "synthetic")
    logger, scores = (
        Logger(folder, tensorboard=False),
        Evaluations(folder, seed, 0, 900.0, 25.0 if scaled else None, None if solved is None else 0.1),
    )
    for number in range(1, evaluations + 1):
        for half in (1, 2):
            loss = torch.tensor(float(rng.random()))
            logger.add({"actor/bc_loss": loss, "critic/td_abs": torch.tensor(1.0 / number)})
            scores.add({"actor/bc_loss": loss})
            logger.flush(phase, 100 * number - 50 * (2 - half), sampler_stats(number))
        values, loss = number * (5 + gain) + rng.normal(0, 2, 4), scores.take_bc_loss()
        scores.append(evaluation(100 * number, values, loss, solved, scaled))
    if evaluations:
        checkpoint.keep_policy(
            folder / "checkpoints", 100 * evaluations, {"updates": 1}, {"environment": env}
        )
    if finished:
        printed = {**scores.summary(), "seconds": 10.0, "updates_per_second": 100.0, "steps": config.steps}
        (folder / "summary.json").write_text(json.dumps(printed))
    return folder


def evaluation(
    step: int, values: np.ndarray, bc_loss: float | None, solved: float | None, scaled: bool
) -> Evaluation:
    rows = [
        {
            "step": step, "episode": e, "seed": e, "return": 30 * v, "score": v if scaled else None,
            "success": None if solved is None else e < solved * len(values), "length": 9,
        }
        for e, v in enumerate(map(float, values))
    ]  # fmt: skip
    return Evaluation(step, rows, bc_loss, "gymnasium" if scaled else "none")


def sampler_stats(number: int) -> dict[str, float]:
    return {"sampler/entropy": 1.0 / number}


def break_runs(folder: Path) -> Path:
    """Write a good run, and beside it every kind of folder that is not quite one."""
    write_run(folder / "good")
    write_run(folder / "going-on", finished=False)
    write_run(folder / "fresh", finished=False, evaluations=0)
    (folder / "empty").mkdir()
    (folder / "file.txt").write_text("x")
    (folder / "foreign").mkdir()
    (folder / "foreign/config.json").write_text('{"model": 1}')
    (folder / "damaged").mkdir()
    (folder / "damaged/config.json").write_text('{"agent": ')
    (folder / "list").mkdir()
    (folder / "list/config.json").write_text("[1]")
    write_run(folder / "bad-tables")
    (folder / "bad-tables/evals.csv").write_bytes(b"\x00\xff\x00\nnothing\n")
    (folder / "bad-tables/metrics.csv").write_text("a,b\n1,2\n")
    (folder / "bad-tables/summary.json").write_text("{")
    (folder / "bad-tables/episodes.parquet").write_bytes(b"PAR1 no")
    return folder
