"""trajectory_ql's preset `standard` leaves what is drawn to the data, unless something else is asked for."""

from __future__ import annotations

import json

import pytest
from small_runs import settings, write_store

from trajrl.cli.main import dispatch
from trajrl.training.config import RunConfig
from trajrl.training.presets import ONLINE_SAMPLER
from trajrl.training.resolve_config import resolve_config
from trajrl.training.resolve_online import online_config

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
