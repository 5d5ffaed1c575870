"""A run holds out whole episodes: the same ones wherever it is continued, and nothing is fitted on them."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from small_runs import reopened, settings, small_online, small_run, trained, write_store
from together import ended, start

from trajrl.store.normalize import statistics
from trajrl.store.store import TrajectoryStore
from trajrl.training import loop
from trajrl.training.config import RunConfig
from trajrl.training.holdout import held_out, hold_out
from trajrl.training.resolve_online import online_config
from trajrl.training.run_dir.csv_log import read_csv


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("data") / "x.h5")


def test_a_run_never_draws_what_it_holds_out(store, tmp_path):
    run = trained(tmp_path / "a", store, holdout=0.25)
    assert run.held_out.dtype == np.int64
    assert len(run.held_out) == 3
    draws = run.episode_stats.frame()["draws"].to_numpy()
    assert draws.sum() == 25 * 16
    assert (draws[run.held_out] == 0).all()


def test_folder_config_and_resume_name_the_same_episodes(store, tmp_path):
    run = small_run(tmp_path / "a", store, holdout=0.25)
    opened, ids = TrajectoryStore.open(store), run.held_out.tolist()
    assert held_out(tmp_path / "a", opened).tolist() == ids
    assert held_out(run.config, opened).tolist() == ids
    loop.offline(run)
    opened.table.set("cluster", np.arange(12) % 5)  # written to the data since: what is noted stays
    assert held_out(tmp_path / "a", opened).tolist() == ids
    again = reopened(tmp_path / "a")
    assert again.held_out.tolist() == ids
    assert (~again.store.table.alive).nonzero()[0].tolist() == ids


def test_a_killed_run_holds_out_the_same_without_its_note(store, tmp_path):
    run = small_run(tmp_path / "a", store, holdout=0.25)
    (tmp_path / "a" / "holdout.json").unlink()
    assert held_out(tmp_path / "a", TrajectoryStore.open(store)).tolist() == run.held_out.tolist()


def test_the_online_phase_keeps_those_of_the_offline_run(store, tmp_path):
    source = trained(tmp_path / "off", store, agent="td3_bc", holdout=0.25)
    few = {"env_steps": 40, "learning_starts": 10, "warmup_steps": 20, "eval_every": 0}
    run = small_online(tmp_path / "on", tmp_path / "off", offline_mode="mix", seed=7, **few)
    assert run.held_out.tolist() == source.held_out.tolist()
    loop.online(run)
    assert (run.episode_stats.frame()["draws"].to_numpy()[run.held_out] == 0).all()
    rows = read_csv(tmp_path / "on" / "metrics.csv")
    assert all(np.isfinite(float(rows[end]["online/validation/late/td_abs"])) for end in (0, -1))
    (tmp_path / "off").rename(tmp_path / "gone")
    assert reopened(tmp_path / "on").held_out.tolist() == source.held_out.tolist()


def test_another_share_is_refused_online(store, tmp_path):
    trained(tmp_path / "off", store, agent="td3_bc", holdout=0.25)
    with pytest.raises(ValueError, match=r"holds out a share of 0\.25 of its episodes.*leave --holdout out"):
        online_config(tmp_path / "off", {"holdout": 0.1}, [])


@pytest.mark.parametrize("fitted", ["mean", "rewards"])
def test_statistics_and_reward_scales_see_only_what_is_trained_on(store, tmp_path, fitted):
    run = small_run(tmp_path / "a", store, agent="td3_bc", holdout=0.25, reward="normalize")
    rest = [e for i, e in enumerate(TrajectoryStore.open(store).episodes()) if i not in run.held_out]
    obs, rewards = np.concatenate([e.obs for e in rest]), np.concatenate([e.rewards for e in rest])
    if fitted == "mean":
        kept = run.agent.normaliser.mean.numpy()
        assert np.allclose(kept, obs.mean(0, dtype=np.float64), atol=1e-6)
        assert np.allclose(statistics(run.store)["obs_std"], obs.astype(np.float64).std(0, ddof=1))
    else:
        shaped = run.store.shape_reward(torch.as_tensor(rewards)).double()
        assert float(shaped.mean()) == pytest.approx(0, abs=1e-5)
        assert float(shaped.std()) == pytest.approx(1, abs=1e-5)


def test_without_holdout_nothing_is_noted_and_the_stored_statistics_serve(store, tmp_path):
    run = small_run(tmp_path / "a", store)
    assert not (tmp_path / "a" / "holdout.json").exists()
    assert held_out(tmp_path / "a", run.store).shape == (0,)
    assert run.store.table.alive.all()
    assert "obs_mean" in run.store.attributes["statistics"]


def test_fewer_episodes_than_the_preset_asks_for_are_all_learned_from(store, tmp_path, capsys):
    run = small_run(tmp_path / "a", store, holdout=0.1, holdout_min_episodes=50)
    assert not len(run.held_out)
    assert "nothing is held out: 12 episodes are fewer than 50" in capsys.readouterr().out
    few = RunConfig(holdout=0.1, holdout_min_episodes=12)
    assert len(held_out(few, run.store)) == 1


def test_the_note_of_other_data_is_refused(store, tmp_path):
    small_run(tmp_path / "a", store, holdout=0.25)
    other = TrajectoryStore.open(write_store(tmp_path / "y.h5", episodes=9))
    with pytest.raises(ValueError, match="holds out episodes of other data"):
        held_out(tmp_path / "a", other)
    note = tmp_path / "a" / "holdout.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "episodes": [3, 3]}))
    with pytest.raises(ValueError, match=r"holdout\.json: episodes are not ascending ids"):
        hold_out(RunConfig(), tmp_path / "a", TrajectoryStore.open(store))


@pytest.mark.slow
def test_two_processes_hold_out_the_same_and_draw_what_one_draws(store, tmp_path):
    chosen = ["--agent", "td3_bc", "--sampler", "uniform", "--steps", "25", "--batch-size", "16"]
    words = ["run.py", "offline", "--data", str(store), *chosen, "--preset", "demo", "--holdout", "0.25"]
    words += ["--set", *settings("td3_bc"), "--out"]
    ended(start(2, [*words, str(tmp_path / "two")]))
    ended(start(1, [*words, str(tmp_path / "one")]))
    draws = [pd.read_parquet(tmp_path / name / "episodes.parquet")["draws"] for name in ("one", "two")]
    held = held_out(tmp_path / "two", TrajectoryStore.open(store))
    assert len(held) == 3
    assert (draws[1][held] == 0).all()
    assert draws[0].equals(draws[1])
    left, right = (read_csv(tmp_path / name / "metrics.csv")[-1] for name in ("one", "two"))
    for name in ("bc_loss", "td_abs", "late/q_rmse"):
        column = f"offline/validation/{name}"
        assert float(left[column]) == pytest.approx(float(right[column]), rel=1e-4)
