"""What presets draw with: `standard` leaves it to the data, `demo` has clusters for the policy alone."""

from __future__ import annotations

import json

import pytest
from small_runs import settings, write_store

from trajrl.cli.main import dispatch
from trajrl.samplers import SAMPLERS
from trajrl.samplers.options import resolved_options
from trajrl.training.chosen_preset import drawn_line
from trajrl.training.config import RunConfig
from trajrl.training.presets import ONLINE_SAMPLER
from trajrl.training.resolve_config import resolve_config
from trajrl.training.resolve_online import online_config
from trajrl.training.saved_config import resume_config

BY_ROLE = "policy=cluster values=uniform"
STANDARD = {"preset": "standard", "agent": "trajectory_ql"}


@pytest.mark.parametrize(
    ("chosen", "set_", "found"),
    [
        ({}, (), "auto"),
        ({"sampler": "cluster"}, (), "cluster"),
        ({"sampler": "uniform"}, (), "uniform"),
        ({}, ("sampler=weighted",), "weighted"),
        ({"agent": "td3_bc"}, (), "uniform"),
        ({"preset": "demo"}, (), "uniform"),
        ({}, ("goals=hindsight", "agent.critics=2"), "uniform"),
        ({"phase": "online"}, (), "uniform"),
    ],
)
def test_auto_draws_where_nothing_else_is_asked_for(chosen, set_, found):
    assert resolve_config({**STANDARD, **chosen}, set_).sampler == found


def test_a_run_notes_what_was_decided_and_an_online_phase_continues_from_it(tmp_path):
    store, out = write_store(tmp_path / "x.h5"), tmp_path / "run"
    words = ["--preset", "standard", "--agent", "trajectory_ql"]
    own = ["--set", *(word for word in settings("trajectory_ql") if word != "--set")]
    assert dispatch(["offline", "--data", str(store), *words, "--steps", "4", "--out", str(out), *own]) == 0
    assert RunConfig.load(out / "config.json").sampler != "auto"
    assert "auto" in json.loads((out / "sampler_choice.json").read_text())["reason"]
    online = online_config(out, {}, ())
    assert online.sampler == ONLINE_SAMPLER
    assert online.offline_sampler == RunConfig.load(out / "config.json").sampler


@pytest.mark.parametrize(
    ("agent", "asked", "preset", "found"),
    [
        ("trajectory_ql", "cluster", "demo", BY_ROLE),
        ("td3_bc", "cluster", "demo", "cluster"),  # the other agents' demos draw by one name for both
        ("bc_diffusion", "cluster", "demo", "cluster"),
        ("trajectory_ql", "policy=cluster values=cluster", "demo", "policy=cluster values=cluster"),
        ("trajectory_ql", "cluster*priority", "demo", "cluster*priority"),
        ("trajectory_ql", "cluster", "standard", "cluster"),
        ("trajectory_ql", "cluster", "paper", "cluster"),
    ],
)
def test_the_demo_means_by_clusters_the_draw_of_the_policy(agent, asked, preset, found):
    config = resolve_config({"agent": agent, "sampler": asked, "preset": preset})
    assert config.sampler == found
    assert (found in drawn_line(asked, config)) == (found != asked)
    assert bool(drawn_line(asked, config)) == (found != asked)


def test_the_demo_is_the_standard_agent():
    agent = {
        name: resolve_config({"preset": name, "steps": 9}).agent_options for name in ("demo", "standard")
    }
    assert agent["demo"] == agent["standard"]
    assert (agent["demo"]["pick"], agent["demo"]["critics"]) == ("densest", 5)


@pytest.mark.parametrize("way", [["--sampler", "cluster"], ["--set", "sampler=cluster"]])
@pytest.mark.parametrize("seeds", [[], ["--seeds", "2"]])
def test_a_run_says_what_the_demo_means(tmp_path, capsys, way, seeds):
    store = write_store(tmp_path / "x.h5")
    own = [word for word in settings("trajectory_ql") if word != "--set"]
    words = ["--data", str(store), "--preset", "demo", "--steps", "2", "--out", str(tmp_path / "run"), *seeds]
    words += way if way[0] == "--set" else [*way, "--set"]
    assert dispatch(["offline", *words, *own]) == 0
    line = f"--sampler cluster in the preset demo is {BY_ROLE} with tilt=4 tilt_from=5000 tilt_ramp=500"
    said = capsys.readouterr()
    assert (said.out + said.err).count(line) == 1


def test_an_online_run_draws_the_offline_share_by_the_word_that_the_offline_run_began_with(tmp_path):
    store, out = write_store(tmp_path / "x.h5"), tmp_path / "run"
    words = [
        "--data",
        str(store),
        "--preset",
        "demo",
        "--sampler",
        "cluster",
        "--steps",
        "2",
        "--out",
        str(out),
    ]
    own = [word for word in settings("trajectory_ql") if word != "--set"]
    assert dispatch(["offline", *words, "--set", *own]) == 0
    options = RunConfig.load(out / "config.json").sampler_options
    assert options
    for chosen in ({"offline_sampler": "cluster"}, {"offline_sampler": BY_ROLE}, {}):
        online = online_config(out, chosen, ())
        assert (online.offline_sampler, online.offline_sampler_options) == (BY_ROLE, options)
    plain = resolve_config({"phase": "online", "preset": "demo", "sampler": "cluster"})
    assert plain.sampler == "cluster"


def test_options_of_clusters_reach_the_draw_that_the_demo_makes_of_it():
    set_ = ["sampler.tilt=2", "sampler.clusters=3"]
    config = resolve_config({"sampler": "cluster", "preset": "demo"}, set_)
    known = resolved_options(SAMPLERS, config.sampler, config.sampler_options)
    assert (known["policy.tilt"], known["policy.clusters"], known["policy.tilt_from"]) == (2.0, 3, 5_000)


@pytest.mark.parametrize(("preset", "asked"), [("demo", "cluster"), ("standard", "auto")])
def test_a_run_continues_by_the_words_it_began_with(tmp_path, preset, asked):
    store, out = write_store(tmp_path / "x.h5"), tmp_path / "run"
    words = ["--data", str(store), "--preset", preset, "--agent", "trajectory_ql", "--sampler", asked]
    own = ["--set", *(word for word in settings("trajectory_ql") if word != "--set")]
    assert dispatch(["offline", *words, "--steps", "4", "--out", str(out), *own]) == 0
    drawn = RunConfig.load(out / "config.json").sampler
    assert drawn != asked
    for chosen, set_ in (({"sampler": asked}, ()), ({}, (f"sampler={asked}",)), ({"sampler": drawn}, ())):
        again = resume_config(out, {**chosen, "steps": 6}, set_)
        assert (again.sampler, again.steps) == (drawn, 6)
    with pytest.raises(ValueError, match="cannot change in the middle"):
        resume_config(out, {}, ("sampler=weighted",))
