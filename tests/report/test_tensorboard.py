"""What a run under way shows in TensorBoard, read back with TensorBoard's own reader."""

import pandas as pd
import pytest
from same_run import assert_same_run
from small_runs import settings, small_online, small_run, trained, write_store
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trajrl.cli.main import dispatch
from trajrl.report.draw import tensorboard
from trajrl.report.draw.tensorboard import LiveView
from trajrl.training import loop
from trajrl.training.config import RunConfig
from trajrl.training.run_dir.csv_log import read_csv

ROLES = {"videos/best", "videos/median", "videos/worst"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Episodes of an environment that gives frames."""
    return write_store(tmp_path_factory.mktemp("data") / "x.h5", environment="sample_envs:uneven")


def read(folder) -> EventAccumulator:
    return EventAccumulator(str(folder / "tb"), size_guidance={"images": 0, "scalars": 0, "histograms": 0})


def steps(events) -> list[int]:
    return [event.step for event in events]


def offline(out, store, *words) -> int:
    own = settings("trajectory_ql", eval_episodes=4, last_eval_episodes=4)
    return dispatch([
        "offline", "--trust", "--data", str(store), "--out", str(out), "--preset", "demo", "--steps", "25",
        "--batch-size", "16", "--sampler", "cluster", "--set", *own, *words,
    ])  # fmt: skip


def test_every_kind_of_view_reaches_the_folder(store, tmp_path):
    assert offline(tmp_path / "a", store) == 0
    events = read(tmp_path / "a").Reload()
    logged = read_csv(tmp_path / "a/metrics.csv")
    for name in ("offline/critic/td_abs", "offline/sampler/draws/ess"):
        assert steps(events.Scalars(name)) == [int(row["step"]) for row in logged]
        assert [e.value for e in events.Scalars(name)] == pytest.approx([float(row[name]) for row in logged])
    evaluated = sorted({int(row["step"]) for row in read_csv(tmp_path / "a/evals.csv")})
    assert steps(events.Scalars("offline/eval/return")) == evaluated == [10, 20, 25]
    for name in ("draws", "td_error", "probability", "return"):
        assert steps(events.Histograms(f"episodes/{name}")) == evaluated
    own = pd.read_parquet(tmp_path / "a/episodes.parquet")
    assert events.Histograms("episodes/draws")[-1].histogram_value.sum == own["draws"].sum()
    assert set(events.Tags()["images"]) == ROLES
    assert steps(events.Images("videos/best")) == [25]
    assert "trajectories at step 25" in (tmp_path / "a/tb/projector_config.pbtxt").read_text()
    printed = (tmp_path / "a/tb/projector/25/columns.tsv").read_text().splitlines()
    assert "draws" in printed[0].split("\t")
    assert len(printed) == 13


def test_one_who_looks_on_sees_scalars_after_the_first_pictures(store, tmp_path):
    run = small_run(tmp_path / "a", store, eval_envs=2, video_every=1)
    run.show_with(LiveView())
    while run.step < 10:
        loop.train_step(run)
        loop.after_step(run)
    events = read(tmp_path / "a").Reload()
    assert steps(events.Images("videos/best")) == [10]
    loop.offline(run)
    events.Reload()
    assert steps(events.Scalars("offline/critic/td_abs")) == [5, 10, 15, 20, 25]
    assert steps(events.Images("videos/best")) == [10, 20, 25]


@pytest.mark.slow
def test_videos_can_be_had_of_every_evaluation_or_of_none(store, tmp_path):
    assert offline(tmp_path / "all", store, "video_every=1") == 0
    assert steps(read(tmp_path / "all").Reload().Images("videos/worst")) == [10, 20, 25]
    assert offline(tmp_path / "none", store, "video_every=0") == 0
    assert read(tmp_path / "none").Reload().Tags()["images"] == []


def test_looking_on_changes_no_number(store, tmp_path):
    trained(tmp_path / "alone", store)
    run = small_run(tmp_path / "watched", store, video_every=1)
    run.show_with(LiveView())
    loop.offline(run)
    assert_same_run(tmp_path / "watched", tmp_path / "alone")


@pytest.mark.slow
def test_an_online_run_is_shown_too_and_looking_on_changes_nothing_of_it(store, tmp_path):
    trained(tmp_path / "before", store, agent="diffusion_ql")
    for name in ("alone", "watched"):
        run = small_online(tmp_path / name, tmp_path / "before")
        if name == "watched":
            run.show_with(LiveView())
        loop.online(run)
    assert_same_run(tmp_path / "watched", tmp_path / "alone")
    events = read(tmp_path / "watched").Reload()
    assert steps(events.Histograms("episodes/draws"))[0] == 0
    assert steps(events.Images("videos/best")) == [72]
    head = (tmp_path / "watched/tb/projector/72/columns.tsv").read_text().splitlines()[0]
    assert "phase" in head.split("\t")


def test_an_environment_without_frames_costs_one_line(tmp_path, capsys):
    data = write_store(tmp_path / "x.h5")
    assert offline(tmp_path / "a", data, "video_every=1") == 0
    printed = capsys.readouterr().out
    assert printed.count("note: TensorBoard continues without videos: toy:point gives no frames") == 1
    assert read(tmp_path / "a").Reload().Histograms("episodes/draws")


def test_an_environment_without_frames_is_no_news_where_nobody_asked_for_videos(tmp_path, capsys):
    data = write_store(tmp_path / "x.h5")
    assert offline(tmp_path / "a", data, f"video_every={RunConfig.video_every}") == 0
    assert "videos" not in capsys.readouterr().out


def test_a_picture_that_fails_ends_no_run(store, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tensorboard, "embedding", lambda *a: 1 / 0)
    assert offline(tmp_path / "a", store) == 0
    assert (
        capsys.readouterr().out.count("note: TensorBoard continues without embedding: division by zero") == 1
    )
    assert steps(read(tmp_path / "a").Reload().Images("videos/best")) == [25]
