"""Samplers inside the training loop: every kind of evidence arrives, and the run keeps what was drawn."""

import json

import numpy as np
import pandas as pd
import pytest
from populations import episode

from trajrl.cli.main import dispatch
from trajrl.store.file.writer import StoreWriter


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "x.h5"
    with StoreWriter(out) as writer:
        for i in range(24):
            writer.append(episode(4 + i % 5, float(i % 3), success=i % 3 == 2, seed=i))
    return out


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("cluster*priority", ["clusters=2", "refresh_every=2"]),
        ("priority", ["metric=q_uncertainty", "refresh_every=2"]),
        ("quality", ["judge=critic", "states=2", "refresh_every=2"]),
        ("quality", ["over_steps=5"]),
        ("density", ["kl=0.3"]),
        ("progress", ["clusters=2", "refresh_every=2", "least=1"]),
    ],
)
def test_a_run_learns_from_it_and_writes_what_was_drawn(path, tmp_path, capsys, sampler, options):
    command = ["offline", "--data", str(path), "--agent", "td3_bc", "--sampler", sampler, "--steps", "6"]
    command += ["--actions", "clip"]
    settings = ["--set", *(f"sampler.{option}" for option in options), "log_every=3"]
    code = dispatch([*command, "--batch-size", "8", "--out", str(tmp_path / "run"), "--json", *settings])
    said = capsys.readouterr()
    assert code == 0, said.err
    json.loads(said.out.splitlines()[-1])
    frame = pd.read_parquet(tmp_path / "run" / "episodes.parquet")
    assert frame.draws.sum() == 48
    assert frame.probability.sum() == pytest.approx(1)
    assert frame.probability.nunique() > 1
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert np.isfinite(metrics["offline/sampler/draws/entropy"]).all()
