"""toy: a run of the laboratory is a run like any other, and its answer has the keys that scripts rely on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trajrl.cli.main import dispatch
from trajrl.cli.toy import Setting, Toy
from trajrl.envs import bandit
from trajrl.report.bandit import measures
from trajrl.training.config import RunConfig
from trajrl.training.resolve_config import resolve_config
from trajrl.training.run_dir import folder

QUICK = ["--steps", "4", "--samples", "40", "--set", "batch_size=16", "agent.width=8", "eval_episodes=3"]


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandit, "NUM_POINTS", 500)
    monkeypatch.setattr(bandit, "NUM_SHAPE", 500)
    monkeypatch.setattr(measures, "NUM_POOL", 2_000)
    for cached in (bandit.data, bandit.shape):
        cached.cache_clear()
    yield
    for cached in (bandit.data, bandit.shape):
        cached.cache_clear()


def call(capsys: pytest.CaptureFixture, *words: str) -> dict[str, Any]:
    assert dispatch([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("agent", ["bc_diffusion", "edp", "qg", "td3_bc"])
def test_answer_has_the_fixed_keys_and_a_figure(agent: str, tmp_path: Path, capsys) -> None:
    out = tmp_path / "run"
    found = call(capsys, "toy", "8gaussians", "--agent", agent, "--out", str(out), *QUICK)
    for key in ("mean_energy", "expected_energy", "off_mode"):
        assert isinstance(found[key], float)
    assert len(found["mode_masses"]) == 8
    assert sum(found["mode_masses"]) == pytest.approx(1)
    assert Path(found["figure"]).read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "toy.json").read_text()) == found
    options = json.loads((out / "config.json").read_text())["agent_options"]
    assert options.get("gamma", 0.0) == 0.0
    assert options["history" if "history" in options else "width"] in (1, 8)
    assert found["beta"] == options.get("eta", 0.0)


@pytest.mark.parametrize(
    ("dataset", "agent", "own"),
    [
        ("8gaussians", "diffusion_ql", {"eta": 1.0, "solver": "ddim", "solver_steps": 10}),
        ("rings", "diffusion_ql", {"eta": 0.5, "solver": "ddim", "solver_steps": 10}),
        ("8gaussians", "edp", {"eta": 3.0, "q_term": "awr", "solver": "ddpm"}),
        ("rings", "edp", {"eta": 1.0, "q_term": "td3", "solver": "ddpm"}),
        ("8gaussians", "eg_ood", {"eta": 3.0}),
        ("8gaussians", "qg", {"eta": 3.0, "ratio": "snr_real"}),
    ],
)
def test_agents_bring_what_a_bandit_asks_of_them(dataset: str, agent: str, own: dict[str, Any]) -> None:
    asked = {"data": f"bandit:{dataset}", "agent": agent, "preset": "standard"}
    toy = Toy(dataset=dataset, agent=agent)
    options = resolve_config(asked, toy.chosen(Setting(None, None, 0))).agent_options
    shared = {"diffusion_steps": 20, "schedule": "cosine", "gamma": 0.0, "candidates": 1}
    assert {name: options[name] for name in own | shared} == own | shared


def test_a_toy_run_is_evaluated_and_resumed_as_any_run(tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "run")
    words = ("toy", "rings", "--agent", "qg", "--out", out, "--T", "3", *QUICK)
    first = call(capsys, *words)
    evaluated = call(capsys, "evaluate", out, "--episodes", "5")
    assert evaluated["environment"] == "bandit:rings"
    assert len(evaluated["returns"]) == 5
    assert {round(value, 3) for value in evaluated["returns"]} <= {0.0, 1.0, 0.333, 0.667}
    for held in folder._locks:  # of this process, which plays two here
        held.close()
    again = call(capsys, *words, "--resume")
    assert {k: again[k] for k in ("mean_energy", "mode_masses", "steps", "T")} == {
        k: first[k] for k in ("mean_energy", "mode_masses", "steps", "T")
    }
    assert dispatch([*words]) == 1  # a folder that holds a run is not overwritten
    assert "--resume" in capsys.readouterr().err


def test_a_sweep_is_one_figure_over_its_runs(tmp_path: Path, capsys) -> None:
    out = tmp_path / "sweep"
    words = ["toy", "corners", "--agent", "qg", "--T", "3", "5", "--out", str(out), *QUICK]
    found = call(capsys, *words)
    assert Path(found["figure"]) == out / "T.png"
    assert [(run["T"], run["seed"]) for run in found["runs"]] == [(3, 0), (5, 0)]
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"T3-s0", "T5-s0"}


@pytest.mark.slow
def test_a_sweep_may_go_below_the_solver_steps_an_agent_brings(tmp_path: Path, capsys) -> None:
    words = ["toy", "rings", "--agent", "diffusion_ql", "--T", "3", "12", "--steps", "2", "--samples", "20"]
    assert dispatch([*words, "--out", str(tmp_path / "a")]) == 0
    assert "T 3: ddim takes 3 steps, one for each level, not 10" in capsys.readouterr().out
    steps = [RunConfig.load(tmp_path / "a" / f"T{T}-s0" / "config.json").agent_options for T in (3, 12)]
    assert [options["solver_steps"] for options in steps] == [3, 10]


@pytest.mark.parametrize("T", [3, 20, 50])
def test_every_number_of_levels_gets_the_schedule_of_the_laboratory(T: int) -> None:
    words = Toy(dataset="rings", agent="edp").chosen(Setting(T, None, 0))
    options = resolve_config(
        {"data": "bandit:rings", "agent": "edp", "preset": "standard"}, words
    ).agent_options
    assert (options["diffusion_steps"], options["schedule"]) == (T, "cosine")


def test_edp_trains_on_a_bandit_with_few_levels(tmp_path: Path, capsys) -> None:
    found = call(capsys, "toy", "rings", "--agent", "edp", "--T", "3", "--out", str(tmp_path / "a"), *QUICK)
    assert (found["T"], found["steps"]) == (3, 4)


def test_a_run_does_not_go_on_under_another_t_or_eta(tmp_path: Path, capsys) -> None:
    words = ["toy", "rings", "--steps", "2", "--samples", "20", "--out", str(tmp_path / "a"), "--T"]
    assert dispatch([*words, "3"]) == 0
    while folder._locks:  # of this process, which plays two here
        folder._locks.pop().close()
    assert dispatch([*words, "5", "--resume"]) == 1
    assert "has diffusion_steps 3; got 5" in capsys.readouterr().err
    while folder._locks:
        folder._locks.pop().close()
    assert dispatch([*words[:-1], "--resume"]) == 0  # nothing said: the run's own
    assert json.loads((tmp_path / "a" / "toy.json").read_text())["T"] == 3


def test_several_seeds_give_means_and_intervals(tmp_path: Path, capsys) -> None:
    words = ["toy", "corners", "--agent", "bc_diffusion", "--seeds", "2", "--seed", "4"]
    found = call(capsys, *words, "--out", str(tmp_path / "two"), *QUICK)
    energies = [run["mean_energy"] for run in found["runs"]]
    assert [run["seed"] for run in found["runs"]] == [4, 5]
    assert found["mean_energy"] == pytest.approx(sum(energies) / 2)
    low, high = found["intervals"]["mean_energy"]
    assert min(energies) <= low <= high <= max(energies)


def test_sweeping_eta_sets_the_goal_of_each_run(tmp_path: Path, capsys) -> None:
    found = call(capsys, "toy", "rings", "--agent", "qg", "--T", "3", "--eta", "0", "3",
                 "--out", str(tmp_path / "sweep"), *QUICK)  # fmt: skip
    assert Path(found["figure"]).name == "eta.png"
    energies = [run["expected_energy"] for run in found["runs"]]
    assert energies == pytest.approx([0.5, 0.8309], abs=1e-3)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["ring"], "did you mean 'rings'"), (["rings", "--agent", "gq"], "did you mean"),
        (["rings", "--T", "2", "3", "--eta", "1", "2"], "one at a time"),
        (["rings", "--agent", "sac", "--T", "5"], "no field diffusion_steps"),
        (["rings", "--T", "3", "5", "3"], "two of the runs would be T3-s0"),
        (["rings", "--beta", "nan"], "--beta is a finite number"),
        (["rings", "--resume"], "--out"), (["rings", "--seeds", "0"], "--seeds"),
    ],
)  # fmt: skip
def test_a_bad_request_is_one_line(
    words: list[str], reason: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert dispatch(["toy", *words, "--steps", "2"]) == 1
    err = capsys.readouterr().err
    assert reason in err
    assert "Traceback" not in err


def test_set_does_not_override_what_the_command_names(tmp_path: Path, capsys) -> None:
    words = ["toy", "8gaussians", "--out", str(tmp_path / "a"), "--set", "data=bandit:rings"]
    assert dispatch(words) == 1
    assert "--set data=bandit:rings would override the data set that the command names" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("option", "setting"), [("--T", "agent.diffusion_steps=50"), ("--eta", "agent.eta=2.0")]
)
def test_an_option_and_a_setting_that_say_different_things_are_refused(option, setting, capsys) -> None:
    assert dispatch(["toy", "rings", option, "5", "--set", setting]) == 1
    field = setting[6:].partition("=")[0]
    assert capsys.readouterr().err == (
        f"error: {option} and --set {setting} both set {field}; give one of them\n"
    )


@pytest.mark.parametrize("setting", ["phase=online", "preset=paper", "data=x.h5", "env=none", "seed=3"])
def test_what_a_toy_run_fixes_is_not_set(setting, tmp_path, capsys) -> None:
    assert dispatch(["toy", "rings", "--out", str(tmp_path / "a"), *QUICK, setting]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: --set {setting} would override ")
    assert not (tmp_path / "a").exists()
