"""Runs read into frames: whole, unfinished, half-written, foreign and many."""

import json
import time

import numpy as np
import pandas as pd
import pytest
from synthetic import break_runs, write_run

from trajrl.report import frames
from trajrl.report.page.compose import Options, compose
from trajrl.report.runs import cache
from trajrl.report.runs.folders import scan
from trajrl.report.runs.groups import differences, flatten, group_names
from trajrl.report.runs.tables import read_episodes
from trajrl.report.selection import four_scores
from trajrl.training.run_dir.evaluations import COLUMNS


def test_one_row_per_run_with_its_four_scores(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"runs/a{seed}", seed)
    runs = frames.load_runs(tmp_path / "runs/*")
    assert runs["run"].tolist() == ["a0", "a1"]
    summary = json.loads((tmp_path / "runs/a1/summary.json").read_text())
    for name in frames.SCORES:
        assert runs[name][1] == summary["scores"][name]["value"]
    assert runs["data_return"].tolist() == [900.0, 900.0]
    assert runs["env"].tolist() == ["Hopper-v5"] * 2


def test_a_folder_of_runs_stands_for_them_all_and_each_run_counts_once(tmp_path):
    write_run(tmp_path / "runs/a")
    write_run(tmp_path / "runs/b")
    found = scan([tmp_path / "runs", tmp_path / "runs/a", str(tmp_path / "runs/*")])
    assert [run.name for run in found.runs] == ["a", "b"]
    assert found.notes == []


def test_names_are_as_long_as_it_takes_to_tell_runs_apart(tmp_path):
    write_run(tmp_path / "x/run")
    write_run(tmp_path / "y/run")
    assert [run.name for run in scan([tmp_path / "x/run", tmp_path / "y/run"]).runs] == ["x/run", "y/run"]


def test_four_scores_are_those_of_the_summary(tmp_path):
    for seed in range(4):
        write_run(tmp_path / f"r{seed}", seed)
    runs = frames.load_runs(tmp_path / "r*")
    found = four_scores(frames.evals(runs), frames.metrics(runs))
    assert found["run"].tolist() == runs["run"].tolist()
    for name in frames.SCORES:
        np.testing.assert_allclose(found[name], runs[name], rtol=1e-6)


@pytest.mark.parametrize(("rank", "step"), [(0, 200), (1, 300), (2, 100), (7, 100)])
def test_selection_is_the_k_th_smallest_loss(rank, step):
    evaluations = pd.DataFrame({"run": "a", "step": [100, 200, 300], "value": [1.0, 2.0, 3.0]})
    logged = pd.DataFrame(
        {"run": "a", "step": [50, 100, 200, 300, 400], "p/actor/bc_loss": [1, 5, 0, 2, -9.0]}
    )
    assert four_scores(evaluations, logged, rank)["selected"][0] == step / 100


def test_without_a_loss_nothing_is_selected():
    evaluations = pd.DataFrame({"run": ["a"], "step": [1], "value": [1.0]})
    assert np.isnan(four_scores(evaluations, pd.DataFrame({"run": ["a"], "step": [1]}))["selected"][0])


def test_evaluations_and_metrics_come_as_written(tmp_path):
    write_run(tmp_path / "a", env="")
    runs = frames.load_runs(tmp_path / "a")
    evaluations, logged = frames.evals(runs), frames.metrics(runs)
    assert list(evaluations.columns) == ["run", *COLUMNS, "value"]
    assert len(evaluations) == 12 * 4
    assert logged["step"].tolist() == list(range(50, 1201, 50))
    assert "offline/critic/td_abs" in logged


@pytest.mark.parametrize(
    ("success", "values"),
    [(("True", "False"), [1.0, 0.0]), (("", ""), [12.5, 2.5]), (("True", ""), [12.5, 2.5])],
)
def test_without_a_scale_success_is_the_value_and_else_the_return(tmp_path, success, values):
    write_run(tmp_path / "a", evaluations=1)
    path = tmp_path / "a/evals.csv"
    path.write_text(f"{','.join(COLUMNS)}\n5,0,7,12.5,,{success[0]},3\n5,1,8,2.5,,{success[1]},3\n")
    found = frames.evals(frames.load_runs(tmp_path / "a"))
    assert found["value"].tolist() == values


def test_an_old_summary_in_returns_gives_no_interval_of_success(tmp_path):
    run = write_run(tmp_path / "a", evaluations=1)
    summary = json.loads((run / "summary.json").read_text())
    del summary["scale"]
    (run / "summary.json").write_text(json.dumps({**summary, "score_name": "none", "success_mean": 0.5}))
    found = frames.load_runs(run).iloc[0]
    assert found["score_name"] == "success"
    assert np.isnan(found[["last", "last_low", "best"]].astype(float)).all()


def test_a_line_still_being_written_is_left_out(tmp_path):
    write_run(tmp_path / "a", finished=False)
    for name in ("evals.csv", "metrics.csv"):
        path = tmp_path / "a" / name
        path.write_text(path.read_text() + "1250,1")
    runs = frames.load_runs(tmp_path / "a")
    assert frames.evals(runs)["step"].max() == 1200
    assert frames.metrics(runs)["step"].max() == 1200


def test_what_is_not_quite_a_run_is_said_and_the_rest_is_read(tmp_path, capsys):
    runs = frames.load_runs(str(break_runs(tmp_path / "runs") / "*"))
    assert sorted(runs["run"]) == ["bad-tables", "fresh", "going-on", "good"]
    assert runs["finished"].sum() == 1
    assert set(frames.evals(runs)["run"]) == {"going-on", "good"}
    assert set(frames.metrics(runs)["run"]) == {"going-on", "good"}
    assert len(frames.episodes(runs)) == 0
    printed = capsys.readouterr().out
    for what in (
        "empty is not a run folder", "file.txt is a file", "names no agent and phase",
        "damaged/config.json", "holds no object", "going-on has not finished", "summary.json cannot be read",
        "has no column 'step'", "episodes.parquet is left out",
    ):  # fmt: skip
        assert what in printed, what
    assert "bad-tables has not finished" not in printed  # its summary is there, and damaged
    assert all(line.startswith("note: ") for line in printed.splitlines())


@pytest.mark.parametrize("pattern", ["nothing/*", "gone"])
def test_nothing_to_read_is_one_clear_error(tmp_path, pattern):
    with pytest.raises(ValueError, match=r"no run to read.*python run.py offline"):
        frames.load_runs(tmp_path / pattern)


def test_groups_are_repeats_under_other_seeds():
    base = {"agent": "a", "sampler": "s", "seed": 0, "agent_options": {"eta": 1}, "sampler_options": {}}
    other = {**base, "seed": 1, "device": "cuda"}
    tuned = {**base, "agent_options": {"eta": 2}}
    names = group_names([base, other, tuned], ["e"] * 3)
    assert names == ["a, s, agent.eta=1", "a, s, agent.eta=1", "a, s, agent.eta=2"]


def test_options_of_different_agents_do_not_name_groups():
    a = {"agent": "a", "sampler": "s", "agent_options": {"eta": 1}}
    b = {"agent": "b", "sampler": "s", "agent_options": {"alpha": 3}}
    assert group_names([a, b], ["e", "e"]) == ["a, s", "b, s"]
    assert group_names([a, {**a, "steps": 9}], ["e", "f"]) == ["a, s", "a, s"]


def test_as_few_settings_are_named_as_tell_groups_apart():
    base = {"agent": "a", "sampler": "s", "phase": "offline", "batch_size": 1, "steps": 10}
    other = {**base, "sampler": "t", "batch_size": 2, "steps": 20}
    online = {**base, "phase": "online", "steps": 30}
    assert group_names([base, other], ["e"] * 2) == ["a, s", "a, t"]
    assert group_names([base, other, online], ["e"] * 3) == ["a, s, offline", "a, t, offline", "a, s, online"]
    tuned = [{**base, "agent_options": {"x": x, "y": y}} for x, y in ((0, 0), (0, 1), (1, 0))]
    assert group_names(tuned, ["e"] * 3) == [
        "a, s, agent.x=0, agent.y=0", "a, s, agent.x=0, agent.y=1", "a, s, agent.x=1, agent.y=0",
    ]  # fmt: skip


def test_a_metric_is_named_once():
    one, two = (
        {"agent": "a", "sampler": "p", "metric": m, "sampler_options": {"metric": m}} for m in ("x", "y")
    )
    assert group_names([one, two], ["e", "e"]) == ["a, p, sampler.metric=x", "a, p, sampler.metric=y"]


def test_differences_see_nested_and_missing_fields():
    assert flatten({"a": 1, "agent_options": {"eta": 2}}) == {"a": 1, "agent.eta": 2}
    assert differences([{"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": 2}]) == ["b"]


@pytest.fixture
def many(tmp_path):
    write_run(tmp_path / "first")
    for number in range(cache.CACHE_FROM):
        folder = tmp_path / "runs" / f"r{number:02}"
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir()
        for name in ("config.json", "evals.csv", "metrics.csv", "summary.json"):
            (folder / name).write_bytes((tmp_path / "first" / name).read_bytes())
    return tmp_path / "runs"


@pytest.mark.filterwarnings("error")
def test_wide_logs_of_different_runs_join_without_a_warning(tmp_path):
    for number in range(3):
        run = write_run(tmp_path / f"r{number}", number)
        columns = ["step", *(f"offline/part{number % 2}/{i}" for i in range(150))]
        rows = [
            ",".join(map(str, [step] + [step + 0.5 if i % 3 else "" for i in range(150)])) for step in (1, 2)
        ]
        (run / "metrics.csv").write_text("\n".join([",".join(columns), *rows]) + "\n")
    logged = frames.metrics(frames.load_runs(tmp_path / "r*"))
    assert logged.shape == (6, 302)
    assert logged["run"].tolist() == ["r0", "r0", "r1", "r1", "r2", "r2"]
    assert logged.loc[2, ["offline/part1/1", "offline/part0/1"]].isna().tolist() == [False, True]


def test_kept_tables_equal_read_ones(many, monkeypatch):
    runs = frames.load_runs(many)
    first = frames.metrics(runs)
    assert list(cache.cache_folder().glob("*.parquet"))
    monkeypatch.setattr(cache, "_fresh", None)  # nothing may be read again
    pd.testing.assert_frame_equal(frames.metrics(runs), first)


def test_only_a_changed_run_is_read_again(many, monkeypatch):
    runs = frames.load_runs(many)
    frames.evals(runs)
    path = many / "r03/evals.csv"
    path.write_text(path.read_text() + "9999,0,1,2.0,3.0,,4\n")
    read = []
    fresh = cache._fresh
    monkeypatch.setattr(
        cache, "_fresh", lambda folders, *rest: (read.extend(folders), fresh(folders, *rest))[1]
    )
    again = frames.evals(runs)
    assert read == ["r03"]
    assert again[again["step"] == 9999]["run"].tolist() == ["r03"]
    assert list(dict.fromkeys(again["run"])) == runs["run"].tolist()


def test_a_damaged_table_is_told_of_every_time(many, capsys):
    (many / "r05/metrics.csv").write_text("a,b\n1,2\n")
    runs = frames.load_runs(many)
    for _ in range(2):
        found = frames.metrics(runs)
        assert "r05" not in set(found["run"])
        assert "r05/metrics.csv is left out" in capsys.readouterr().out
        assert "r05/metrics.csv is left out" in found.attrs["notes"][0]


@pytest.mark.parametrize("damage", [b"", b"PAR1 nothing", None])
def test_a_damaged_or_unwritable_cache_does_no_harm(many, monkeypatch, damage):
    runs = frames.load_runs(many)
    first = frames.evals(runs)
    for path in cache.cache_folder().glob("*.parquet"):
        path.write_bytes(damage or b"")
    if damage is None:
        monkeypatch.setattr(cache, "cache_folder", lambda: many / "r00/config.json")  # a file, not a folder
    pd.testing.assert_frame_equal(frames.evals(runs), first)


def test_runs_of_two_places_join_in_the_order_given(many, tmp_path):
    write_run(tmp_path / "alone", evaluations=1)
    runs = frames.load_runs([tmp_path / "alone", many])
    found = frames.evals(runs)
    assert list(dict.fromkeys(found["run"]))[:2] == ["alone", "r00"]
    assert len(found) == 4 + cache.CACHE_FROM * 48


def test_a_hundred_kept_runs_load_in_a_blink(many):
    for number in range(cache.CACHE_FROM, 100):
        (many / f"r{number:02}").mkdir()
        for path in (many / "r00").iterdir():
            (many / f"r{number:02}" / path.name).write_bytes(path.read_bytes())
    runs = frames.load_runs(many)
    for read in (frames.evals, frames.metrics):
        read(runs)
    began = time.process_time()
    runs = frames.load_runs(many)
    for read in (frames.evals, frames.metrics):
        read(runs)
    assert time.process_time() - began < 1.0


def test_scores_that_are_not_numbers_are_told_of_and_the_rest_is_read(tmp_path):
    _, foreign, infinite = (write_run(tmp_path / name) for name in ("good", "foreign", "infinite"))
    (foreign / "summary.json").write_text('{"scores": {"last": 3.0}}')
    with (infinite / "evals.csv").open("a") as file:
        file.write("1300,0,1,inf,,,5\n1300,1,1,nan,,,5\n")
    pd.DataFrame({"x": [1]}).to_parquet(foreign / "episodes.parquet")
    contents = compose([tmp_path], Options(detail=0))
    printed = " ".join(contents.notes)
    assert f"{foreign / 'summary.json'} cannot be read: it is not the summary of a run" in printed
    assert f"{foreign / 'episodes.parquet'} is left out: it has no column 'draws'" in printed
    assert f"{infinite / 'evals.csv'}: 2 episodes without a finite return and score are left out" in printed
    assert set(frames.evals(frames.frame(scan(tmp_path).runs))["step"]) == set(range(100, 1300, 100))


@pytest.mark.parametrize("damage", ["3", '{"score": 3}', '{"milliseconds": {"chain": "x"}}'])
def test_a_student_without_numbers_is_told_of(tmp_path, damage):
    run = write_run(tmp_path / "a")
    (run / "summary.json").write_text(f'{{"scores": {{}}, "distilled": {damage}}}')
    assert "it is not the summary of a run" in " ".join(scan(run).notes)


def test_runs_in_an_environment_without_a_scale_are_reported_on(tmp_path):
    run = write_run(tmp_path / "a")
    summary = json.loads((run / "summary.json").read_text())
    summary["data"]["average_score"] = summary["success_mean"] = None
    (run / "summary.json").write_text(json.dumps(summary))
    assert np.isnan(frames.load_runs(run)["data_score"][0])
    assert compose([run], Options(detail=0)).sections


def test_a_table_of_episodes_that_unpacks_to_far_more_than_it_takes_is_left_out(tmp_path):
    import pyarrow
    from pyarrow import parquet

    block = pyarrow.array(np.zeros(1_000_000))
    rows = pyarrow.table({"draws": pyarrow.chunked_array([block] * 50)})  # 400 MB of zeros
    parquet.write_table(rows, tmp_path / "episodes.parquet")
    notes: list[str] = []
    assert len(read_episodes(tmp_path / "episodes.parquet", notes)) == 0
    assert f"{tmp_path}/episodes.parquet is left out: unpacks to 381 MiB, more than 50 times" in notes[0]
