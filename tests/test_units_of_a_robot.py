"""A robot of two joints with a box of +-2, its data in its own units: it receives what was recorded."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from foreign import hdf5
from sample_envs import Robot
from small_runs import ONLINE_RUN, settings, small_online

from trajrl.cli.main import dispatch
from trajrl.store.store import TrajectoryStore
from trajrl.training import loop
from trajrl.training.run_dir.load_run import load_run

ENV = "sample_envs:robot"
RECORDED = np.array([0.5, -1.2], np.float32)  # the first lies inside [-1, 1], the second does not


def episode(rng, recorded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return observations (9, 2) and actions (8, 2) as the robot would record them."""
    actions = (recorded + rng.uniform(-0.02, 0.02, (8, 2))).astype(np.float32)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(0.1 * actions, 0)]).astype(np.float32), actions


def write(path: Path, layout: str, recorded: np.ndarray = RECORDED) -> Path:
    """Write twelve episodes of the robot in a layout."""
    episodes = [episode(np.random.default_rng(number), recorded) for number in range(12)]
    if layout == "npz":
        path.mkdir()
        for number, (obs, actions) in enumerate(episodes):
            np.savez(path / f"episode_{number}.npz", observations=obs, actions=actions, rewards=np.zeros(8))
        return path
    if layout == "robomimic":
        arrays = {}
        for number, (obs, actions) in enumerate(episodes):
            demo = f"data/demo_{number}"
            arrays |= {f"{demo}/obs/joints": obs[:-1], f"{demo}/next_obs/joints": obs[1:]}
            arrays |= {f"{demo}/{name}": np.zeros(8) for name in ("rewards", "dones")}
            arrays[f"{demo}/actions"] = actions
        return hdf5(path, arrays)
    last = np.arange(8) == 7
    columns = {
        "observations": np.concatenate([obs[:-1] for obs, _ in episodes]),
        "next_observations": np.concatenate([obs[1:] for obs, _ in episodes]),
        "actions": np.concatenate([actions for _, actions in episodes]), "rewards": np.zeros(96, np.float32),
        "terminals": np.zeros(96, bool), "timeouts": np.tile(last, 12),
    }  # fmt: skip
    return hdf5(path, columns)


def act_module():
    """Import examples/act.py."""
    place = Path(__file__).parents[1] / "examples" / "act.py"
    spec = importlib.util.spec_from_file_location("act", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer(capsys, *words: object) -> dict:
    """Run a command with --json and return its answer."""
    capsys.readouterr()
    assert dispatch([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def clone(data: Path, out: Path, chunk: int, *words: str) -> int:
    """Train a small cloning policy."""
    steps = 150 if chunk == 1 else 300
    asked = ["offline", "--data", data, "--agent", "bc_diffusion", "--sampler", "uniform", "--steps", steps]
    own = [
        f"agent.chunk={chunk}",
        "agent.history=1",
        "agent.width=64",
        "agent.ema_decay=0.9",
        "agent.lr=0.003",
    ]
    few = [*settings("bc_diffusion", checkpoint_every=steps, eval_every=steps), *own]
    asked += ["--env", ENV, "--batch-size", 64, "--out", out]
    return dispatch([*map(str, asked), *words, "--set", *few])


@pytest.mark.parametrize("chunk", [1, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "layout", ["npz", *(pytest.param(name, marks=pytest.mark.slow) for name in ("d4rl", "robomimic"))]
)
def test_the_robot_receives_what_was_recorded(tmp_path, capsys, layout, chunk):
    source = write(tmp_path / "robot", layout)
    store, run = tmp_path / "robot.h5", tmp_path / "run"
    keys = ["--obs-keys", "joints"] if layout == "robomimic" else []
    assert dispatch(["store", "import", str(source), "--env", ENV, "--out", str(store), *keys]) == 0
    assert "actions: in the box [-2, 2], from --env sample_envs:robot" in capsys.readouterr().out
    assert clone(store, run, chunk) == 0

    Robot.received.clear()
    answer(capsys, "evaluate", run, "--episodes", 2)
    check(Robot.received[-16:])

    policy = load_run(run).policy()
    check([policy.act(np.zeros(2, np.float32)) for _ in range(8)])

    quick = (layout, chunk) == ("npz", 1)
    for format, name in [("onnx", "p.onnx"), ("torch", "p.pt2")][: 1 if quick else 2]:
        answer(capsys, "export", run, "--format", format, "--out", tmp_path / name, "--windows", 4)
        check([act_module().Policy(str(tmp_path / name)).act(np.zeros(2, np.float32)) for _ in range(8)])

    collected(capsys, run, tmp_path / "again.h5")
    if quick:
        went_on(run, tmp_path / "online")


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["npz", "d4rl", "robomimic"])
def test_the_robot_receives_from_a_converged_clone_what_was_recorded_within_a_twentieth(
    tmp_path, capsys, layout
):
    """Under beta = 0 IQL clones by a Gaussian, whose mean is exact after some hundreds of updates."""
    recorded = np.array([1.2, -0.5], np.float32)
    source, store, run = write(tmp_path / "robot", layout, recorded), tmp_path / "robot.h5", tmp_path / "run"
    keys = ["--obs-keys", "joints"] if layout == "robomimic" else []
    assert dispatch(["store", "import", str(source), "--env", ENV, "--out", str(store), *keys]) == 0
    words = ["offline", "--data", store, "--env", ENV, "--agent", "iql", "--sampler", "uniform", "--out", run]
    few = settings("iql", **{"agent.history": 1, "agent.beta": 0.0, "agent.actor_lr": 0.003}, eval_every=0)
    assert dispatch([*map(str, words), "--steps", "1000", "--batch-size", "64", "--set", *few]) == 0

    Robot.received.clear()
    answer(capsys, "evaluate", run, "--episodes", 2)
    received = [np.mean(Robot.received[-16:], 0)]
    policy = load_run(run).policy()
    received.append(np.mean([policy.act(np.zeros(2, np.float32)) for _ in range(8)], 0))
    answer(capsys, "export", run, "--format", "onnx", "--out", tmp_path / "p.onnx", "--windows", 4)
    exported = act_module().Policy(str(tmp_path / "p.onnx"))
    received.append(np.mean([exported.act(np.zeros(2, np.float32)) for _ in range(8)], 0))
    np.testing.assert_allclose(received, [recorded] * 3, atol=0.05)


def check(actions) -> None:
    """Expect the recorded action, within what a small network misses."""
    np.testing.assert_allclose(np.mean(actions, 0), RECORDED, atol=0.25)


def collected(capsys, run: Path, out: Path) -> None:
    """Collect with the policy: the store holds, bit for bit, what the robot received."""
    Robot.received.clear()
    answer(capsys, "collect", "--env", ENV, "--policy", run, "--steps", 8, "--envs", 1, "--out", out)
    store = TrajectoryStore.open(out)
    stored = store.actions.slice(0, len(store.actions))
    np.testing.assert_allclose(stored, Robot.received[-len(stored) :], rtol=1e-6)
    check(stored)
    found = answer(capsys, "store", "info", out)
    assert (found["action_box"], found["action_box_from"]) == ([[-2.0] * 2, [2.0] * 2], f"collect in {ENV}")


def went_on(run: Path, folder: Path) -> None:
    """Go on online: the episodes are kept in the units of the store."""
    Robot.received.clear()
    few = {**ONLINE_RUN, "env_steps": 16, "learn_after": 16}
    going = small_online(folder, run, sampler="uniform", **few)
    loop.online(going)
    first = going.store.episode(12)
    apart = np.abs(first.actions[:, None] - np.array(Robot.received)).max(-1)  # (8, received)
    assert apart.min(1).max() < 1e-6  # an evaluation came first
    assert np.abs(first.actions[:, 1]).max() > 1


def test_random_actions_are_kept_in_the_robots_units(tmp_path, capsys):
    Robot.received.clear()
    words = "collect", "--env", ENV, "--policy", "random", "--steps", 24, "--envs", 1
    answer(capsys, *words, "--out", tmp_path / "r.h5")
    store = TrajectoryStore.open(tmp_path / "r.h5")
    stored = store.actions.slice(0, len(store.actions))
    np.testing.assert_array_equal(stored, Robot.received[: len(stored)])
    assert np.abs(stored).max() > 1
