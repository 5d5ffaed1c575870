"""A run continues in the units of actions that it was trained in, or one line says how."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_runs import reopened, small_online, small_run, trained

from trajrl import Episode
from trajrl.store.action_box import ActionBox
from trajrl.store.file.writer import StoreWriter
from trajrl.training import loop
from trajrl.training.config import RunConfig

NARROW = {"agent": "td3_bc", "sampler": "uniform", "env": "sample_envs:robot", "steps": 10}


@pytest.fixture
def store(tmp_path):
    """Write episodes of the robot, of a box of +-2, whose actions lie inside [-1, 1]."""
    with StoreWriter(tmp_path / "x.h5", {"action_low": [-2.0] * 2, "action_high": [2.0] * 2}) as writer:
        for e in range(4):
            writer.append(Episode(np.full((10, 2), e / 4), np.full((9, 2), 0.2 * e), np.ones(9), False))
    return tmp_path / "x.h5"


def made_before(folder, store, monkeypatch, actions: str = "as_found"):
    """Train a run that took the numbers for [-1, 1], and keep no box, as runs did before they had one."""
    with monkeypatch.context() as old:
        old.setattr(ActionBox, "bounds", lambda box: {})
        trained(folder, store, actions="scaled", **NARROW)
    change(folder, actions=actions)


def change(folder, **changes):
    """Change the config of a run."""
    replace(RunConfig.load(folder / "config.json"), **changes).save(folder / "config.json")


def continued(folder, **changes):
    """Open a run again, with changes to its config."""
    change(folder, steps=12, **changes)
    return reopened(folder)


def test_an_old_run_does_not_continue_in_other_units(tmp_path, store, monkeypatch):
    made_before(tmp_path / "a", store, monkeypatch)
    with pytest.raises(
        ValueError, match=r"read in the box \[-1, 1\], .* in \[-2, 2\]: give --actions scaled"
    ):
        continued(tmp_path / "a")
    with pytest.raises(ValueError, match=r"a was trained .* --actions scaled"):
        small_online(tmp_path / "b", tmp_path / "a", sampler="uniform")
    run = continued(tmp_path / "a", actions="scaled")
    assert run.units.data.is_unit
    loop.offline(run)
    assert reopened(tmp_path / "a").step == 12


def test_a_run_continues_in_its_own_units_alone(tmp_path, store):
    trained(tmp_path / "a", store, **NARROW)
    assert str(continued(tmp_path / "a", actions="clip").units.data) == "[-2, 2]"  # cut, in the same box
    with pytest.raises(ValueError, match=r"in the box \[-2, 2\], .* \[-1, 1\]: give --actions as_found"):
        continued(tmp_path / "a", actions="scaled")


def test_a_run_without_a_checkpoint_has_no_units_yet(tmp_path, store):
    small_run(tmp_path / "a", store, **NARROW)
    assert reopened(tmp_path / "a").units.data.high.tolist() == [2.0, 2.0]
