"""The runs of the evidence are runs that can be made, and its tables say what the lines say."""

from __future__ import annotations

import json
import re
import sys
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from trajrl.agents import AGENTS
from trajrl.agents.trajectory_ql import Config as TrajectoryConfig
from trajrl.store.episode import Episode
from trajrl.store.store import TrajectoryStore
from trajrl.store.window import Anchors, WindowSpec
from trajrl.training.config import RunConfig
from trajrl.training.presets import PRESETS
from trajrl.training.resolve_config import resolve_config

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import evidence
import evidence_runs
from evidence_data import EMBEDDED, MIXTURES, ORACLES, TOY, made
from evidence_gap import gap
from evidence_tables import read, table
from evidence_trials import FORMER, PULLED, trials


def test_every_run_has_a_folder_of_its_own_and_a_mixture_that_is_made():
    every = list(trials())
    assert len({trial.name for trial in every}) == len(every)
    assert {trial.data for trial in every} <= {*MIXTURES, *ORACLES, TOY, EMBEDDED}
    assert Path(made(EMBEDDED, Path(), Path())).is_file()
    assert all(abs(sum(shares.values()) - 1) < 1e-9 for shares in MIXTURES.values())


@pytest.mark.parametrize(
    "trial",
    [trial for trial in trials() if trial.seed == (trial.table in ("clones", "roles"))],
    ids=lambda t: t.name,
)
def test_every_cell_is_a_config_that_resolves(trial):
    words = trial.command("hopper.h5", "out")
    asked = {word[2:]: words[i + 1] for i, word in enumerate(words) if word.startswith("--")}
    asked = {name: value for name, value in asked.items() if name not in ("set", "out", "seed")}
    asked |= {"steps": int(asked["steps"])} if "steps" in asked else {}
    config = resolve_config(asked, trial.settings)
    for setting in trial.settings:
        name, _, value = setting.partition("=")
        part, dot, field = name.partition(".")
        found = getattr(config, f"{part}_options")[field] if dot else getattr(config, name)
        assert str(found).lower() == value or float(found) == float(value)


def test_short_runs_keep_the_settings_that_their_lines_were_made_with():
    defaults, demo = TrajectoryConfig(), PRESETS["demo"]
    for setting in FORMER:
        name, _, value = setting.removeprefix("agent.").partition("=")
        known = getattr(defaults, name) if setting.startswith("agent.") else demo[name]
        assert str(known) == value, setting
    assert set(PULLED) == {
        "sampler.tilt=0.8", "sampler.tilt_from=5000", "sampler.tilt_ramp=500", "sampler.describe=shape",
    }  # fmt: skip
    pulled = [trial for trial in trials() if trial.cell == "trajectory_ql, cluster"]
    assert pulled
    assert all(set(PULLED) <= set(trial.settings) for trial in pulled)


def test_the_demo_is_of_every_agent_that_learns_offline():
    online_alone = {"rlpd", "sac"}
    assert {trial.cell for trial in trials() if trial.table == "demo"} == set(AGENTS) - online_alone


def test_a_table_compares_with_uniform_sampling_by_the_same_agent():
    lines = [
        ("mix", cell, seed, score)
        for cell, scores in {
            "bc, uniform": (1, 2),
            "bc, top": (3, 4),
            "ql, uniform": (9, 9),
            "ql, top": (0, 9),
        }.items()
        for seed, score in enumerate(scores)
    ]
    rows = pd.DataFrame(lines, columns=["data", "cell", "seed", "last"])
    rows = rows.assign(mean_last_10=rows["last"], best=rows["last"], selected=rows["last"], low=0.5, high=8.5)
    found = {line.split("|")[2].strip(): line for line in table(rows).splitlines()[2:]}
    assert found["bc, top"].rstrip(" |").endswith("1.00 (1.00 to 1.00)")
    assert "| 3.5 (3.0 to 4.0) |" in found["bc, top"]
    assert "0.25" in found["ql, top"]
    assert found["bc, uniform"].rstrip(" |").endswith("2")
    single = table(rows[(rows.cell == "bc, top") & (rows.seed == 0)]).splitlines()[-1]
    assert "| 3.0 [0.5 to 8.5] | 3.0 |" in single


def test_settings_of_an_online_phase_are_fields_of_a_run():
    names = {setting.partition("=")[0] for trial in trials() for setting in trial.online_settings}
    assert names
    assert names <= {field.name for field in fields(RunConfig)}


class Valued(SimpleNamespace):
    """An agent whose value is the first number that it sees, plus a mistake."""

    device, config = "cpu", SimpleNamespace(gamma=0.9)
    spec = WindowSpec(horizon=3)

    def draw_noise(self, batch, rng):
        return SimpleNamespace(next=None)

    def next_value(self, batch, then, noise):
        return then.obs[:, -1, 0] + self.mistake


def earned(length: int, terminated: bool) -> Episode:
    """Return an episode whose observations are the returns to go, the last one that of what was cut off."""
    rewards = np.arange(1.0, length + 1)
    value = [0.0 if terminated else 7.0]
    for reward in rewards[::-1]:
        value.append(reward + 0.9 * value[-1])
    return Episode(
        obs=np.array(value[::-1], np.float32)[:, None], actions=np.zeros((length, 1), np.float32),
        rewards=rewards.astype(np.float32), terminated=terminated,
    )  # fmt: skip


def test_long_targets_agree_with_short_ones_where_values_are_those_of_the_data_and_move_by_the_mistake():
    store = TrajectoryStore.of([earned(6, True), earned(6, False)])
    episode, step = np.repeat([0, 1], 6), np.tile(np.arange(6), 2)
    anchors = Anchors(episode, step, np.ones(12, np.float32))
    right = gap(Valued(mistake=0.0), store, anchors)
    assert right["gap"] == pytest.approx(0, abs=1e-6)
    assert right["gap_size"] == pytest.approx(0, abs=1e-6)
    # A value too high by 1 lifts y_1 by 0.9 and y_k by 0.9^k, and not at all where the end is reached.
    k = np.minimum(3, 6 - step)
    ends = (episode == 0) & (step + k == 6)
    lift = np.where(ends, 0, 0.9**k) - np.where((episode == 0) & (step == 5), 0, 0.9)
    wrong = gap(Valued(mistake=1.0), store, anchors)
    near = np.concatenate([e.obs[:-1, 0] for e in (earned(6, True), earned(6, False))])
    scale = (near + np.where((episode == 0) & (step == 5), 0, 0.9)).mean()
    assert wrong["value"] == pytest.approx(scale, rel=1e-5)
    assert wrong["gap"] == pytest.approx(lift.mean() / scale, rel=1e-5)
    assert wrong["gap_size"] == pytest.approx(np.abs(lift).mean() / scale, rel=1e-5)


def test_a_sparse_task_is_told_in_per_cent_of_successes_at_every_evaluation():
    lines = [
        ("rooms", cell, seed, step, 0.1 * seed + step / 10)
        for cell in ("a", "b")
        for seed in (0, 1)
        for step in (0, 5)
    ]
    rows = pd.DataFrame(lines, columns=["data", "cell", "seed", "step", "success"])
    found = table(rows).splitlines()
    assert found[0] == "| rooms | 0 | 5 | seeds |"
    assert found[2] == "| a | 5 (0 to 10) | 55 (50 to 60) | 2 |"


def test_a_run_that_was_cut_short_goes_on_or_begins_anew(tmp_path, monkeypatch):
    lines: list[list[str]] = []

    @contextmanager
    def started(words, log):
        lines.append(words)
        yield SimpleNamespace(wait=lambda pause: 0, returncode=0)

    monkeypatch.setattr(evidence_runs, "started", started)
    begun, saved, ended = (tmp_path / name for name in ("begun", "saved", "ended"))
    for folder in (begun, saved, ended):
        (folder / "checkpoints").mkdir(parents=True)
    for folder in (saved, ended):
        (folder / "checkpoints" / "latest").write_text("x")
    (ended / "summary.json").write_text("{}")
    for folder in (begun, saved, ended):
        evidence_runs.phase(["offline"], folder)
    assert lines == [["offline"], ["offline", "--resume"]]
    assert not begun.exists()


LINE = {"data": "toy-rooms", "cell": "a", "seed": 0, "step": 5, "last": 7.0, "low": 6.0, "high": 8.0,
    "seconds": 9.0, "fingerprint": "f"}  # fmt: skip


def test_a_run_of_an_agent_that_selects_nothing_has_its_other_scores(tmp_path):
    trial = next(trial for trial in trials() if trial.table == "demo")
    one = {"value": 58.904, "low": 54.2, "high": 63.2}
    scores = {**dict.fromkeys(evidence_runs.SCORES, one), "selected": None}
    (tmp_path / "summary.json").write_text(json.dumps({"scores": scores, "seconds": 864.2}))
    found = pd.DataFrame({"step": [5, 10]})
    evidence_runs.add_scores(found, trial, tmp_path)
    assert found.iloc[-1][["last", "best", "low", "seconds"]].tolist() == [58.9, 58.9, 54.2, 864]
    assert found["selected"].isna().all()
    line = {**LINE, **found.iloc[-1].to_dict(), "selected": float("nan")}
    assert table(pd.DataFrame([line])).splitlines()[-1].split("|")[6].strip() == "none"


@pytest.mark.parametrize(
    ("again", "passes"),
    [
        ({"last": 6.5}, True),
        ({"last": 5.5}, True),  # outside of its own interval, and inside that of the cell's other seed
        ({"last": 4.9}, False),
        ({"last": 7.0, "fingerprint": "other"}, False),
    ],
)
def test_the_smoke_does_runs_again_and_fails_where_they_are_not_as_kept(again, passes, tmp_path, monkeypatch):
    trial = next(trial for trial in trials() if trial.data == TOY)
    other = {**LINE, "cell": trial.cell, "seed": 1, "low": 5.0, "high": 7.0, "seconds": 99.0}
    kept = pd.DataFrame([{**LINE, "cell": trial.cell}, other])
    for module in (evidence, evidence_runs):
        monkeypatch.setattr(module, "kept", lambda name: kept if name == trial.table else kept[:0])
    monkeypatch.setattr(evidence, "rows_of", lambda *_: pd.DataFrame([{**LINE, **again}]))
    done = []

    def run(chosen, out, policies):
        done.append((out / chosen.name / "summary.json").exists())
        (out / chosen.name).mkdir()
        (out / chosen.name / "summary.json").write_text("{}")
        return out / chosen.name

    monkeypatch.setattr(evidence, "do", run)
    for _ in range(2):
        if passes:
            evidence.smoke(tmp_path, tmp_path, 1)
        else:
            with pytest.raises(SystemExit, match=f"not as kept: {trial.name}"):
                evidence.smoke(tmp_path, tmp_path, 1)
    assert done == [False, False], "what a smoke before had done was taken for done"


@pytest.mark.parametrize(
    ("lines", "printed"),
    [
        ([LINE, LINE], "toy-rooms, a, 0, 5 is there twice"),
        ([{**LINE, "last": None}], "toy-rooms, a, 0 has no last score"),
        ([{"data": 1}], "is damaged"),
    ],
)
def test_a_damaged_table_is_one_line(lines, printed, tmp_path):
    pd.DataFrame(lines).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(SystemExit, match=f"x.csv.*{printed}"):
        read(tmp_path / "x.csv")


def test_the_verdicts_that_the_page_opens_with_hold_numbers_of_its_sections_alone():
    page = (Path(__file__).parents[1] / "docs/evidence.md").read_text()
    table, _, sections = page.partition("Five minutes")
    told = [line.split("|")[3] for line in table.splitlines() if line.startswith("| [")]
    assert len(told) == 12
    found = re.findall(r"\d[\d,]*(?:\.\d+)?", " ".join(told))
    known = set(re.findall(r"\d[\d,]*(?:\.\d+)?(?![\d])", sections))
    assert [number for number in found if number.rstrip(",") not in {one.rstrip(",") for one in known}] == []
    titles = [title.lower() for title in re.findall("^## (.*)", page, re.M)]
    heads = {re.sub(r"[^a-z0-9 -]", "", title).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\(#([^)]+)\)", table)) <= heads


def test_every_figure_of_the_docs_is_linked():
    root = Path(__file__).parents[1]
    pages = [*root.glob("docs/*.md"), *root.glob("benchmarks/*.md"), root / "README.md"]
    text = "".join(page.read_text() for page in pages)
    assert [
        path.name for path in (root / "docs/figures").iterdir() if f"figures/{path.name}" not in text
    ] == []


@pytest.mark.parametrize("page", ["benchmarks/RESULTS.md", "docs/evidence.md", "README.md"])
def test_no_figure_is_told_of_what_nobody_can_run_again(page):
    text = (Path(__file__).parents[1] / page).read_text()
    assert re.findall(r"(?i)not kept|throw-away|what led there|what was tried", text) == []
