"""`collect` by a policy that sees images: it is shown what it was trained to see."""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch
from robosuite_standin import Standin
from small_runs import trained

from trajrl import Episode, TrajectoryStore
from trajrl.cli.main import dispatch
from trajrl.envs.robomimic import RobomimicSuite
from trajrl.envs.toy import ToySuite
from trajrl.store.file.writer import StoreWriter

SMALL = {"env.time_limit": 6, "agent.history": 2, "agent.image_features": 4, "agent.image_patch": 4,
         "agent.image_width": 0.25}  # fmt: skip
AGENT = "agentview_image"


def test_a_policy_of_images_is_collected_and_disturbed(tmp_path):
    torch.set_num_threads(1)
    with StoreWriter(
        tmp_path / "x.h5", {"environment": "toy:rooms-pixels", "actions_scaled": True}
    ) as writer:
        for episode in islice(ToySuite("rooms-pixels").episodes(), 4):
            writer.append(episode)
    trained(tmp_path / "run", tmp_path / "x.h5", agent="bc_diffusion", sampler="uniform", steps=2, **SMALL)
    words = ["collect", "--env", "toy:rooms-pixels", "--policy", str(tmp_path / "run"), "--steps", "9"]
    assert dispatch([*words, "--noise", "0.3", "--epsilon", "0.5", "--out", str(tmp_path / "c.h5")]) == 0
    store = TrajectoryStore.open(tmp_path / "c.h5")
    assert store.image_shapes == {"pixels": (64, 64, 3)}
    assert (store.table.length <= 6).all()  # the run's own time limit holds


def test_what_was_collected_names_the_arguments_of_its_task(tmp_path, monkeypatch):
    monkeypatch.setattr("trajrl.envs.robomimic.make_task", lambda name, arguments, render: Standin())
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    film = rng.integers(0, 255, (7, 12, 16, 3)).astype(np.uint8)
    recorded = Episode(np.zeros((7, 3)), np.zeros((6, 7)), np.ones(6), True, True, "x", {}, {AGENT: film})
    origin = {"images": {AGENT: [24, 32, 3]}, "options": {"image_size": [12, 16]},
              "obs_keys": {"robot0_eef_pos": 3}}  # fmt: skip
    with StoreWriter(tmp_path / "x.h5", {"environment": "robomimic:Lift", "provenance": origin}) as writer:
        writer.append(recorded)
    trained(tmp_path / "run", tmp_path / "x.h5", agent="bc_diffusion", sampler="uniform", steps=2, **SMALL)
    words = ["collect", "--env", "robomimic:Lift", "--policy", str(tmp_path / "run"), "--steps", "5"]
    assert dispatch([*words, "--out", str(tmp_path / "c.h5")]) == 0
    store = TrajectoryStore.open(tmp_path / "c.h5")
    assert store.image_shapes == {AGENT: (12, 16, 3)}
    found = RobomimicSuite.recorded_with(store.attributes)["arguments"]
    assert found == RobomimicSuite.recorded_with({"provenance": origin})["arguments"]
    assert (found["camera_heights"], found["image_sizes"]) == ([24], {AGENT: [12, 16]})
