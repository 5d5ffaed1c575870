"""The report as one file: what is in it, what it does without, and how it fails."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from synthetic import break_runs, write_run

from trajrl.cli.main import dispatch
from trajrl.report.charts.chart import Cloud
from trajrl.report.draw import clips
from trajrl.report.page import blocks, compose, html
from trajrl.report.page.contents import Clips, Contents, Listing, Panel, Section, Table
from trajrl.report.page.numbers import packed as pack

PLAIN = compose.Options(detail=0)


def report(capsys, *argv) -> tuple[int, dict, str]:
    code = dispatch(["report", *map(str, argv), "--json"])
    printed = capsys.readouterr()
    return code, json.loads(printed.out.splitlines()[-1]) if printed.out else {}, printed.err


class Outline(HTMLParser):
    """Collects elements, and checks that they close in order."""

    VOID = {"meta", "link", "br", "hr", "img", "input"}

    def __init__(self) -> None:
        super().__init__()
        self.open, self.found = [], []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.found if name == tag]


def outline(text: str) -> Outline:
    parser = Outline()
    parser.feed(text)
    assert parser.open == []
    return parser


def numbers(text: str) -> dict:
    return json.loads(
        re.search(r'<script id="numbers" type="application/json">(.*?)</script>', text, re.S)[1]
    )


def unpacked(packed: dict) -> np.ndarray:
    codes = np.frombuffer(base64.b64decode(packed["codes"]), "<u2")
    return np.where(codes == 65535, np.nan, packed["low"] + packed["step"] * codes)


@pytest.mark.parametrize(
    "values", [[1.0, 2.5, -3.25], [5, 70_000, 9], [0, 65_533], [4.0], [np.nan, 1.0], [np.nan], []]
)
def test_packed_numbers_come_back(values):
    values = np.array(values, float)
    found = unpacked(pack(values))
    spread = np.ptp(values[np.isfinite(values)]) if np.isfinite(values).any() else 0
    np.testing.assert_allclose(found, values, atol=spread / 65_000 / 2 + 1e-12)
    if (values == np.round(values)).all() and spread < 65_535:
        np.testing.assert_array_equal(found, values)


@pytest.fixture
def two_groups(tmp_path):
    for seed in range(2):
        write_run(tmp_path / f"runs/plain{seed}", seed)
        write_run(tmp_path / f"runs/better{seed}", seed, sampler="cluster", gain=3.0)
    return tmp_path / "runs"


def test_one_file_that_asks_for_nothing(two_groups, tmp_path, capsys):
    code, answer, _ = report(capsys, two_groups, "--out", tmp_path / "r.html", "--detail", 0)
    assert code == 0
    text = (tmp_path / "r.html").read_text()
    page = outline(text)
    assert answer["bytes"] == len(text.encode()) < html.MOST_BYTES
    assert not [a for a in page.all("script") if "src" in a]
    assert [a["href"] for a in page.all("link")] == ["data:,"]
    assert all(a["href"].startswith("#") for a in page.all("a"))
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["r.html"]


def test_every_figure_has_numbers_a_caption_and_a_table(two_groups):
    text = html.render(compose.compose([two_groups], PLAIN), [])
    body = text[: text.index('<script id="numbers"')]
    figures = re.findall(r"<figure data-key=.*?</figure>", body, re.S)
    assert len(figures) >= 5
    drawn = numbers(text)["figures"]
    for figure in figures:
        key = re.search(r'data-key="(.*?)"', figure)[1]
        assert drawn[key]["data"]
        assert "<figcaption>Look " in figure
        assert "<tbody><tr>" in figure
        assert 'role="img" aria-label="' in figure


def test_the_four_scores_stand_in_a_table_with_their_intervals(two_groups):
    contents = compose.compose([two_groups], PLAIN)
    (table,) = contents.sections[0].items
    summary = json.loads((two_groups / "plain1/summary.json").read_text())["scores"]["last"]
    row = table.rows.set_index("run").loc["plain1"]
    assert row["last"] == f"{summary['value']:.1f} ({summary['low']:.1f} to {summary['high']:.1f})"
    assert {"last", "mean of last 10", "best (oracle)", "selected", "average of the data"} <= set(table.rows)


def test_success_stands_in_the_table_with_the_interval_of_wilson(tmp_path):
    scored = write_run(tmp_path / "scored", solved=0.5)
    plain = write_run(tmp_path / "plain", solved=0.5, scaled=False, env="cube-v0")
    going_on = write_run(tmp_path / "going-on", solved=1.0, scaled=False, env="cube-v0", finished=False)
    rows = compose.compose([scored, plain, going_on], PLAIN).sections[0].items[0].rows
    printed = rows.set_index("run").loc
    assert printed["scored"]["success, last"] == "50% (15% to 85%)"
    assert printed["plain"][["last", "average of the data"]].tolist() == ["50% (15% to 85%)", "10%"]
    assert printed["going-on"][["last", "scale"]].tolist() == ["100% (51% to 100%)", "success"]


def test_settings_versions_and_commands_are_reported(two_groups):
    versions = two_groups / "better0/versions.json"
    versions.write_text(versions.read_text().replace("3.11", "3.12"))
    items = {
        item.key: item for item in compose.compose([two_groups], PLAIN).items() if not hasattr(item, "series")
    }
    settings = items["settings"].rows.set_index("setting")
    assert settings.loc["sampler"].tolist() == ["cluster", "cluster", "uniform", "uniform"]
    assert settings.loc["seed"].tolist() == ["0", "1", "0", "1"]
    assert items["versions"].rows.columns.tolist() == ["package", "better0", "better1, plain0, plain1"]
    assert items["commands"].lines["plain1"] == "python run.py offline --seed 1"


def test_settings_that_a_phase_does_not_read_are_not_told_of_it(tmp_path):
    write_run(tmp_path / "runs/before")
    write_run(tmp_path / "runs/after", phase="online", env_steps=77, from_run="runs/before")
    items = {item.key: item for item in compose.compose([tmp_path / "runs"], PLAIN).items()}
    settings = items["settings"].rows.set_index("setting")
    assert settings.loc["env_steps", ["before", "after"]].tolist() == ["not set", "77"]
    assert settings.loc["from_run", ["before", "after"]].tolist() == ["not set", "runs/before"]
    assert "" not in settings.to_numpy().ravel().tolist()


def test_an_online_run_is_told_with_what_it_cost(tmp_path):
    from trajrl.training.online import finetuning
    from trajrl.training.run_dir.evaluations import Evaluation

    write_run(tmp_path / "a", phase="online", gain=-9.0)
    rows = pd.read_csv(tmp_path / "a/evals.csv")
    rows["step"] -= 100  # the first evaluation of an online run is of the offline policy
    rows.to_csv(tmp_path / "a/evals.csv", index=False)
    items = {item.key: item for item in compose.compose([tmp_path / "a"], PLAIN).items()}
    row = items["online"].rows.iloc[0]
    rows = rows.groupby("step")
    expected = finetuning([Evaluation(step, own.to_dict("records"), None, "s") for step, own in rows])
    for name in ("before", "last", "gain", "drop", "regret"):
        assert row[name] == pytest.approx(expected[name], abs=0.006), name
    assert row["gap to the best"] >= row["regret"]
    assert items["curves-0"].x_label == "environment step"


def test_text_of_a_run_cannot_break_the_page(tmp_path):
    run = write_run(tmp_path / "a", env='</script><b>"x')
    (run / "command.txt").write_text("python run.py </script><script>alert(1)</script>")
    text = html.render(compose.compose([run], PLAIN), [])
    page = outline(text)
    assert len(page.all("script")) == 3
    assert not page.all("b")


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><script>alert(3)</script>",
)


def test_labels_and_metrics_of_strangers_cannot_break_the_page(tmp_path, capsys):
    from dataclasses import replace

    from small_runs import trained, write_store

    from trajrl.store.file.writer import StoreWriter
    from trajrl.store.store import TrajectoryStore

    store = TrajectoryStore.open(write_store(tmp_path / "x.h5", 6))
    with StoreWriter(tmp_path / "y.h5", {"actions_scaled": True, "environment": "toy:point"}) as writer:
        for i in range(6):
            writer.append(replace(store.episode(i), source=HOSTILE[i % 3]))
    trained(tmp_path / "<script>run", tmp_path / "y.h5", agent="td3_bc", sampler="uniform", steps=14)
    metrics = tmp_path / "<script>run" / "metrics.csv"
    head, *rows = metrics.read_text().splitlines()
    rows = [f"{head},offline/{HOSTILE[0]}/q", *(f"{row},1.0" for row in rows)]
    metrics.write_text("\n".join(rows) + "\n")
    report(capsys, tmp_path / "<script>run", "--videos", "0", "--out", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert [text.count(label) for label in (*HOSTILE, "<script>alert", "<img src=x", "<script>run")] == [
        0
    ] * 6
    assert text.count("&lt;img src=x") > 0
    assert len(outline(text).all("script")) == 3


def test_odd_folders_give_a_line_each_and_the_rest_is_shown(tmp_path, capsys):
    code, answer, printed = report(
        capsys, str(break_runs(tmp_path / "runs") / "*"), "--out", tmp_path / "r.html"
    )
    assert code == 0
    text = (tmp_path / "r.html").read_text()
    for what in ("empty is not a run folder", "going-on has not finished", "metrics.csv is left out"):
        assert sum(what in note for note in answer["notes"]) == 1
        assert what in text
        assert printed.count(what) == 1
    assert "fresh" in text
    assert "Traceback" not in printed


@pytest.mark.parametrize("kind", ["nothing", "empty", "foreign"])
def test_nothing_to_report_on_is_one_line(tmp_path, capsys, kind):
    place = tmp_path / kind
    if kind != "nothing":
        place.mkdir()
    if kind == "foreign":
        (place / "config.json").write_text('{"model": "gpt"}')
    code, _, printed = report(capsys, place, "--out", tmp_path / "r.html")
    assert code == 1
    assert len(printed.splitlines()) == 1
    assert printed.startswith("error: no run to report on: ")
    assert not (tmp_path / "r.html").exists()


def test_a_run_that_cannot_be_looked_into_is_told_in_its_panel(tmp_path):
    run = write_run(tmp_path / "a", data=str(tmp_path / "gone.h5"))
    contents = compose.compose([run], compose.Options(videos=0))
    (panel,) = next(section.panels for section in contents.sections if section.panels)
    assert [item.key for item in panel.items] == []
    assert [note.split(" could")[0] for note in panel.notes[:2]] == [
        "the clouds of trajectories and states", "the Q-function",
    ]  # fmt: skip
    assert "gone.h5" in panel.notes[0]
    assert "episodes.parquet is written when a run finishes" in panel.notes[-1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--format", "pdf", "--out", "x.html"], "must be a folder"),
        (["--out", "."], "is a folder; name a file"),
        (["--detail", "-1"], "must not be negative"),
        (["--checkpoint", "newest"], "a checkpoint is last, best, selected, distilled or a step"),
    ],
)
def test_wrong_options_are_refused_before_the_work(tmp_path, capsys, options, reason):
    code, _, printed = report(capsys, write_run(tmp_path / "a"), *options)
    assert code == 1
    assert reason in printed
    assert len(printed.splitlines()) == 1


def test_no_run_at_all_is_wrong(capsys):
    assert dispatch(["report"]) == 2
    assert capsys.readouterr().err == "error: name at least one run folder, such as runs/*\n"


def test_figures_for_a_paper(two_groups, tmp_path, capsys):
    out = tmp_path / "figures"
    code, answer, _ = report(capsys, two_groups, "--format", "svg", "--out", out, "--detail", 0)
    assert code == 0
    assert {"curves-0.svg", "scores-0.svg", "profiles.svg", "improvement.svg", "td-0.svg"} <= {
        p.name for p in out.iterdir()
    }
    assert len(answer["files"]) == len(list(out.iterdir()))


def contents_of(*items) -> Contents:
    return Contents("title", [], [Section("s", "Section", "intro", [], [Panel("run", list(items))])])


def test_videos_that_do_not_fit_are_left_out_with_a_line():
    def film(size):
        return clips.Clip("best", "best: episode 1", b"x" * size)

    item = Clips("videos", "Videos", "caption", [film(1000), film(6_000_000)])
    left_out: list[str] = []
    text = html.render(contents_of(item), left_out)
    assert left_out == ["the video of the best episode was left out: the page would pass 10 MB"]
    assert len(outline(text).all("video")) == 1
    assert left_out[0] in text
    assert len(text.encode()) < html.MOST_BYTES


def test_insides_of_runs_that_do_not_fit_are_left_out_with_a_line():
    rng = np.random.Generator(np.random.Philox(0))
    points = rng.normal(size=(250_000, 3))
    column = {"cluster": np.full(len(points), "cluster 0", object)}
    panels = [
        Panel(
            run,
            [
                Cloud(
                    f"c-{run}",
                    "Cloud",
                    "Look.",
                    points,
                    np.ones(3),
                    column,
                    {"episode": np.arange(len(points))},
                )
            ],
        )
        for run in ("first", "second")
    ]
    left_out: list[str] = []
    text = html.render(Contents("title", [], [Section("s", "Section", "intro", [], panels)]), left_out)
    assert left_out == ["the inside of run second was left out: the page would pass 10 MB"]
    assert list(numbers(text)["figures"]) == ["c-first"]
    assert len(text.encode()) < html.MOST_BYTES


def test_long_tables_end_with_a_line():
    rows = pd.DataFrame({"n": range(blocks.MOST_ROWS + 5), "x": np.nan, "text": "<&>"})
    text = html.render(
        contents_of(Table("t", "Table", "caption", rows), Listing("l", "Listing", {"a": "<b>"})), []
    )
    assert text.count("&lt;&amp;&gt;") == blocks.MOST_ROWS
    assert f"The first {blocks.MOST_ROWS} of {blocks.MOST_ROWS + 5} rows." in text
    assert "nan" not in text[: text.index('<script id="numbers"')]


def test_the_best_the_median_and_the_worst_episode_are_filmed():
    last = pd.DataFrame({"step": 9, "episode": range(5), "return": [3.0, 9.0, 1.0, 4.0, 5.0]})
    earlier = pd.DataFrame({"step": 1, "episode": range(5), "return": [99.0] * 5})
    assert clips.choose(pd.concat([earlier, last])) == {1: "best", 3: "median", 2: "worst"}
    assert clips.choose(last[:1]) == {0: "best"}
    assert clips.choose(last[:2]) == {1: "best", 0: "worst"}


def test_a_real_run_is_shown_from_the_inside(real_runs, tmp_path, capsys, monkeypatch):
    from trajrl.report.page import compose, html

    opened, written, open_store, block = [], [], compose.open_store, html.item_block
    monkeypatch.setattr(compose, "open_store", lambda folder: (opened.append(folder), open_store(folder))[1])
    monkeypatch.setattr(
        html, "item_block", lambda item, room: (written.append(item.key), block(item, room))[1]
    )
    code, answer, _ = report(capsys, real_runs, "--out", tmp_path / "r.html", "--videos", 0, "--detail", 1)
    assert code == 0
    assert answer["notes"] == []
    assert len(opened) == 1  # the data of one run
    assert len(written) == len(set(written))  # nothing is written twice
    drawn = numbers((tmp_path / "r.html").read_text())["figures"]
    run = "cluster-s0"
    cloud = drawn[f"trajectories-{run}"]
    assert {"cluster", "return", "source", "draws"} <= set(cloud["columns"])
    own = pd.read_parquet(real_runs / run / "episodes.parquet")
    np.testing.assert_array_equal(unpacked(cloud["columns"]["draws"]["values"]), own["draws"])
    np.testing.assert_array_equal(unpacked(cloud["label"]["episode"]), own.index)
    planes = drawn[f"q-{run}"]
    assert len(unpacked(planes["q"])) == 12 * len(planes["pairs"]) * len(unpacked(planes["grid"])) ** 2
    assert {f"q-{run}-spread", f"calibration-{run}", f"td-{run}", f"shares-{run}", f"states-{run}"} <= set(
        drawn
    )
