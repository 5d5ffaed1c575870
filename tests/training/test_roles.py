"""Runs that draw for each role: exact on resume and over processes, counted by role, offline and online."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from same_run import assert_same_run, same_tree
from small_runs import reopened, small_online, small_run, trained, write_store
from together import together

from trajrl.core.distributed import Team
from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.training import build, loop
from trajrl.training.run_dir import checkpoint
from trajrl.training.run_dir.csv_log import read_csv

BOTH = "policy=top values=cluster"
LATE = {"sampler.narrow_at": 0.4, "sampler.narrow_ramp": 0.4, "sampler.policy.share": 0.25}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


@pytest.fixture(scope="module")
def source(store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "offline"
    trained(folder, store, agent="td3_bc", sampler=BOTH, **LATE)
    return folder


def stopped(folder: Path, store: Path, updates: int = 9, **changes) -> None:
    run = small_run(folder, store, **changes)
    for _ in range(updates):
        loop.train_step(run)
        loop.after_step(run)
    run.logger.close()


def test_a_run_by_role_resumes_exactly(store, tmp_path):
    trained(tmp_path / "whole", store, agent="td3_bc", sampler=BOTH, **LATE)
    stopped(tmp_path / "parts", store, 12, agent="td3_bc", sampler=BOTH, **LATE)  # on the ramp
    loop.offline(reopened(tmp_path / "parts"))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def in_process(team: Team, store: str, folder: str) -> None:
    """Be one process of a run."""
    run = small_run(Path(folder) / f"{team.rank}", Path(store), agent="td3_bc", sampler=BOTH, **LATE)
    run = build.build(run.config, Path(folder) / f"{team.rank}", team=team)
    for _ in range(20):
        loop.train_step(run)
    run.rank_check.require(20)
    if team.leads:
        loop.save(run)


@pytest.mark.slow
def test_two_processes_draw_for_each_role_what_one_draws(store, tmp_path):
    together(2, "training.test_roles:in_process", store, tmp_path)
    alone = small_run(tmp_path / "alone", store, agent="td3_bc", sampler=BOTH, **LATE)
    for _ in range(20):
        loop.train_step(alone)
    loop.save(alone)
    two, one = (
        checkpoint.load(checkpoint.newest(tmp_path / name / "checkpoints")) for name in ("0", "alone")
    )
    for part in ("columns", "policy"):
        found, expected = two["provenance"][part], one["provenance"][part]
        found, expected = (x.get("columns", x) for x in (found, expected))
        assert np.array_equal(found["draws"], expected["draws"])
    assert same_tree(two["sampler"], one["sampler"])


def test_a_sampler_draws_for_the_values_what_it_draws_for_both(store, tmp_path):
    one = trained(tmp_path / "one", store, agent="td3_bc", sampler="cluster")
    two = trained(tmp_path / "two", store, agent="td3_bc", sampler=BOTH)
    drawn = [pd.read_parquet(run.folder / "episodes.parquet")["draws"].tolist() for run in (one, two)]
    assert drawn[0] == drawn[1]
    assert sum(drawn[0]) == 25 * 16


def test_draws_are_counted_by_role(store, tmp_path):
    run = trained(tmp_path / "run", store, agent="td3_bc", sampler=BOTH, **{"sampler.policy.share": 0.25})
    episodes = pd.read_parquet(run.folder / "episodes.parquet")
    best = episodes["returns"].nlargest(3).index
    assert sorted(episodes.index[episodes["policy_draws"] > 0]) == sorted(best)
    assert episodes["policy_draws"].sum() == episodes["draws"].sum() == 25 * 16
    assert (episodes["draws"] > 0).sum() > 3
    np.testing.assert_allclose(episodes[["probability", "policy_probability"]].sum(), 1)
    row = read_csv(run.folder / "metrics.csv")[-1]
    assert float(row["offline/sampler/policy/draws/ess"]) <= 3 < float(row["offline/sampler/draws/ess"])
    assert float(row["offline/sampler/policy/episodes"]) == 12


def test_the_policys_stream_is_its_own(store, tmp_path):
    run = small_run(tmp_path / "run", store, agent="td3_bc", sampler="policy=uniform values=uniform")
    loop.train_step(run)
    uniform = make_sampler("uniform", run.store)
    for name, stats in (("sampler", run.episode_stats), ("policy_sampler", run.episode_stats.policy)):
        drawn = uniform.sample(stream(0, name, 1), 16)
        assert np.array_equal(stats._last, [drawn.episode, drawn.step])


def test_an_agent_of_one_kind_of_terms_takes_one_draw(store, tmp_path):
    with pytest.raises(
        ValueError, match=r"^bc_diffusion learns no values, so one draw serves it: give --sam"
    ):
        small_run(tmp_path / "run", store, agent="bc_diffusion", sampler=BOTH)


def test_recorded_updates_and_late_td_errors_serve_both_roles(store, tmp_path, monkeypatch):
    """As on a device: the update is replayed, and what it gave is read later."""
    from trajrl.training.cuda_graph import RecordedUpdates

    trained(tmp_path / "plain", store, agent="td3_bc", sampler=BOTH, **LATE)
    monkeypatch.setattr(loop, "AT_ONCE", ())
    run = small_run(tmp_path / "recorded", store, agent="td3_bc", sampler=BOTH, **LATE)
    run.agent.substitute("learn", RecordedUpdates(run.agent, lambda program: program))
    loop.offline(run)
    assert_same_run(tmp_path / "plain", tmp_path / "recorded")


@pytest.mark.parametrize(
    ("sampler", "mode"),
    [
        (BOTH, "mix"),
        pytest.param("priority", "mix", marks=pytest.mark.slow),
        pytest.param(BOTH, "keep", marks=pytest.mark.slow),
    ],
)
def test_online_draws_by_role_and_resumes_exactly(source, tmp_path, sampler, mode):
    changes = {"sampler": sampler, "offline_mode": mode, "eval_every": 0, "env": "toy:point"}
    run = small_online(tmp_path / "whole", source, **changes)
    loop.online(run)
    cut = small_online(tmp_path / "parts", source, **changes)
    loop.evaluate_before(cut)
    while cut.clock < 45:
        loop.online_step(cut)
    cut.logger.close()
    cut.online.collector.close()
    loop.online(reopened(tmp_path / "parts"))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    episodes = pd.read_parquet(tmp_path / "whole" / "episodes.parquet")
    updates = run.step - run.config.first_step
    assert episodes["policy_draws"].sum() == episodes["draws"].sum() == 16 * (25 + updates)
    online = episodes["phase"] == "online"
    assert episodes["policy_draws"][online].sum() > 0


def test_what_the_offline_run_drew_for_the_policy_is_kept_online(source, tmp_path):
    run = small_online(tmp_path / "run", source, sampler="uniform", offline_mode="drop")
    before = pd.read_parquet(source / "episodes.parquet")["policy_draws"]
    assert run.episode_stats.frame()["policy_draws"].tolist() == before.tolist()
    run.logger.close()
    run.online.collector.close()
