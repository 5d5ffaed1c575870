"""An error in a user's own sampler or agent names its type, file and line, and wrong masses fail at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_runs import settings, write_store

from trajrl.cli.main import dispatch
from trajrl.training.run_dir import folder

SAMPLER = """
from dataclasses import dataclass
import numpy as np
from trajrl.samplers.base.episode_law import EpisodeLaw

@dataclass(frozen=True)
class Config:
    def validate(self): pass

class Own(EpisodeLaw):
    config_type = Config
    def masses(self, ids):
        return {masses}
    def sample(self, rng, n):
        {first}
        return super().sample(rng, n)
"""
AGENT = """
from trajrl.agents.td3_bc import TD3BC, Config
class Own(TD3BC):
    def update(self, batch, rng):
        {first}
        return super().update(batch, rng)
"""


def error(folder: Path, capsys: pytest.CaptureFixture, name: str, code: str, *words: str) -> str:
    """Train with a user's module in the working folder, and return the line that the command ends with."""
    (folder / f"{name}.py").write_text(code)
    data = write_store(folder / "x.h5", 4)
    command = [
        "offline",
        "--data",
        str(data),
        "--steps",
        "6",
        "--batch-size",
        "4",
        "--out",
        str(folder / "a"),
    ]
    assert dispatch([*command, *words, "--set", *settings("td3_bc", eval_every=0)]) == 1
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("masses", "reason"),
    [
        ("np.ones((len(ids), 1))", "{} gave masses of shape (4, 1) for 4 episodes; give one each, (4,)"),
        ("np.ones(3)", "{} gave masses of shape (3,) for 4 episodes; give one each, (4,)"),
        ("np.where(ids == 2, -1.0, 1.0)",
         "{}: episode 2 has a sampling mass of -1.0; give finite ones, 0 or more"),
        ("np.zeros(len(ids))", "{}: none of 4 episodes has any sampling mass"),
        ("['a'] * 4", "{} gave masses that are no real numbers: could not convert string to float: 'a'"),
        ("np.ones(len(ids), complex)", "{} gave masses that are no real numbers: they are complex"),
    ],
)  # fmt: skip
def test_masses_that_are_none_fail_before_the_first_update(masses, reason, tmp_path, capsys):
    module = f"masses_{abs(hash(masses))}"
    code = SAMPLER.format(masses=masses, first="pass")
    assert error(tmp_path, capsys, module, code, "--sampler", f"{module}:Own", "--agent", "td3_bc") == (
        f"error: {reason.format(f'Own.masses ({module}.py, line 12)')}"
    )
    assert not (tmp_path / "a" / "metrics.csv").exists()


@pytest.mark.parametrize("fault", ["ValueError('no such row')", "IndexError('no such row')"])
def test_an_error_in_a_users_sampler_names_type_file_and_line(fault, tmp_path, capsys):
    kind = fault.partition("(")[0]
    code = SAMPLER.format(masses="np.ones(len(ids))", first=f"raise {fault}")
    line = error(tmp_path, capsys, f"s_{kind}", code, "--sampler", f"s_{kind}:Own", "--agent", "td3_bc")
    assert line == f"error: {kind} in s_{kind}.py, line 15: no such row"


def test_an_error_in_a_users_agent_names_type_file_and_line(tmp_path, capsys):
    code = AGENT.format(first="batch.obs @ batch.actions")
    line = error(tmp_path, capsys, "own_agent", code, "--agent", "own_agent:Own")
    assert line.startswith("error: RuntimeError in own_agent.py, line 5: ")


def test_probabilities_that_are_none_fail_at_the_start(tmp_path, capsys):
    code = SAMPLER.format(masses="np.ones(len(ids))", first="pass")
    code += "    def probabilities(self): return np.ones((len(self.store), 1))\n"
    line = error(tmp_path, capsys, "own_p", code, "--sampler", "own_p:Own", "--agent", "td3_bc")
    assert line == "error: own_p:Own.probabilities() has shape (4, 1); give one for each of 4 episodes"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("Anchors(e[:-1], t[:-1], w[:-1])", "gave episode of shape (3,), expected (4,)"),
        ("Anchors(e, t, w[:, None])", "gave weight of shape (4, 1), expected (4,)"),
        ("(e, t)", "gave tuple, expected Anchors(episode, step, weight)"),
        ("Anchors(e + 0.5, t, w)", "gave episode of float64, expected an array of whole numbers"),
        ("Anchors(e, t.tolist(), w)", "gave step of list, expected an array of whole numbers"),
        ("Anchors(e, t + 1000, w)", "step 1000 is outside episode 0 of length 10"),
        ("Anchors(e + 9, t, w)", "an anchor is in episode 9; the store has 4"),
    ],
)
def test_anchors_that_are_none_name_class_file_and_line(given, reason, tmp_path, capsys):
    module = f"drawn_{abs(hash(given))}"
    code = "from trajrl import Anchors\n" + SAMPLER.format(
        masses="np.ones(len(ids))",
        first=f"e, t, w = np.zeros(n, int), np.zeros(n, int), np.ones(n, np.float32); return {given}",
    )
    line = error(tmp_path, capsys, module, code, "--sampler", f"{module}:Own", "--agent", "td3_bc")
    assert line.replace(": ", " ", 2).endswith(f"Own.sample ({module}.py, line 15) {reason}")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("None", "gave NoneType, expected Update(metrics, td_error)"),
        ("Update({}, torch.zeros(5))", "gave td_error of shape (5,), expected (4,)"),
        ("Update({}, torch.zeros(4, 1))", "gave td_error of shape (4, 1), expected (4,)"),
        ("Update({'actor/loss': 1.0}, torch.zeros(4))",
         "gave the metric actor/loss as 1.0, expected a scalar tensor"),
    ],
)  # fmt: skip
def test_an_update_that_is_none_names_class_file_and_line(given, reason, tmp_path, capsys):
    module = f"update_{abs(hash(given))}"
    code = "import torch\nfrom trajrl.agents.base.protocol import Update" + AGENT.format(
        first=f"return {given}"
    )
    line = error(tmp_path, capsys, module, code, "--agent", f"{module}:Own")
    assert line == f"error: Own.update ({module}.py, line 5) {reason}"


def test_a_file_that_python_cannot_read_is_named(tmp_path, capsys):
    line = error(tmp_path, capsys, "unreadable", "\ndef x(:\n", "--agent", "unreadable:Own")
    assert line == "error: SyntaxError in unreadable.py, line 2: invalid syntax"


def let_go() -> None:
    """Release the folders that this process holds, as its end would."""
    while folder._locks:
        folder._locks.pop().close()


def test_a_sampler_of_ones_own_serves_a_role_and_its_run_resumes_without_its_name(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(SAMPLER.format(masses="np.ones(len(ids))", first="pass"))
    data, out = write_store(tmp_path / "x.h5", 4), str(tmp_path / "a")
    words = ["offline", "--data", str(data), "--agent", "td3_bc", "--batch-size", "4", "--preset", "demo"]
    words += ["--sampler", "policy=mine:Own", "values=uniform", "--steps", "6", "--out", out]
    assert dispatch([*words, "--set", *settings("td3_bc", eval_every=0)]) == 0
    let_go()
    assert dispatch(["offline", "--resume", "--out", out, "--steps", "8"]) == 0
    let_go()
    capsys.readouterr()
    shutil.copytree(out, tmp_path / "copied")
    assert dispatch(["offline", "--resume", "--out", str(tmp_path / "copied"), "--steps", "9"]) == 1
    assert "names the sampler 'mine:Own', which would call Own of" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["GeneratorExit('why')", "asyncio.CancelledError('why')"])
def test_what_is_no_exception_is_one_line_too(fault, tmp_path, capsys):
    code = SAMPLER.format(masses="np.ones(len(ids))", first=f"import asyncio; raise {fault}")
    kind = fault.partition("(")[0].rpartition(".")[2]
    name = f"raises_{kind.lower()}"  # a module is imported once
    line = error(tmp_path, capsys, name, code, "--sampler", f"{name}:Own", "--agent", "td3_bc")
    assert line == f"error: {kind} in {name}.py, line 15: why"
    assert "Traceback" not in capsys.readouterr().err
