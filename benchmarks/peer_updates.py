"""Time an update of every algorithm that d3rlpy has too, and of two beside JAX: in turns, in the same minute.

    python benchmarks/peer_updates.py --beside PEERS/bin/python

PEERS is an environment with `pip install torch d3rlpy jax numpy`; jax_updates.py is the side of JAX.  Equal
batches and networks on both sides, a draw from 100,000 transitions included.  One thread each; medians of
processor time, over rounds in turns.  `--kernels compiled` and `--matmul fast` are our side's, as in a run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch starts its threads

import numpy as np

EPISODES, LENGTH, OBS, ACT = 100, 1_000, 17, 6
Update = Callable[[], object]
ALGORITHMS: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {  # batch, our config, d3rlpy's
    "td3_bc": (256, {}, {}),
    "sac": (256, {}, {}),
    "iql": (256, {}, {}),
    "awac": (256, {"depth": 2}, {}),
    "cql": (256, {"depth": 2, "lagrange": True}, {}),
    "cal_ql": (256, {"depth": 2, "lagrange": True}, {}),
    "rebrac": (1024, {}, {"depth": 3, "critic_norm": True}),
    "diffusion_ql": (256, {}, {}),
    "acfql": (256, {}, {}),
}
IN_JAX = ("diffusion_ql", "acfql")  # d3rlpy has neither
PEERS = {
    "td3_bc": "TD3PlusBC", "sac": "SAC", "iql": "IQL", "awac": "AWAC", "cql": "CQL", "cal_ql": "CalQL",
    "rebrac": "ReBRAC",
}  # fmt: skip


def columns() -> dict[str, np.ndarray]:
    """Return the transitions as flat columns."""
    rng, count = np.random.Generator(np.random.Philox(0)), EPISODES * LENGTH
    return {
        "observations": rng.standard_normal((count, OBS), np.float32),
        "actions": rng.uniform(-1, 1, (count, ACT)).astype(np.float32),
        "rewards": rng.standard_normal((count, 1), np.float32),
    }


def of_d3rlpy(name: str, kept: dict[str, np.ndarray]) -> Update:
    """Return d3rlpy's update of an algorithm, on a batch that it draws."""
    import d3rlpy

    batch, _, networks = ALGORITHMS[name]
    ends = (np.arange(EPISODES * LENGTH) % LENGTH == LENGTH - 1).astype(np.float32)
    dataset = d3rlpy.dataset.MDPDataset(**kept, terminals=np.zeros_like(ends), timeouts=ends)
    hidden = [256] * networks.get("depth", 2)
    factory = d3rlpy.models.VectorEncoderFactory
    algorithm = getattr(d3rlpy.algos, f"{PEERS[name]}Config")(
        batch_size=batch,
        actor_encoder_factory=factory(hidden),
        critic_encoder_factory=factory(hidden, use_layer_norm=networks.get("critic_norm", False)),
    ).create(device="cpu:0")
    algorithm.build_with_dataset(dataset)
    return lambda: algorithm.update(dataset.sample_transition_batch(batch))


def of_jax(name: str, kept: dict[str, np.ndarray]) -> Update:
    """Return the jitted update of an algorithm; it draws its batch within the program."""
    from jax_updates import of_jax as jitted

    return jitted(name, kept, ALGORITHMS[name][0])


def compute(kernels: str, matmul: str) -> None:
    """Compute as a run does that asks for these."""
    from trajrl.core.products import set_products
    from trajrl.nets.activation import use_kernel

    set_products(matmul, "cpu")
    use_kernel(kernels == "compiled")


def of_trajrl(name: str, kept: dict[str, np.ndarray]) -> Update:
    """Return our update of an algorithm, on a batch that the uniform sampler draws."""
    from trajrl import Episode, TrajectoryStore, gather, make_agent, make_sampler
    from trajrl.core.cpu import set_threads
    from trajrl.core.rng import stream, torch_stream

    set_threads(1)
    batch, config, _ = ALGORITHMS[name]
    obs, actions, rewards = (part.reshape(EPISODES, LENGTH, -1) for part in kept.values())
    store = TrajectoryStore.of(
        Episode(np.concatenate((o, o[-1:])), a, r[:, 0], False)
        for o, a, r in zip(obs, actions, rewards, strict=True)
    )
    sampler, rng, noise = make_sampler("uniform", store), stream(0, "peers"), torch_stream(0, "peers")
    agent = make_agent(name, OBS, ACT, **config)
    return lambda: agent.update(gather(store, sampler.sample(rng, batch), agent.spec), noise)


def milliseconds(call: Update, seconds: float) -> float:
    """Return the median processor time of a call, over some seconds of them."""
    took, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or len(took) < 5:
        began = time.process_time()
        call()
        took.append(time.process_time() - began)
    return 1e3 * statistics.median(took)


def serve(library: str, seconds: float) -> None:
    """Time the algorithms whose names come on stdin, each built once; answer one number a line."""
    kept, built = columns(), {}
    for name in map(str.strip, sys.stdin):
        if name not in built:
            built[name] = {"trajrl": of_trajrl, "d3rlpy": of_d3rlpy, "jax": of_jax}[library](name, kept)
            milliseconds(built[name], 0.5)  # not counted: what a first call alone costs
        sys.__stdout__.write(f"time {milliseconds(built[name], seconds)}\n")  # a library may write there too
        sys.__stdout__.flush()


def started(python: str, library: str, seconds: float, *more: str) -> subprocess.Popen[str]:
    """Start the process of one library."""
    words = [python, __file__, "--serve", library, "--seconds", str(seconds), *more]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def asked(side: subprocess.Popen[str], name: str) -> float:
    """Return what a side measures of an algorithm."""
    assert side.stdin is not None
    assert side.stdout is not None
    side.stdin.write(f"{name}\n")
    side.stdin.flush()
    for line in side.stdout:
        if line.startswith("time "):
            return float(line.removeprefix("time "))
    raise SystemExit(f"error: the process that times {name} ended early; its own message is above")


def main() -> None:
    """Print a line for each algorithm, or one JSON object."""
    parser = argparse.ArgumentParser(description="Updates of d3rlpy and JAX beside trajrl's, in turns.")
    parser.add_argument("--beside", metavar="PYTHON", help="the python of an environment with d3rlpy")
    parser.add_argument("--only", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--serve", choices=("trajrl", "d3rlpy", "jax"), help=argparse.SUPPRESS)
    parser.add_argument("--kernels", choices=("torch", "compiled"), default="torch", help="of trajrl")
    parser.add_argument("--matmul", choices=("exact", "fast"), default="exact", help="of trajrl")
    options = parser.parse_args()
    if options.serve == "trajrl":
        compute(options.kernels, options.matmul)
    if options.serve:
        return serve(options.serve, options.seconds)
    if not options.beside:
        parser.error("--beside names the python of an environment where d3rlpy is installed")
    libraries = {name: "jax" if name in IN_JAX else "d3rlpy" for name in options.only}
    how = ("--kernels", options.kernels, "--matmul", options.matmul)
    sides = {"trajrl": started(sys.executable, "trajrl", options.seconds, *how)}
    sides |= {one: started(options.beside, one, options.seconds) for one in set(libraries.values())}
    found = {}
    for name, library in libraries.items():
        both = sides["trajrl"], sides[library]
        rounds = [[asked(side, name) for side in both] for _ in range(options.rounds)]
        ours, theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
        found[name] = {"trajrl": ours, library: theirs, "ratio": ours / theirs}
        line = f"trajrl {ours:7.2f} ms   {library} {theirs:7.2f} ms   ratio {ours / theirs:.2f}"
        print(f"{name:<12} {line}", flush=True)
    for side in sides.values():
        side.communicate()
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
