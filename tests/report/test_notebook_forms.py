"""What a notebook is given to show: a figure for every reader, and answers from numbers."""

from __future__ import annotations

from base64 import b64decode
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import write_run

from trajrl.report import answers, frames
from trajrl.report.charts import sampling
from trajrl.report.charts.chart import Chart, Heat, Series
from trajrl.report.draw import notebook
from trajrl.report.page.contents import Table
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore


def line(name: str = "a", value: float = 1.0) -> Series:
    return Series(name, np.array([0.0, 1.0]), np.array([0.0, value]))


@pytest.mark.parametrize(
    "figure",
    [
        Chart("k", "A line", "", "x", "y", [line()]),
        Heat("h", "A plane", "", "x", "y", "z", np.arange(2.0), np.arange(2.0), np.eye(2)),
    ],
    ids=lambda figure: figure.key,
)
def test_a_figure_has_a_form_for_every_reader(figure):
    forms = notebook.show(figure)._repr_mimebundle_()
    assert b64decode(forms["image/png"])[:8] == b"\x89PNG\r\n\x1a\n"
    assert forms["application/vnd.plotly.v1+json"]["data"]
    assert forms["text/plain"] == figure.title
    assert "text/html" not in forms  # nbconvert would take it before the picture, and it needs a script


def test_an_answer_is_read_as_it_was_written():
    said = notebook.answer(["a_b beats cluster*priority.", "x < 3."])
    assert said._repr_markdown_() == "- a\\_b beats cluster\\*priority.\n- x \\< 3."
    assert repr(said) == "a_b beats cluster*priority.\nx < 3."


def store() -> TrajectoryStore:
    """Three poor episodes of two steps and a good one of six."""
    made = TrajectoryStore()
    for length, reward, source in ((2, 1, "poor"), (2, 1, "poor"), (2, 4, "poor"), (6, 10, "good")):
        obs, actions = np.zeros((length + 1, 1), np.float32), np.zeros((length, 1), np.float32)
        rewards = np.full(length, reward, np.float32)
        made.append(Episode(obs, actions, rewards, True, source=source), "offline")
    return made


def test_the_data_is_told_by_its_sources_and_how_pure_clusters_are():
    data = store()
    data.table.set("cluster", np.array([0, 0, 1, 1]), fill=-1)
    assert answers.of_data(data, SimpleNamespace(count=2)) == [
        "The data is 4 episodes of 2 sources, 12 steps.",
        "Source good returns most, 60 on average, in 50% of the steps.",
        "Source poor returns least, 4 on average, in 50% of the steps.",
        "2 clusters of trajectories: 75% of the episodes are of the source commonest in their cluster.",
    ]


def test_draws_are_told_group_by_group_with_what_was_never_drawn(tmp_path):
    runs = frames.load_runs([write_run(tmp_path / "a", 0)])
    rows = {"run": "a", "source": ["good", "poor"], "length": [25, 75], "draws": [4, 0], "alive": True}
    episodes = pd.DataFrame(rows)
    chart = sampling.drawn(runs, episodes, "source")
    (group,) = runs["group"]
    assert answers.of_draws(runs, episodes, [chart]) == [
        f"{group} drew 100% of its steps from episodes of source good, which are 25% of the data.",
        f"Of the episodes of {group}, 50% were never drawn.",
        "No run here is longer than 1200 updates: they show how to read, and decide nothing.",
    ]
    assert answers.caveat(runs.assign(steps=5000)) == []


@pytest.mark.parametrize(("low", "words"), [(0.4, "not told apart"), (0.6, "told apart")])
def test_groups_are_told_apart_where_the_interval_leaves_out_a_half(tmp_path, low, words):
    runs = frames.load_runs([write_run(tmp_path / "a", 0)])
    scores = pd.DataFrame({"run": ["a"], "last": [60.0]})
    pair = Series("p", np.array(["a beats b"]), np.array([0.75]), np.array([low]), np.array([0.9]))
    said = answers.of_scores(runs, scores, Chart("k", "t", "c", "x", "y", [pair], "dots"))
    assert said[0].startswith("Run a (diffusion_ql, uniform) ends at score 60.0")
    assert said[1] == f"a beats b in 75% of pairs of runs, between {low:.0%} and 90%: {words}."


def test_a_critic_is_told_by_its_error_its_ranks_and_its_targets(tmp_path):
    runs = frames.load_runs([write_run(tmp_path / "a", 0)])
    steps = Series("steps", np.array([80.0, 120.0, 100.0]), np.array([90.0, 130.0, 110.0]))
    bias = pd.DataFrame({"n": [0, 5, 25], "bias": [-1.5, -1.0, 0.25]})
    said = answers.of_critic(runs, "a", Chart("c", "", "", "", "", [steps], "points"), bias)
    assert "overestimates what followed in the data by 10%" in said[0]
    assert "a rank correlation of 1.00" in said[1]
    assert said[2] == "Targets of n steps lie off the return by -1.5 at n = 0, +0.25 at n = 25."


def test_quality_and_the_online_phase_are_told_beside_chance_and_the_start(tmp_path):
    runs = frames.load_runs([write_run(tmp_path / "a", 0)])
    found = {"balanced_accuracy": 0.7, "auroc": 0.81, "expert_share": 0.25, "precision_at_share": 0.6}
    said = answers.of_quality(runs, found)
    assert "balanced accuracy 0.70, AUROC 0.81; chance gives 0.5." in said[0]
    assert said[1].startswith("That source is 25% of the steps; of as many with the highest Q, 60% are")
    rows = pd.DataFrame({"run": ["a"], "before": [10.0], "last": [15.0], "gain": [5.0], "drop": [2.0]})
    layers = Chart("r", "", "", "", "", [line("expert", 0.25), line("online", 0.75)], "shares")
    steps = pd.DataFrame({"run": ["a", "b"], "step": [400, 9000]})
    assert answers.of_online(Table("online", "", "", rows), steps, [layers]) == [
        "Online, run a went from 10 to 15; at the worst it lay 2 below where it began.",
        "The last updates came from: expert 25%, online 75%.",
        "No run here is longer than 400 environment steps: they show how to read, and decide nothing.",
    ]
