"""The page of a data set and the figure of an episode: their numbers are the store's, whatever it holds."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from episodes import counting, random_episode, write

from trajrl import Episode, TrajectoryStore
from trajrl.cli.main import dispatch
from trajrl.cli.store.sparkline import BARS, PLAIN, sparkline
from trajrl.core.rng import stream
from trajrl.report.charts.episode import (
    MOST_STEPS,
    episode_charts,
    most_moving,
    quantile_episodes,
    returns_so_far,
    thin_steps,
)
from trajrl.report.charts.space import principal
from trajrl.report.page.contents import Table
from trajrl.report.page.dataset import compose_dataset


@pytest.fixture
def path(tmp_path):
    """Forty episodes of two sources; `b` earns twice as much and always succeeds."""
    episodes = []
    for e in range(40):
        episode = random_episode(0, e, marks=True)
        reward = np.full(len(episode), 2.0 if e % 2 else 1.0)
        episodes.append(replace(episode, rewards=reward, source="ab"[e % 2], success=bool(e % 2)))
    return write(tmp_path / "x.h5", episodes, environment="E<script>", provenance={"format": "npz"})


def tables(contents) -> dict[str, Table]:
    return {item.key: item for item in contents.items() if isinstance(item, Table)}


def test_the_page_says_what_the_store_holds(path):
    store, contents = TrajectoryStore.open(path), compose_dataset(path)
    assert contents.notes == []
    assert [section.key for section in contents.sections] == [
        "facts", "episodes", "samples", "groups", "columns", "doctor", "origin",
    ]  # fmt: skip
    facts = dict(tables(contents)["facts"].rows.itertuples(index=False))
    assert facts["fingerprint"] == store.fingerprint
    assert facts["success"] == "20 succeeded, 20 did not"
    sources = tables(contents)["sources"].rows.set_index("source")
    assert sources.loc["b", "episodes"] == 20
    assert sources.loc["b", "return mean"] == pytest.approx(store.table.returns[1::2].mean(), abs=1e-3)
    numbers = tables(contents)["columns"].rows.set_index("column")
    assert list(numbers.index) == ["obs 0", "obs 1", "obs 2", "action 0", "action 1", "reward"]
    assert numbers.loc["obs 1", "max"] == pytest.approx(store.obs.base[:, 1].max())
    said = " ".join(one.text for one in contents.findings)
    assert f"40 episodes of {store.num_steps} steps" in said
    assert "20 of them succeed" in said
    assert "Of 2 sources, b earns most" in said
    assert all(one.key in {item.key for item in contents.items()} for one in contents.findings)


def test_the_doctors_findings_are_on_the_page_and_may_be_left_out(path):
    import h5py

    with h5py.File(path, "r+") as file:
        file["rewards"][3] = 7
    found = tables(compose_dataset(path))["doctor"].rows
    assert (found["level"] == "E").any()
    assert found["what"].str.contains("its content is not what was written").any()
    contents = compose_dataset(path, doctor=False)
    assert "doctor" not in tables(contents)
    assert contents.notes == ["the doctor was not asked (--no-doctor)"]


def test_edits_are_on_the_page(path, tmp_path):
    words = ["store", "filter", str(path), "--where", "source == 'b'", "--out", str(tmp_path / "y.h5")]
    assert dispatch(words) == 0
    edits = tables(compose_dataset(tmp_path / "y.h5", doctor=False))["edits"].rows
    assert edits.iloc[0].tolist()[2:5] == ["x.h5", 20, 20]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_store_of_few_episodes_has_a_page_too(tmp_path, count):
    path = write(tmp_path / "x.h5", [counting(3 + e) for e in range(count)])
    contents = compose_dataset(path)
    assert len(contents.sections) == (6 if count == 1 else 7)
    assert len(contents.notes) == (count == 1)


def test_many_sources_are_told_apart_by_phase(tmp_path):
    path = write(tmp_path / "x.h5", [counting(3, source=f"s{e}") for e in range(30)])
    assert list(tables(compose_dataset(path, doctor=False))["sources"].rows["phase"]) == ["offline"]


def test_the_command_writes_one_file_that_holds_everything(path, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert dispatch(["store", "page", str(path), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert found["page"] == str(out)
    text = out.read_text()
    assert "E<script>" not in text
    assert "default-src 'none'" in text
    numbers = json.loads(
        re.search(r'<script id="numbers" type="application/json">(.*?)</script>', text, re.DOTALL)[1]
    )
    assert {"histogram-returns", "return-by-length", "trajectories"} <= set(numbers["figures"])
    ids = re.findall(r' id="([^"]+)"', text[: text.index('<script id="numbers"')])
    assert len(ids) == len(set(ids))
    assert "numbers" not in ids  # the script looks for it
    assert (
        dispatch(["store", "page", str(path), "--out", str(out), "--no-doctor"]) == 0
    )  # a page replaces a page
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    assert dispatch(["store", "page", str(path), "--out", str(mine)]) == 1
    assert mine.read_text() == "mine"


def test_charts_of_an_episode_show_its_numbers():
    episode = counting(5)
    rewards, grown, actions, obs = episode_charts(episode, "k", "episode 3")
    assert rewards.series[0].y.tolist() == [1] * 5
    assert grown.series[0].y.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(actions.series[0].y, episode.actions[:, 0])
    assert obs.series[0].x.tolist() == [0, 1, 2, 3, 4, 5]
    assert obs.title == "Observations, episode 3"
    wide = random_episode(0, 4, obs_dim=9)
    assert "(6 of 9 dimensions, which move most)" in episode_charts(wide, "k", "episode 4")[3].title


def test_few_points_of_many_columns_lie_where_the_longer_way_puts_them():
    x = stream(0, "test").standard_normal((8, 12)) * np.arange(1, 13)
    points, explained = principal(x, [12])
    scaled = (x - x.mean(0)) / x.std(0) / np.sqrt(12)
    value, axes = np.linalg.eigh(scaled.T @ scaled)
    expected = scaled @ axes[:, ::-1][:, :3]
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-5)
    np.testing.assert_allclose(explained, value[::-1][:3] / value.sum(), atol=1e-6)


def test_a_store_of_images_has_a_page_and_its_episodes_their_brightness(tmp_path, capsys):
    episodes = [
        Episode(np.zeros((4, 0)), np.zeros((3, 2)), np.full(3, e), False, images={
            "front": np.full((4, 5, 6, 3), 51 * np.arange(4).reshape(4, 1, 1, 1), np.uint8)
        }) for e in range(4)
    ]  # fmt: skip
    path = write(tmp_path / "x.h5", episodes)
    contents = compose_dataset(path)
    facts = dict(tables(contents)["facts"].rows.itertuples(index=False))
    assert facts["observations"] == "front 5x6x3"
    (note,) = contents.notes  # there are no vectors to group trajectories by
    assert note.startswith("'Groups of trajectories' could not be shown: ")
    (bright,) = [item for item in contents.items() if item.key == "sample-images-front"]
    np.testing.assert_allclose(bright.series[0].y, [0, 0.2, 0.4, 0.6])
    assert dispatch(["store", "show", str(path), "--episode", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert found["observation"] == "front 5x6x3"
    assert found["columns"]["brightness of front"]["max"] == pytest.approx(0.6)
    for words in (
        ["filter", str(path), "--where", "episode > 0"],
        ["relabel", str(path), "--reward-scale", "2"],
    ):
        assert dispatch(["store", *words, "--out", str(tmp_path / "y.h5"), "--overwrite"]) == 0
        new = TrajectoryStore.open(tmp_path / "y.h5").episode(0)
        np.testing.assert_array_equal(new.images["front"], episodes[0].images["front"])


def test_samples_go_from_the_least_return_to_the_most():
    store = TrajectoryStore.of(counting(n) for n in (9, 3, 7, 1, 5))
    assert quantile_episodes(store) == [3, 1, 4, 2, 0]
    assert quantile_episodes(store, 2) == [3, 0]
    chart = returns_so_far(store, [3, 0])
    assert [one.y.tolist() for one in chart.series] == [[1], [1, 2, 3, 4, 5, 6, 7, 8, 9]]


def test_long_episodes_are_thinned_and_it_is_said():
    steps, thinned = thin_steps(5000)
    assert (len(steps), steps[0], steps[-1], thinned) == (MOST_STEPS, 0, 4999, True)
    assert "(at 1000 of 1500 steps)" in episode_charts(counting(1500), "k", "episode 0")[0].title
    assert most_moving(np.array([[0, 9, 1], [0, -9, 2]]), 2).tolist() == [1, 2]


def test_a_sparkline_rises_with_its_numbers():
    assert sparkline(np.arange(8), 20, BARS) == BARS
    assert sparkline(np.repeat(np.arange(8), 5), 8, PLAIN) == PLAIN
    assert sparkline(np.ones(3), 8, PLAIN) == "___"
    assert sparkline(np.array([np.nan, 0, 1]), 8, PLAIN) == " _#"
    assert sparkline(np.full(2, np.nan), 8, PLAIN) == "  "


def test_show_answers_and_prints_one_episode(path, capsys):
    assert dispatch(["store", "show", str(path), "--episode", "7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    episode = TrajectoryStore.open(path).episode(7)
    assert (found["length"], found["source"], found["success"]) == (len(episode), "b", "yes")
    assert found["columns"]["reward"] == {"min": 2.0, "mean": 2.0, "max": 2.0}
    assert found["columns"]["obs 2"]["max"] == pytest.approx(episode.obs[:, 2].max())
    assert dispatch(["store", "show", str(path), "--episode", "7", "--dims", "1"]) == 0
    said = capsys.readouterr().out
    assert "obs: 2 of 3 dimensions are not shown (--dims)" in said
    assert "extras/terminal" in said


@pytest.mark.parametrize("ending", [pytest.param("png", marks=pytest.mark.slow), "svg", "html"])
def test_show_draws_and_replaces_only_what_trajrl_drew(path, tmp_path, capsys, ending):
    out = tmp_path / f"e.{ending}"
    words = ["store", "show", str(path), "--episode", "7", "--out", str(out)]
    assert dispatch(words) == 0
    first = out.read_bytes()
    assert len(first) > 5000
    assert dispatch(words) == 0
    assert out.read_bytes() == first
    out.write_text("mine")
    assert dispatch(words) == 1
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--episode", "40"], "no episode 40; the store has those from 0 to 39"),
        (["--episode", "-1"], "no episode -1"),
        (["--episode", "1", "--out", "x.txt"], "ends in none of .html"),
        (["--episode", "1", "--dims", "0"], "--dims must be at least 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_one_line(path, capsys, words, says):
    assert dispatch(["store", "show", str(path), *words]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line
