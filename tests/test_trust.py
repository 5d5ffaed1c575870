"""The table of trust: over two tiny runs, measured once, and what the table says of known lines."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import trust
from small_runs import trained, write_store

from trajrl.training.ope import fqe
from trajrl.training.ope.question import Question

ROOT = Path(__file__).parents[1]
QUICK = Question(most=60, fitting=fqe.Config(members=2, width=8, first_updates=3, updates=3))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    store = write_store(out / "x.h5")
    trained(out / "iql", store, agent="iql", **{"agent.history": 2})
    trained(out / "clone", store, agent="bc_diffusion", **{"agent.chunk": 2})
    return out


def test_every_run_and_criterion_is_measured_once(runs, tmp_path, capsys):
    out = tmp_path / "trust.csv"
    trust.measure(runs / "iql", ("td",), QUICK, out)
    for name in ("iql", "clone"):
        trust.measure(runs / name, trust.JUDGED, QUICK, out)
    before = out.read_text()
    trust.measure(runs / "iql", trust.JUDGED, QUICK, out)
    assert out.read_text() == before
    rows = trust.kept(out)
    assert len(rows) == 2 * len(trust.JUDGED)
    reasons = {row["criterion"]: row["reason"] for row in rows if row["agent"] == "bc_diffusion"}
    assert "has no TD error" in reasons["td"]
    assert not reasons["fqe"]
    assert "iql, fqe: regret" in capsys.readouterr().out
    for row in rows:
        if not row["reason"]:
            assert float(row["regret"]) == pytest.approx(float(row["best"]) - float(row["chosen"]))
    assert "2 runs of 1 tasks, in score:" in trust.table(rows)


def test_a_run_whose_data_is_gone_is_left_out_in_a_line(runs, tmp_path, capsys):
    run = shutil.copytree(runs / "clone", tmp_path / "moved")
    config = json.loads((run / "config.json").read_text()) | {"data": "gone.h5"}
    (run / "config.json").write_text(json.dumps(config))
    trust.measure(run, ("td", "fqe"), QUICK, tmp_path / "trust.csv")
    assert "moved is left out" in capsys.readouterr().out
    assert not (tmp_path / "trust.csv").exists()  # measured once the data is there again


def made(criterion, **numbers):
    known = {"run": "a", "task": "t", "scale": "score", "reason": "", "spearman": "0.5"}
    return {**known, "criterion": criterion, **{name: str(value) for name, value in numbers.items()}}


def test_the_table_has_the_least_regret_first_and_that_of_the_last_policy_beside_it():
    rows = [
        made("td", regret=4, best=10, last=8, beats_last=0),
        made("td", regret=0, best=10, last=9, beats_last=1),
        made("fqe", regret=1, best=10, last=8, beats_last=1),
        made("fqe", regret=1, best=10, last=9, beats_last=0),
    ]
    lines = trust.table(rows).splitlines()
    assert [line.split(" | ")[0] for line in lines[4:6]] == ["| fqe", "| td"]
    cells = lines[4].split(" | ")
    assert (cells[1], cells[2], cells[4], cells[5], cells[6], cells[8]) == (
        "2",
        "1.00",
        "1.50",
        "0.50",
        "50%",
        "100% |",
    )


@pytest.mark.slow
def test_runs_that_were_never_scored_are_left_out_in_a_line(tmp_path, capsys, runs):
    (tmp_path / "empty").mkdir()
    words = ["benchmarks/trust.py", "run", str(tmp_path / "empty"), "--out", str(tmp_path / "t.csv")]
    ended = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "is not a run folder" in ended.stdout
    assert not (tmp_path / "t.csv").exists()
