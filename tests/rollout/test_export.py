"""Export: the file acts as the live policy does, whatever the agent, and where there is no torch."""

from __future__ import annotations

import importlib.util
import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from flow_windows import generators, random_windows
from small_runs import trained, write_store
from test_contract import OTHER_CHOICES, tiny

from trajrl.agents import AGENTS
from trajrl.agents.base.protocol import History
from trajrl.cli.main import dispatch
from trajrl.rollout import export
from trajrl.rollout.captured_noise import Given, Noted
from trajrl.training.run_dir.load_run import load_run

ROOT = Path(__file__).parents[2]
QUICK = ("acfql", "cql", "diffusion_ql", "iql", "rlpd", "trajectory_ql")  # one of each kind of policy
CLONE = {"predicts": "action"}
CHOICES = [
    pytest.param(
        name, choice, marks=() if (name in QUICK and not choice) or choice == CLONE else pytest.mark.slow
    )
    for name in sorted(AGENTS)
    for choice in ({}, *OTHER_CHOICES.get(name, ()))
]
NO_TORCH = """
import runpy, sys
for name in ("torch", "trajrl", "h5py", "pandas", "gymnasium"):
    sys.modules[name] = None
sys.argv = ["examples/act.py", {path!r}]
runpy.run_path("examples/act.py", run_name="__main__")
"""


def windows(agent, count: int = 8) -> list[export.Window]:
    """Let an agent act on random histories, some of them short."""
    batch = random_windows(agent.spec, count)
    parts = batch.obs, batch.prev_actions, batch.history_mask
    return [
        export.act_noted(agent, History(*(part[i : i + 1] for part in parts)), 0, i) for i in range(count)
    ]


def act_module():
    """Import examples/act.py."""
    spec = importlib.util.spec_from_file_location("act", ROOT / "examples" / "act.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a"
    trained(folder, store, steps=10)
    return folder


@pytest.mark.parametrize(("name", "choice"), CHOICES, ids=lambda value: str(value))
def test_every_agent_is_exported_as_it_acts(name, choice, tmp_path):
    agent = tiny(name, **choice)
    agent.updates = 1_000_000  # past every warm-up: all that acting may do is done
    if name == "eg_ood":
        agent.threshold.kappa = torch.tensor(1.0)
    found = windows(agent)
    export.write_policy(agent, found, {}, tmp_path / "p.pt2", "torch")
    assert export.largest_difference(export.read(tmp_path / "p.pt2", "torch"), found) < 1e-5
    moved = [replace(window, actions=window.actions + 1) for window in found]
    assert export.largest_difference(export.read(tmp_path / "p.pt2", "torch"), moved) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["acfql", "diffusion_ql", "edp", "rlpd"])
def test_onnx_gives_what_the_live_policy_gives(name, tmp_path):
    agent = tiny(name)
    found = windows(agent)
    export.write_policy(agent, found, {}, tmp_path / "p.onnx", "onnx")
    assert export.largest_difference(export.read(tmp_path / "p.onnx", "onnx"), found) < 1e-4  # as the command


def test_the_command_writes_checks_and_times(run, tmp_path, capsys):
    out = tmp_path / "p.onnx"
    assert dispatch(["export", str(run), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 < found["max_difference"] < 1e-4
    assert found["windows"] == 64
    assert found["milliseconds"] > 0
    assert found["live_milliseconds"] > 0
    assert out.stat().st_size == found["bytes"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.onnx", "p.onnx.card.md"]
    assert dispatch(["export", str(run), "--out", str(out)]) == 1  # it exists
    assert "exists; choose another name" in capsys.readouterr().err


def test_the_file_acts_where_there_is_no_torch(run, tmp_path):
    out = tmp_path / "p.onnx"
    assert dispatch(["export", str(run), "--out", str(out)]) == 0
    ended = subprocess.run(
        [sys.executable, "-c", NO_TORCH.format(path=str(out))], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "distance from the policy that was trained, on 4 windows" in ended.stdout
    assert "one step takes" in ended.stdout


@pytest.mark.parametrize("agent", ["rlpd", pytest.param("td3_bc", marks=pytest.mark.slow)])
def test_history_and_chunk_of_the_example_are_those_of_the_live_policy(agent, store, tmp_path):
    trained(tmp_path / "a", store, agent=agent, steps=10)  # neither draws: the actions must be equal
    assert dispatch(["export", str(tmp_path / "a"), "--out", str(tmp_path / "p.onnx")]) == 0
    live, own = load_run(tmp_path / "a").policy(), act_module().Policy(str(tmp_path / "p.onnx"))
    assert own.facts["history"] * own.facts["chunk"] > 1
    rng = np.random.Generator(np.random.Philox(0))
    for _ in range(2):
        live.reset()
        own.reset()
        for _ in range(12):
            obs = rng.normal(size=own.facts["obs_dim"]).astype(np.float32)
            np.testing.assert_allclose(own.act(obs), live.act(obs), atol=1e-5)


@pytest.mark.parametrize(
    ("format", "name"), [pytest.param("torch", "p.pt2", marks=pytest.mark.slow), ("onnx", "p.onnx")]
)
@pytest.mark.parametrize(
    "agent", ["rlpd", pytest.param("td3_bc", marks=pytest.mark.slow)]
)  # neither draws: the actions must be equal
def test_the_file_takes_and_gives_actions_in_their_own_units(tmp_path, format, name, agent):
    from trajrl.store.episode import Episode
    from trajrl.store.file.writer import StoreWriter

    with StoreWriter(tmp_path / "x.h5", {"action_low": [-4.0], "action_high": [8.0]}) as writer:
        for e in range(4):
            writer.append(Episode(np.full((10, 2), e / 4), np.linspace(-4, 8, 9)[:, None], np.ones(9), True))
    trained(tmp_path / "a", tmp_path / "x.h5", agent=agent, sampler="uniform", steps=10)
    out = tmp_path / name
    assert dispatch(["export", str(tmp_path / "a"), "--format", format, "--out", str(out)]) == 0
    live, own = load_run(tmp_path / "a").policy(), act_module().Policy(str(out))
    assert act_module().check(own) < 1e-5
    for seen in np.random.Generator(np.random.Philox(0)).normal(size=(8, 2)).astype(np.float32):
        expected = live.act(seen)
        np.testing.assert_allclose(own.act(seen), expected, atol=1e-5)
        last = own.obs, own.prev_actions, own.mask
        if own.facts["chunk"] == 1:  # the graph alone, as another program would run it
            np.testing.assert_allclose(export.read(out, format)(last)[0, 0], expected, atol=1e-5)


@pytest.mark.slow
def test_a_file_of_before_it_had_a_box_is_brought_to_it(run, tmp_path):
    assert dispatch(["export", str(run), "--out", str(tmp_path / "p.onnx")]) == 0
    own = act_module().Policy(str(tmp_path / "p.onnx"))
    own.facts = {**own.facts, "action_low": [-4.0], "action_high": [8.0]}
    assert own.command(np.array([-1.0, 0.0, 1.0])).tolist() == [-4.0, 2.0, 8.0]


def test_a_file_that_acts_otherwise_is_not_kept(run, tmp_path, capsys, monkeypatch):
    plain = export.read

    def otherwise(*given):
        exported = plain(*given)
        return lambda inputs: exported(inputs) + 0.01

    monkeypatch.setattr(export, "read", otherwise)
    assert dispatch(["export", str(run), "--format", "torch", "--out", str(tmp_path / "p.pt2")]) == 1
    assert "differs from the live one by 0.01" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["torch", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_disk_that_is_full_is_one_line_and_leaves_no_file(run, tmp_path, capsys, format):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        assert dispatch(["export", str(run), "--format", format, "--out", str(tmp_path / "p")]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"{tmp_path / 'p'} could not be written: File too large" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_data_is_gone_asks_for_data(run, store, tmp_path, capsys):
    import shutil

    copy = shutil.copytree(run, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "data": str(tmp_path / "gone.h5")}))
    assert dispatch(["export", str(copy), "--format", "torch"]) == 1
    assert "give --data" in capsys.readouterr().err
    assert dispatch(["export", str(copy), "--format", "torch", "--data", str(store)]) == 0
    assert (copy / "policy.pt2").exists()


def test_a_missing_extra_is_named_before_anything_is_done(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert dispatch(["export", str(run), "--out", str(tmp_path / "p.onnx")]) == 1
    assert "needs onnxruntime, of the extra 'export': pip install -e '.[export]'" in capsys.readouterr().err


def test_a_law_that_has_no_input_is_refused_by_name():
    with Given({}), pytest.raises(ValueError, match=r"acting draws by torch\.randint"):
        torch.randint(3, (2,), generator=generators(1)[0])
    with Noted(), pytest.raises(ValueError, match="draw the standard one and scale it"):
        torch.empty(3).normal_(2.0, 0.5, generator=generators(1)[0])


def test_given_numbers_replace_what_was_noted():
    def draw(rng):
        return torch.cat(
            (torch.randn(2, 3, generator=rng).flatten(), torch.empty(4).exponential_(generator=rng))
        )

    with Noted() as noted:
        first = draw(generators(1)[0])
    numbers = {kind: noted.numbers(kind) for kind in ("normal", "exponential")}
    with Given(numbers):
        assert torch.equal(draw(generators(2)[1]), first)


def test_a_foreign_file_is_one_line(tmp_path):
    (tmp_path / "p.onnx").write_bytes(b"no model")
    ended = subprocess.run(
        [sys.executable, "examples/act.py", str(tmp_path / "p.onnx")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.startswith(f"error: {tmp_path / 'p.onnx'}: ")


def test_a_nan_in_any_window_is_no_agreement():
    found = windows(tiny("td3_bc"))
    given = iter(window.actions.numpy() * (np.nan if i == 1 else 1) for i, window in enumerate(found))
    assert np.isnan(export.largest_difference(lambda inputs: next(given), found))
    shown = [{"obs": [[0.0]], "actions": [[value]]} for value in (0.0, float("nan"))]
    policy = SimpleNamespace(
        facts={"check": shown}, shapes=["obs"], images=[], half=np.ones(1), run=lambda _: np.zeros(1)
    )
    assert act_module().check(policy) == np.inf


@pytest.mark.parametrize("box", [[[np.nan], [1.0]], [[1.0], [-1.0]], [[-1.0], [np.inf]]])
def test_a_box_of_a_stranger_that_is_none_is_refused(box, monkeypatch):
    module = act_module()
    facts = {"check": [{"obs": [[0.0]], "actions": [[0.0]]}], "box": box}
    monkeypatch.setattr(module, "read_onnx", lambda path: (None, facts))
    with pytest.raises(ValueError, match="its box is none"):
        module.Policy("p.onnx")


def seeing(monkeypatch, state: int, steps: list):
    """Return the example's policy of a file whose policy sees an image, and notes what a step is given."""
    given = {"obs": np.zeros((1, 2, state)), "prev_actions": np.zeros((1, 2, 1)), "mask": np.zeros((1, 2))}
    window = {**given, "front": np.zeros((1, 2, 1, 2, 3), int), "actions": np.zeros((1, 1, 1))}
    facts = {"history": 2, "obs_dim": state, "action_dim": 1, "chunk": 1, "environment": "", "agent": "iql"}
    facts |= {"step": 1, "check": [{name: part.tolist() for name, part in window.items()}]}

    def step(inputs):
        steps.append({name: part.copy() for name, part in inputs.items()})
        return np.zeros((1, 1, 1))

    module = act_module()
    monkeypatch.setattr(module, "read_onnx", lambda path: (step, facts))
    return module, module.Policy("p.onnx")


@pytest.mark.parametrize("state", [0, 2])
def test_the_example_sees_images_as_bytes_oldest_first(monkeypatch, state):
    module, policy = seeing(monkeypatch, state, steps := [])
    for number in (7, 8, 9):
        vector = {"state": np.full(state, number)} if state else {}
        policy.act({**vector, "front": np.full((1, 2, 3), number, np.uint8)})
    assert [one["front"][0, :, 0, 0, 0].tolist() for one in steps] == [[0, 7], [7, 8], [8, 9]]
    assert steps[0]["front"].dtype == np.uint8
    assert steps[2]["obs"].shape == (1, 2, state)
    assert (steps[2]["obs"][0, 1] == 9).all()
    assert module.show(policy) == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros(2), r"holds \['state'\]; this policy sees \['front'\]"),
        ({"front": np.zeros((1, 2, 3))}, "'front' is float64"),
        ({"front": np.zeros((3, 1, 2), np.uint8)}, r"bytes of \(1, 2, 3\) are due"),
    ],
)
def test_the_example_refuses_what_its_policy_was_not_trained_on(monkeypatch, wrong, said):
    _, policy = seeing(monkeypatch, 0, [])
    with pytest.raises(ValueError, match=said):
        policy.act(wrong)


def test_what_a_stranger_wrote_into_a_file_commands_no_terminal():
    assert act_module().plain("a\x1b]0;x\x07 b\u202e") == "a?]0;x? b?"
