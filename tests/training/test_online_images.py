"""Online with images: exact resume, kills, and that acting, the journal and training show the same frames."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import run_and_kill
from same_run import assert_same_run
from small_runs import ONLINE_RUN, reopened, small_online, trained

from trajrl import Anchors, gather
from trajrl.agents.base.protocol import history_of
from trajrl.cli.main import dispatch
from trajrl.envs.toy import ToySuite
from trajrl.report.runs.rundata import open_store, open_window_draws
from trajrl.store.file.writer import StoreWriter
from trajrl.training import loop
from trajrl.training.config import RunConfig
from trajrl.training.data import sees_images_alone

SMALL = {"env.time_limit": 15, "agent.history": 2, "agent.image_features": 4, "agent.image_patch": 8,
         "agent.image_width": 0.25}  # fmt: skip
PHASE = {**ONLINE_RUN, "env_steps": 48, "learning_starts": 16, "warmup_steps": 24, "checkpoint_every": 20,
         "eval_every": 24, "eval_episodes": 1, "last_eval_episodes": 1}  # fmt: skip
RULES = [("priority", 1), ("uniform", 3)]  # priority ranks by td_error_rank
FIRST = [RULES[0], pytest.param(*RULES[1], marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def offline(tmp_path_factory) -> Path:
    """Return a tiny offline run of acfql on eight episodes of images."""
    place = tmp_path_factory.mktemp("images")
    torch.set_num_threads(1)
    with StoreWriter(place / "x.h5", {"environment": "toy:rooms-pixels", "actions_scaled": True}) as writer:
        for episode in islice(ToySuite("rooms-pixels").episodes(), 8):
            writer.append(episode)
    trained(place / "off", place / "x.h5", agent="acfql", sampler="uniform", steps=4, **SMALL)
    return place / "off"


@pytest.fixture(scope="module")
def whole(offline, tmp_path_factory):
    """Return the uninterrupted online run, made once for each sampler."""
    made: dict[tuple[str, int], Path] = {}

    def run(sampler: str, envs: int) -> Path:
        if (sampler, envs) not in made:
            made[sampler, envs] = tmp_path_factory.mktemp("online") / sampler
            loop.online(small_online(made[sampler, envs], offline, sampler, **{**PHASE, "envs": envs}))
        return made[sampler, envs]

    return run


def assert_same(left: Path, right: Path) -> None:
    assert_same_run(left, right)
    one, other = (folder / "journal" / "episodes.journal" for folder in (left, right))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(("sampler", "envs"), FIRST)
def test_a_stopped_and_resumed_run_of_images_is_the_same_run(offline, whole, tmp_path, sampler, envs):
    run = small_online(tmp_path / "parts", offline, sampler, **{**PHASE, "envs": envs})
    loop.evaluate_before(run)
    while run.clock < 34:
        loop.online_step(run)
    run.online.collector.close()
    run.logger.close()
    loop.online(reopened(tmp_path / "parts"))
    assert_same(whole(sampler, envs), tmp_path / "parts")


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "envs"), RULES)
def test_a_run_of_images_killed_at_a_write_resumes_to_the_same_bits(offline, whole, tmp_path, sampler, envs):
    words = ["online", "--from", str(offline), "--sampler", sampler, "--out", str(tmp_path / "killed")]
    words += ["--set", *(f"{name}={value}" for name, value in {**PHASE, "envs": envs}.items())]
    run_and_kill(["run.py", *words], under=tmp_path / "killed", after_writes=25)
    loop.online(reopened(tmp_path / "killed"))
    assert_same(whole(sampler, envs), tmp_path / "killed")


def test_what_acting_sees_is_what_the_journal_keeps_and_training_draws(offline, tmp_path):
    run = small_online(tmp_path / "on", offline, "uniform", **PHASE)
    shown, act = [], run.agent.act

    def watched(history, rng, explore):
        if explore:
            shown.append(history.each(torch.clone))
        return act(history, rng, explore)

    run.agent.act = watched
    loop.online(run)
    online = np.flatnonzero(run.store.table.phase == 1)
    chunk = run.agent.spec.chunk
    asked = [(e, step) for e in online for step in range(0, int(run.store.table.length[e]), chunk)]
    assert len(online) >= 3
    e, step = map(np.array, zip(*asked))
    anchors = Anchors(e, step, np.ones(len(e), np.float32))
    for store in (run.store, open_store(tmp_path / "on")):  # as it was trained on, and as it lies on disk
        seen = history_of(gather(store, anchors, run.agent.spec))
        for row, acted in enumerate(shown[: len(asked)]):
            for trained_on, saw in zip((*seen[:3], *seen.images), (*acted[:3], *acted.images), strict=True):
                assert trained_on.dtype == saw.dtype
                assert torch.equal(trained_on[row : row + 1], saw)


@pytest.mark.slow
def test_without_a_run_the_short_offline_phase_draws_images_uniformly(offline, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    few = {**PHASE, **SMALL, "agent.width": 16, "env_steps": 20}
    words = ["online", "--data", str(offline.parent / "x.h5"), "--agent", "acfql", "--preset", "demo"]
    words += ["--steps", "2", "--out", "a", "--set", *(f"{name}={value}" for name, value in few.items())]
    assert dispatch(words) == 0
    assert "the offline phase draws uniformly" in capsys.readouterr().out
    before, after = (RunConfig.load(tmp_path / name / "config.json") for name in ("a-offline", "a"))
    assert (before.sampler, after.offline_sampler, after.sampler) == ("uniform", "uniform", "priority")


def test_what_is_seen_is_known_before_the_data_is_read(offline):
    store = str(offline.parent / "x.h5")
    assert sees_images_alone("toy:rooms-pixels")
    assert not sees_images_alone("toy:rooms")
    assert sees_images_alone(store)
    assert sees_images_alone(store, "pixels")
    assert not sees_images_alone("no-such-set-v2")


def test_windows_of_both_phases_are_counted(whole, offline):
    before, after = open_window_draws(offline)["values"], open_window_draws(whole("priority", 1))["values"]
    store = open_store(whole("priority", 1))
    assert len(after) == len(store.actions) > len(before)
    assert (after[: len(before)] >= before).all()
    first_online = store.table.start[store.table.phase == 1][0]
    assert after[first_online:].sum() > 0
