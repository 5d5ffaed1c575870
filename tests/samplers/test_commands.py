"""`store cluster` and `bench sampler` as a user calls them."""

import json

import pytest
from populations import CASES, episode

from trajrl.cli.bench.sampler import make_store
from trajrl.cli.main import dispatch
from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.store.file.writer import StoreWriter
from trajrl.store.store import TrajectoryStore


@pytest.fixture
def path(tmp_path):
    with StoreWriter(tmp_path / "x.h5") as writer:
        for i in range(40):
            writer.append(episode(4 + 9 * (i % 2), 10.0 * (i % 2), seed=i))
    return tmp_path / "x.h5"


def answer(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_store_cluster_tells_the_count_its_score_and_every_cluster(path, tmp_path, capsys):
    out = tmp_path / "new" / "c.h5"
    assert dispatch(["store", "cluster", str(path), "--clusters", "auto", "--out", str(out), "--json"]) == 0
    printed = answer(capsys)
    assert printed["clusters"] == 2
    assert printed["score"] == min(printed["scores"].values())
    assert sorted(printed["scores"]) == ["2", "3", "4"]
    rows = sorted(printed["per_cluster"], key=lambda row: row["length_mean"])
    assert [(row["episodes"], row["length_mean"], row["length_std"]) for row in rows] == [
        (20, 4, 0),
        (20, 13, 0),
    ]
    assert [row["return_mean"] for row in rows] == [0, 130]
    assert [row["sources"] for row in rows] == [{"r0": 20}, {"r10": 20}]
    for what in ("return", "length", "source"):
        assert printed["explained"][what]["share"] == pytest.approx(1)
        assert 0 < printed["explained"][what]["chance"] < 0.1
    store = TrajectoryStore.open(out)
    assert store.fingerprint == TrajectoryStore.open(path).fingerprint == printed["fingerprint"]
    assert len(set(store.table.cluster.tolist())) == 2


def test_store_cluster_prints_a_table_for_people(path, tmp_path, capsys):
    assert dispatch(["store", "cluster", str(path), "--clusters", "3", "--out", str(tmp_path / "c.h5")]) == 0
    text = capsys.readouterr().out
    assert "episodes  length mean  length std  return mean" in text
    assert len([line for line in text.splitlines() if line.strip()[:1] in "012"]) >= 3
    assert "score J" in text
    assert "share of the variance of returns that the clusters explain: " in text
    assert "information shared with the source: " in text


def test_store_cluster_may_write_over_its_source_and_is_deterministic(path, capsys):
    for _ in range(2):
        assert dispatch(["store", "cluster", str(path), "--out", str(path), "--seed", "4", "--json"]) == 0
    first, second = (json.loads(x) for x in capsys.readouterr().out.splitlines())
    assert first == second


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--clusters", "400"], "400 clusters need at least 400 trajectories; there are 40"),
        (["--clusters", "some"], "clusters is a number or 'auto'; got 'some'"),
        (["--clusters", "-3"], "'clusters' is at least 1; got -3"),
    ],
)
def test_store_cluster_refuses_in_one_line(path, tmp_path, capsys, options, words):
    assert dispatch(["store", "cluster", str(path), "--out", str(tmp_path / "c.h5"), *options]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "c.h5").exists()


def test_bench_sampler_times_every_sampler(capsys):
    assert dispatch(["bench", "sampler", "--episodes", "60", "90", "--repeats", "4", "--json"]) == 0
    rows = answer(capsys)["rows"]
    assert {row["episodes"] for row in rows} == {60, 90}
    named = {expression.split("*")[0] for expression, _ in CASES.values()}
    assert {row["sampler"] for row in rows} == named | {"cluster*priority"}
    assert all(row["batch_ms"] > 0 and row["refresh_ms"] >= 0 for row in rows)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cluster", {"clusters": 4, "restarts": 1, "max_points": 2000}),
        ("cluster*priority", {"clusters": 4, "restarts": 1, "max_points": 2000}),
        ("episode", {}), ("mixture", {}), ("priority", {}), ("top", {}), ("uniform", {}), ("weighted", {}),
        ("quality", {}), ("quality", {"judge": "critic", "states": 1}),
    ],
)  # fmt: skip
def test_a_batch_from_a_hundred_thousand_episodes_takes_half_a_millisecond(large, name, options):
    import time

    sampler = make_sampler(name, large, **options)
    took = []
    for index in range(60):
        rng = stream(0, "sampler", index)
        began = time.perf_counter()
        sampler.sample(rng, 256)
        took.append(time.perf_counter() - began)
    assert sorted(took)[len(took) // 4] < 5e-4


@pytest.fixture(scope="module")
def large() -> TrajectoryStore:
    return make_store(100_000, 10, 0)


def test_store_cluster_does_not_replace_other_episodes_unasked(path, tmp_path, capsys):
    other = tmp_path / "other.h5"
    with StoreWriter(other) as writer:
        writer.append(episode(4, 0.0, seed=99))
    before, argv = other.read_bytes(), ["store", "cluster", str(path), "--clusters", "2", "--out", str(other)]
    assert dispatch(argv) == 1
    assert "holds other episodes" in capsys.readouterr().err
    assert other.read_bytes() == before
    assert dispatch([*argv, "--overwrite"]) == 0
