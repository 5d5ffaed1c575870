"""Reports killed at each write: under --out stands nothing, or the report that was there, whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from faults import Nursery
from small_runs import trained, write_store
from tried import note

pytestmark = pytest.mark.timeout(int(os.environ.get("TRAJRL_FUZZ_SECONDS", "7200")))
MODULES = "plotly.graph_objects trajrl.cli.report trajrl.report.page.compose trajrl.report.page.html"
KILLS = ((1, True), (1, False), (2, False), (3, False))  # (write, torn): write, flush, rename


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    nursery = Nursery(MODULES, tmp_path_factory.mktemp("nursery") / "log")
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("run")
    store = write_store(place / "point.h5", 6)
    return trained(place / "run", store, agent="td3_bc", sampler="uniform", steps=4).folder


@pytest.mark.parametrize(
    "there", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["a report over one", "a first report"]
)
def test_a_killed_report_leaves_what_was_there_and_no_part_of_a_new_one(there, nursery, run, tmp_path):
    out = tmp_path / "report.html"
    line = ["run.py", "report", str(run), "--detail", "0", "--out", str(out)]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    whole = nursery.run(line, tmp_path)
    assert (whole.code, whole.num_writes) == (0, len({write for write, _ in KILLS})), whole.output
    made = out.read_bytes()
    out.unlink()
    if there:
        out.write_bytes(kept := made.replace(b"Skip to the report", b"Skip to the older report"))
    for write, torn in KILLS:
        assert nursery.run(line, tmp_path, after_writes=write, torn=torn).killed
        assert out.read_bytes() == kept if there else not out.exists()
    assert nursery.run(line, tmp_path).code == 0
    assert out.read_bytes() == made
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert {path: path.read_bytes() for path in before} == before
    note(len(KILLS), f"kills of report --out, {'over a report' if there else 'where there was none'}")
