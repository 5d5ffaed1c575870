"""Charts from synthetic runs: what is in them, what they say of single runs, and how they are drawn."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas
from synthetic import write_run

from trajrl.report import frames, stats
from trajrl.report.charts import captions, compare, curves, sampling, style
from trajrl.report.charts.chart import Chart, Cloud, Heat, Series, in_order
from trajrl.report.draw import interactive, paper
from trajrl.report.selection import four_scores


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(3):
        write_run(folder / f"plain{seed}", seed)
        write_run(folder / f"better{seed}", seed, sampler="cluster", gain=3.0)
    write_run(folder / "alone", 7, sampler="priority")
    runs = frames.load_runs(folder / "*")
    evaluations, logged = frames.evals(runs), frames.metrics(runs)
    return runs, evaluations, logged, four_scores(evaluations, logged)


def test_a_curve_is_the_interquartile_mean_over_seeds(read):
    runs, evaluations, _, _ = read
    (chart,) = curves.learning_curves(runs, evaluations)
    printed = {one.name: one for one in chart.series if not one.faint}
    assert list(printed) == ["diffusion_ql, priority (a single run)", "diffusion_ql, cluster (3 runs)",
                          "diffusion_ql, uniform (3 runs)"]  # fmt: skip
    means = (
        evaluations[evaluations["run"].str.startswith("plain")]
        .groupby(["run", "step"], observed=True)["value"]
        .mean()
    )
    expected = [stats.iqm(own.to_numpy()) for _, own in means.groupby("step")]
    np.testing.assert_allclose(printed["diffusion_ql, uniform (3 runs)"].y, expected)
    assert sum(one.faint for one in chart.series) == 6
    assert chart.marks == {"average of the data": 25.0}


def test_a_single_run_has_a_band_over_episodes_and_no_interval_of_scores(read):
    runs, evaluations, _, scores = read
    (chart,) = curves.learning_curves(runs, evaluations)
    alone = next(one for one in chart.series if "single" in one.name)
    assert (alone.low < alone.y).all()
    (four,) = compare.score_charts(runs, scores)
    assert next(one for one in four.series if "single" in one.name).low is None


def test_environments_are_never_mixed(tmp_path):
    write_run(tmp_path / "a", env="Hopper-v5")
    write_run(tmp_path / "b", env="Walker2d-v5")
    runs = frames.load_runs(tmp_path / "*")
    charts = curves.learning_curves(runs, frames.evals(runs))
    assert [chart.title for chart in charts] == [
        "Learning curves: Hopper-v5, offline",
        "Learning curves: Walker2d-v5, offline",
    ]
    assert "Scale: gymnasium." in charts[0].caption


def test_success_has_a_curve_of_its_own_beside_the_score(tmp_path):
    for seed in range(2):
        write_run(tmp_path / f"a{seed}", seed, solved=0.75)
    runs = frames.load_runs(tmp_path / "*")
    (chart,) = curves.success_curves(runs, frames.evals(runs))
    assert chart.title == "Success rate: Hopper-v5, offline"
    assert chart.marks == {"average of the data": pytest.approx(0.1)}
    assert chart.series[-1].y.tolist() == [0.75] * 12
    assert curves.learning_curves(runs, frames.evals(runs))[0].y_label == "score"


def test_without_a_score_success_is_the_curve(tmp_path):
    write_run(tmp_path / "a", solved=0.5, scaled=False)
    runs = frames.load_runs(tmp_path / "*")
    (chart,) = curves.learning_curves(runs, frames.evals(runs))
    assert (chart.y_label, chart.series[0].y.tolist()) == ("success rate", [0.5] * 12)
    assert chart.series[0].low[0] < 0.5 < chart.series[0].high[0]
    assert "share of episodes that succeeded" in chart.caption
    assert curves.success_curves(runs, frames.evals(runs)) == []


def test_improvement_says_that_the_better_group_wins(read):
    runs, _, _, scores = read
    chart = compare.improvements(runs, scores)
    (beats,) = chart.series
    assert list(beats.x) == ["diffusion_ql, cluster beats diffusion_ql, uniform"]  # not against a single run
    assert beats.y[0] == 1.0
    assert chart.marks == {"no difference": 0.5}


def test_profiles_fall_from_one_to_none(read):
    runs, _, _, scores = read
    chart = compare.profiles(runs, scores)
    assert len(chart.series) == 2
    for one in chart.series:
        assert (np.diff(one.y) <= 0).all()
        assert one.y[-1] == 0.0


def test_several_environments_are_pooled_only_on_their_scales(tmp_path):
    for seed in range(2):
        for env in ("Hopper-v5", "Walker2d-v5"):
            write_run(tmp_path / f"{env}{seed}", seed, env=env)
    runs = frames.load_runs(tmp_path / "*")
    scores = four_scores(frames.evals(runs), frames.metrics(runs))
    chart = compare.aggregate(runs, scores)
    (group,) = chart.series
    assert group.name == "diffusion_ql, uniform (4 runs), 2 environments"
    assert group.y[0] == pytest.approx(stats.iqm(scores["last"].to_numpy()))
    assert group.low[0] <= group.y[0] <= group.high[0]
    assert compare.profiles(runs, scores) is not None
    one = runs[(runs["env"] == "Hopper-v5") | (runs["run"] == "Walker2d-v50")]
    assert compare.aggregate(one.assign(group=one["env"]), scores) is None  # each group in one environment
    unscaled = runs.assign(score_name="none")
    assert compare.aggregate(unscaled, scores) is None
    assert compare.profiles(unscaled, scores) is None
    one = unscaled[unscaled["env"] == "Hopper-v5"]
    assert compare.profiles(one, scores) is not None


def test_names_come_in_the_order_a_reader_expects():
    assert in_order(["cluster 10", "cluster 2", "b", "cluster 2"]) == ["b", "cluster 2", "cluster 10"]


def test_without_repeats_there_is_nothing_to_compare(tmp_path):
    write_run(tmp_path / "a")
    runs = frames.load_runs(tmp_path / "a")
    scores = four_scores(frames.evals(runs), frames.metrics(runs))
    assert compare.profiles(runs, scores) is None
    assert compare.improvements(runs, scores) is None


def test_what_was_logged_is_found_under_any_phase(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", phase="online")
    runs = frames.load_runs(tmp_path / "*")
    words = "key", "title", "caption", "label"
    chart = curves.logged_over_time(runs, frames.metrics(runs), "critic/td_abs", *words)
    assert len(chart.series) == 2
    assert curves.logged_over_time(runs, frames.metrics(runs), "critic/nothing", *words) is None


def test_long_curves_are_thinned_and_keep_both_ends():
    values = pd.DataFrame({"run": "a", "step": np.arange(5000), "value": 1.0})
    steps, table = curves.run_table(values)
    assert len(steps) == curves.MOST_STEPS
    assert (steps[0], steps[-1], table.shape) == (0, 4999, (1, len(steps)))


def episodes_of(run: str, draws, **columns) -> pd.DataFrame:
    count = len(draws)
    base = {"run": run, "episode": range(count), "length": 10, "returns": np.arange(count), "draws": draws,
            "source": "", "phase": "offline", "cluster": -1, "td_mean": np.nan}  # fmt: skip
    return pd.DataFrame({**base, **columns})


RUNS = pd.DataFrame({"run": ["a", "b"], "group": ["A", "B"]})


def test_draws_stand_beside_shares_of_steps():
    a = episodes_of("a", [6, 2], source=["x", "y"], length=[30, 10])
    b = episodes_of("b", [0, 4], source=["x", "y"], length=[30, 10])
    chart = sampling.drawn(RUNS, pd.concat([a, b]), "source")
    assert {one.name: one.y.tolist() for one in chart.series} == {
        "share of the data": [0.75, 0.25], "share of draws, A": [0.75, 0.25], "share of draws, B": [0.0, 1.0],
    }  # fmt: skip


def test_held_out_episodes_are_no_part_of_the_data_that_draws_stand_beside():
    rows = episodes_of("r", [1, 1, 0], length=[10, 10, 80], cluster=[0, 1, -1], alive=[True, True, False])
    chart = sampling.drawn(pd.DataFrame({"run": ["r"], "group": ["g"]}), rows, "cluster")
    assert chart.series[0].x.tolist() == ["cluster 0", "cluster 1"]
    assert chart.series[0].y.tolist() == chart.series[1].y.tolist() == [0.5, 0.5]


def test_clusters_of_a_run_without_any_say_nothing():
    a, b = episodes_of("a", [1, 3], cluster=[0, 1]), episodes_of("b", [5, 5])
    chart = sampling.drawn(RUNS, pd.concat([a, b]), "cluster")
    assert [one.name for one in chart.series] == ["share of the data", "share of draws, A"]
    assert sampling.drawn(RUNS, b, "cluster") is None
    assert sampling.drawn(RUNS, a, "phase") is None  # one phase only: nothing to tell


def test_draws_for_each_role_are_shown_beside_each_other():
    both = pd.DataFrame(
        {"run": "a", "source": ["x", "y"], "length": [6, 4], "draws": [60, 40], "policy_draws": [10, 90]}
    )
    one = pd.DataFrame({"run": "b", "source": ["x", "y"], "length": [6, 4], "draws": [30, 70]})
    chart = sampling.drawn(RUNS, pd.concat([both, one]), "source")
    shown = {series.name: series.y.tolist() for series in chart.series}
    assert shown == {
        "share of the data": [0.6, 0.4],
        "share of draws for the policy, A": [0.1, 0.9],
        "share of draws for the values, A": [0.6, 0.4],
        "share of draws, B": [0.3, 0.7],
    }
    assert len({series.place for series in chart.series}) == 4


def test_the_clusters_of_each_role_have_a_chart():
    logged = pd.DataFrame(
        {
            "run": "a", "step": [1, 2],
            **{f"offline/sampler/cluster/{c}/draw_share": [0.5, 0.5] for c in "01"},
            **{f"offline/sampler/policy/cluster/{c}/draw_share": [float(c), float(c)] for c in "01"},
        }
    )  # fmt: skip
    values, policy = (sampling.cluster_shares(logged, "a", role) for role in ("values", "policy"))
    assert [series.y.tolist() for series in values.series] == [[0.5, 0.5]] * 2
    assert [series.y.tolist() for series in policy.series] == [[0, 0], [1, 1]]
    assert values.key != policy.key
    assert sampling.cluster_shares(logged.iloc[:, :4], "a", "policy") is None


def test_a_few_young_episodes_among_many_old_ones_are_told_apart():
    episodes = pd.DataFrame({"age": [938] * 75 + [348, 201]})
    kinds, names = sampling.categories(episodes, "age")
    assert names == ["201", "348", "938"]
    assert [(kinds == name).sum() for name in names] == [1, 1, 75]
    many = pd.DataFrame({"age": [938] * 75 + list(range(10))})
    kinds, names = sampling.categories(many, "age")
    assert len(names) > 2
    assert (kinds == names[-1]).sum() >= 75


def test_numbers_fall_into_five_bands_of_equal_size():
    kinds, names = sampling.categories(episodes_of("a", range(100)), "returns")
    assert len(names) == 5
    assert [int((kinds == name).sum()) for name in names] == [20] * 5
    assert sampling.categories(episodes_of("a", range(3), returns=7.0), "returns")[1] == ["7"]


def test_shares_of_clusters_over_time_come_in_order_of_their_number():
    logged = pd.DataFrame(
        {
            "run": "a",
            "step": [1, 2],
            **{f"offline/sampler/cluster/{c}/draw_share": [0.1, 0.1] for c in (10, 2, 0)},
        }
    )
    chart = sampling.cluster_shares(logged, "a")
    assert [one.name for one in chart.series] == ["cluster 0", "cluster 2", "cluster 10"]
    assert sampling.cluster_shares(logged, "b") is None


def test_shares_over_time_are_of_the_phase_that_logged_them_and_of_its_steps_alone():
    columns = {
        f"{phase}/sampler/cluster/{c}/draw_share": np.nan for phase in ("offline", "online") for c in "01"
    }
    logged = pd.DataFrame({"run": ["a", "a", "b", "b", "b"], "step": [1, 2, 1, 2, 3], **columns})
    logged.loc[:1, "offline/sampler/cluster/0/draw_share"] = 0.25
    logged.loc[:1, "offline/sampler/cluster/1/draw_share"] = 0.75
    logged.loc[3:, ["online/sampler/cluster/0/draw_share", "online/sampler/cluster/1/draw_share"]] = 0.4
    logged["online/sampler/cluster/none/draw_share"] = [np.nan] * 4 + [0.2]
    offline, online = (sampling.cluster_shares(logged, run) for run in "ab")
    assert [one.y.tolist() for one in offline.series] == [[0.25] * 2, [0.75] * 2]
    assert [one.name for one in online.series] == ["cluster 0", "cluster 1", "no cluster"]
    assert online.series[0].x.tolist() == [2, 3]  # nothing was drawn at step 1
    assert [one.y.tolist() for one in online.series] == [[0.4, 0.4], [0.4, 0.4], [0.0, 0.2]]


def test_rows_of_an_online_run_come_by_source():
    logged = pd.DataFrame(
        {"run": "a", "step": [1, 2], "online/rows/expert": [1, 0.5], "online/rows/online": [0, 0.5]}
    )
    chart = sampling.row_shares(logged, "a")
    assert {one.name: one.y.tolist() for one in chart.series} == {"expert": [1, 0.5], "online": [0, 0.5]}
    assert sampling.row_shares(logged.drop(columns="online/rows/online"), "a") is None


def test_td_errors_of_episodes_never_drawn_are_left_out():
    own = episodes_of("a", [1, 1, 0], td_mean=[0.5, 0.25, np.nan], source=["x", "y", "y"])
    chart = sampling.td_by_episode(own, "a")
    assert {one.name: one.y.tolist() for one in chart.series} == {"x": [0.5], "y": [0.25]}
    assert sampling.td_by_episode(episodes_of("a", [1]), "a") is None


def examples() -> list:
    x = np.arange(4.0)
    lines = [
        Series("one", x, x**2, x, 2 * x**2 + 1),
        Series("behind", x, x, faint=True),
        Series("two", x, x, place=7),
    ]
    named = [Series(name, np.array(["p", "q"]), np.array([1.0, 2.0]), place=i) for i, name in enumerate("ab")]
    words = "title", "caption", "x", "y"
    cloud = {"cluster": np.array(["c0", "c1"], object), "draws": np.array([1, 2])}
    numbers = {"draws": cloud["draws"]}
    points, explained = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 0.0]]), np.array([0.6, 0.3, 0.1])
    return [
        Chart("lines", *words, lines, marks={"half": 0.5}, y_range=(0, 10)),
        Chart("dots", *words, [named[0], Series("c", named[0].x, x[:2], x[:2] - 1, x[:2] + 1, 2)], "dots"),
        Chart("bars", *words, named, "bars"),
        Chart("bins", *words, [Series("n", x, x), Series("m", x, x[::-1], place=1)], "bins"),
        Chart("shares", *words, [Series(f"s{i}", x, np.full(4, 0.125), place=i) for i in range(8)], "shares"),
        Chart("points", *words, [Series("p", x, x)], "points", diagonal="equal"),
        Cloud("groups", "title", "caption", points, explained, cloud, {"episode": np.arange(2)}),
        Cloud("numbers", "title", "caption", points, explained, numbers, {"step": np.arange(2)}),
        Heat("heat", *words, "z", x, x[:3], np.arange(12.0).reshape(3, 4), {"here": (1.0, 2.0)}),
    ]  # fmt: skip


@pytest.mark.parametrize("figure", examples(), ids=lambda figure: figure.key)
def test_every_kind_is_drawn_on_the_page_and_told_as_a_table(figure):
    drawn = interactive.draw(figure)
    assert len(drawn.data) > 0
    assert drawn.layout.font.color == style.INK["light"]
    assert len(figure.table())


def test_a_table_holds_every_number_of_the_lines_in_front():
    table = examples()[0].table()
    assert table.columns.tolist() == ["series", "x", "y", "low", "high"]
    assert table["series"].tolist() == ["one"] * 4 + ["two"] * 4
    assert table["high"].tolist()[:4] == [1.0, 3.0, 9.0, 19.0]


def test_a_heat_map_has_x_along_its_rows():
    heat = examples()[-1]
    table = heat.table()
    assert table[(table["x"] == 3.0) & (table["y"] == 1.0)]["z"].tolist() == [7.0]
    assert interactive.draw(heat).data[0].z[1][3] == 7.0


@pytest.mark.parametrize(("count", "angle"), [(8, 0), (16, 40)])
def test_names_that_would_run_into_each_other_on_paper_stand_aslant(count, angle):
    from matplotlib.figure import Figure as Canvas

    names = np.array([f"ingredient {number}" for number in range(count)])
    canvas = Canvas(figsize=(paper.WIDTH, paper.HEIGHT))
    paper.draw(Chart("k", "t", "c", "", "y", [Series("one", names, np.zeros(count))], kind="dots"), canvas)
    assert {label.get_rotation() for label in canvas.axes[0].get_xticklabels()} == {angle}


@pytest.mark.parametrize(("format", "head"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_figures_for_papers_are_the_same_bytes_every_time(tmp_path, format, head):
    chosen = examples() if format == "svg" else examples()[:2]
    first = paper.save(chosen, tmp_path / "a", format)
    again = paper.save(chosen, tmp_path / "b", format)
    assert [path.name for path in first] == [f"{figure.key}.{format}" for figure in chosen]
    for one, two in zip(first, again):
        assert one.read_bytes()[:5].startswith(head)
        assert one.read_bytes() == two.read_bytes()


def test_text_stays_text_in_svg(tmp_path):
    (path,) = paper.save(examples()[:1], tmp_path, "svg")
    assert "<text" in path.read_text()


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="pdf, svg, png; got 'gif'"):
        paper.save(examples(), tmp_path, "gif")


def test_every_colour_of_a_light_figure_has_a_partner_in_the_dark():
    partner = style.dark_of()
    for figure in examples():
        text = interactive.draw(figure).to_json()
        for colour in style.LIGHT + tuple(t["light"] for t in (style.INK, style.RULE)):
            assert colour not in text or partner[colour] != colour


def test_every_caption_says_what_to_look_for():
    texts = {name: text for name, text in vars(captions).items() if name.isupper()}
    assert len(texts) > 15
    assert all(text.startswith("Look ") and text.endswith(".") and text.isascii() for text in texts.values())


def test_a_single_evaluation_is_a_point_with_its_interval_on_an_axis_of_steps_from_none_on():
    one = Series("a", np.array([500]), np.array([11.5]), np.array([9.8]), np.array([13.0]))
    chart = Chart("c", "c", "Look.", "gradient step", "score", [one])
    drawn = interactive.draw(chart)
    assert drawn.layout.xaxis.range == (0, 550)
    assert drawn.data[-1].error_y.array == pytest.approx([1.5])
    assert drawn.data[-1].error_y.arrayminus == pytest.approx([1.7])
    canvas = Canvas()
    paper.draw(chart, canvas)
    (axes,) = canvas.axes
    assert axes.get_xlim()[0] == 0
    (point,) = axes.containers
    assert point.has_yerr
    assert point.lines[0].get_marker() == "o"


def test_draws_by_age_of_an_online_run_come_from_the_oldest_quarter_on():
    columns = {f"online/sampler/age/quarter_{k}_share": [0.1 * k, 0.25] for k in (1, 2, 3, 4)}
    logged = pd.DataFrame({"run": "a", "step": [1, 2], **columns})
    chart = sampling.age_shares(logged, "a")
    names = ["oldest quarter", "quarter 2", "quarter 3", "newest quarter"]
    assert [one.name for one in chart.series] == names
    assert chart.series[3].y.tolist() == [0.4, 0.25]
    offline = logged.rename(columns=lambda name: name.replace("online", "offline"))
    assert sampling.age_shares(offline, "a") is None
