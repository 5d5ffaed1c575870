"""What a report opens with, against numbers worked out from the runs' own files."""

from __future__ import annotations

import csv
import re

import numpy as np
import pandas as pd
import pytest
from synthetic import write_run

from trajrl.report.charts.calibration import calibration_chart
from trajrl.report.charts.chart import Chart, Series
from trajrl.report.page import compose, findings, html
from trajrl.report.page.contents import Table

PLAIN = compose.Options(detail=0)


@pytest.fixture
def two_runs(tmp_path):
    """A plain run, and a better one which drew 57 of 100 times from a quarter of the data."""
    for name, sampler, gain, draws in (
        ("plain", "uniform", 0.0, [24, 76]),
        ("better", "cluster", 3.0, [57, 43]),
    ):
        write_run(tmp_path / name, 0, sampler=sampler, gain=gain, solved=0.5)
        rows = {"source": ["expert", "medium"], "length": [250, 750], "draws": draws, "cluster": [0, 0]}
        more = {"returns": [9.0, 3.0], "phase": ["offline"] * 2, "td_mean": [1.0, 1.0], "alive": [True] * 2}
        pd.DataFrame({**rows, **more}).rename_axis("episode").to_parquet(tmp_path / name / "episodes.parquet")
    return tmp_path


def last_scores(folder) -> list[float]:
    with (folder / "evals.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [float(row["score"]) for row in rows if row["step"] == rows[-1]["step"]]


def test_the_first_sentences_are_the_best_score_and_what_it_drew(two_runs):
    better, plain = (np.mean(last_scores(two_runs / name)) for name in ("better", "plain"))
    said = compose.compose([two_runs], PLAIN).findings
    assert said[0].text.startswith("Of 2 runs on Hopper-v5, run better (")
    assert f"ends at score {better:.1f}, between " in said[0].text
    low, high = map(float, re.search(r"between (\S+) and ([\d.]+),", said[0].text).groups())
    assert min(last_scores(two_runs / "better")) - 0.1 < low < better < high
    assert f"and run plain lowest, at {plain:.1f}; 50% of its episodes succeed; the average" in said[0].text
    drew = "drew 57% of its steps from episodes of source expert, which are 25% of the data."
    assert said[1].text == f"diffusion_ql, cluster {drew}"


def test_every_sentence_links_to_what_shows_it(two_runs):
    page = html.render(compose.compose([two_runs], PLAIN), [])
    links = re.findall(r'<a href="#(f-[^"]+)">Show</a>', page)
    assert len(links) >= 2
    assert all(page.count(f'id="{link}"') == 1 for link in links)
    assert page.index("What was found</h2>") < page.index('id="h-runs"')


def test_the_critic_is_told_in_per_cent_of_what_followed():
    rows = pd.DataFrame({"mc": [80.0, 120.0], "q": [100.0, 124.0]})
    (over,) = [findings.critic(calibration_chart(rows, "calibration-a"))]
    assert over.text == (
        "The critic of run a overestimates what followed in the data by 12%: "
        "mean Q 112, mean return 100, over 2 steps."
    )
    under = findings.critic(calibration_chart(rows.assign(q=[20.0, 30.0]), "calibration-a"))
    assert "underestimates what followed in the data by 75%" in under.text
    assert findings.critic(calibration_chart(rows.assign(mc=0.0), "calibration-a")) is None


def test_the_loss_on_held_out_episodes_stands_beside_that_on_others():
    steps = np.array([1, 2])
    series = [
        Series("held out, g (a single run)", steps, np.array([0.9, 0.6])),
        Series("learned from, g (a single run)", steps, np.array([0.8, 0.4])),
    ]
    found = findings.held_out(Chart("held-out-bc_loss-0", "t", "c", "x", "y", series))
    assert "ends at 0.6, 50% above that on episodes it learned from (0.4)" in found.text


def test_draws_that_follow_the_data_are_said_to_do_so():
    data = Series("share of the data", np.array(["a", "b"]), np.array([0.3, 0.7]))
    own = Series("share of draws, g", data.x, np.array([0.305, 0.695]), place=1)
    chart = Chart("drawn-source-0", "t", "c", "x", "y", [data, own], kind="bars")
    run = {"run": ["r"], "group": ["g"], "phase": ["offline"]}
    found = findings.drawn(pd.DataFrame(run), "r", [chart])
    assert found.text == "g drew from each source what the data holds of it, within 1%."


def test_draws_of_an_online_run_are_said_to_be_of_both_phases():
    data = Series("share of the data", np.array(["a", "b"]), np.array([0.3, 0.7]))
    own = Series("share of draws, g", data.x, np.array([0.6, 0.4]), place=1)
    chart = Chart("drawn-source-0", "t", "c", "x", "y", [data, own], kind="bars")
    found = findings.drawn(pd.DataFrame({"run": ["r"], "group": ["g"], "phase": ["online"]}), "r", [chart])
    assert found.text.startswith(
        "g, in both phases together, drew 60% of its steps from episodes of source a"
    )


def test_what_the_online_phase_brought_is_the_run_that_gained_most():
    rows = pd.DataFrame({
        "run": ["a", "b"], "before": [10.0, 10.0], "last": [12.0, 40.0],
        "gain": [2.0, 30.0], "drop": [0.0, 5.0],
    })  # fmt: skip
    found = findings.online(Table("online", "t", "c", rows))
    assert found.text == "Online, run b went from 10 to 40; at the worst it lay 5 below where it began."
    found = findings.online(Table("online", "t", "c", rows.assign(drop=0.0)))
    assert found.text == "Online, run b went from 10 to 40, and no evaluation lay below where it began."


def test_stores_are_never_pooled_in_data_and_draws_by_source(two_runs):
    path = two_runs / "plain/versions.json"
    path.write_text(path.read_text().replace("abc", "another store"))
    shares = pd.read_parquet(two_runs / "plain/episodes.parquet").assign(length=[900, 100])
    shares.to_parquet(two_runs / "plain/episodes.parquet")
    (learning,) = (one for one in compose.compose([two_runs], PLAIN).sections if one.key == "learning")
    by_source = [one for one in learning.items if one.key.startswith("drawn-source")]
    assert sorted(one.series[0].y.tolist() for one in by_source) == [[0.25, 0.75], [0.9, 0.1]]
    assert [len(one.series) for one in by_source] == [2, 2]


def test_a_chart_alone_in_its_row_has_it_whole_and_headers_stand_over_numbers(two_runs):
    page = html.render(compose.compose([two_runs], PLAIN), [])
    for inside in re.findall(r'<div class="grid">(.*?)</section>', page, re.S):
        stretch = re.sub(r'class="(wide|block wide)"', "|", inside)
        for part in re.split(r"<(?:div|figure)[^>]*\|[^>]*>", stretch):
            figures = re.findall(r'data-kind="chart"( class="alone")?', part)
            assert [bool(one) for one in figures].count(True) == len(figures) % 2
    assert re.search(r'<th scope="col" class="number">', page)


def test_where_nothing_was_scored_there_are_three_sentences_too(tmp_path):
    write_run(tmp_path / "blind", 0, sampler="uniform")
    (tmp_path / "blind/evals.csv").unlink()
    said = [one.text for one in compose.compose([tmp_path], PLAIN).findings]
    assert said[0].startswith("Nothing scored run blind (diffusion_ql, uniform)")
    assert 3 <= len(said) <= 6
    logged = pd.read_csv(tmp_path / "blind/metrics.csv")
    losses = logged[next(name for name in logged if name.endswith("/bc_loss"))].dropna()
    assert f"went from {losses.iloc[0]:.3g} to {losses.iloc[-1]:.3g}." in " ".join(said)


def test_several_runs_without_a_score_name_the_returns_of_data_that_they_share():
    runs = pd.DataFrame({"run": ["a", "b"], "group": "g", "data": "x.h5", "data_return": [-3.25, -3.25]})
    due = "Nothing scored these 2 runs; the episodes of its data have an average return of -3.25."
    assert findings.unscored(runs).text == due.replace("its data", "their data")
    assert findings.unscored(runs.assign(data=["x.h5", "y.h5"])).text == "Nothing scored these 2 runs."


def test_a_number_that_was_logged_once_went_nowhere():
    once = Series("g (a single run)", np.array([1]), np.array([0.5]))
    chart = Chart("td-0", "TD error, Hopper-v5, offline", "c", "x", "y", [once])
    assert findings.went(chart) is None
    twice = Series("g (a single run)", np.array([1, 9]), np.array([0.5, 0.25]))
    chart = Chart("td-0", "TD error, Hopper-v5, offline", "c", "x", "y", [once, twice])
    assert findings.went(chart).text == "The TD error of g went from 0.5 to 0.25."


def test_a_heading_of_runs_without_an_environment_says_so(tmp_path):
    for name, env in (("seen", "Hopper-v5"), ("blind", "")):
        write_run(tmp_path / name, 0, env=env)
    (learning,) = (one for one in compose.compose([tmp_path], PLAIN).sections if one.key == "learning")
    titles = [item.title for item in learning.items]
    assert any(title.endswith(", no environment, offline") for title in titles)
    assert not any(", ," in title for title in titles)
