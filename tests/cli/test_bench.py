"""The benchmarks of updates and of evaluation answer with what they promise, and the plain version agrees."""

import json
from pathlib import Path

import pytest

from trajrl.cli.bench import plain
from trajrl.cli.bench.other_kinds import other_kinds, told
from trajrl.cli.bench.rounds import per_second, ratio, rounds
from trajrl.cli.main import dispatch

SMALL = ["--rounds", "2", "--updates", "1", "--batch-size", "16", "--width", "16", "--json"]


def answer(capsys, *words: str) -> dict:
    assert dispatch(["bench", *words]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_update_compares_with_the_plain_version(capsys):
    found = answer(capsys, "update", *SMALL)
    for name in ("plain", "eager", "bfloat16", "ratio", "limit_share"):
        assert found[name] > 0
    assert found["compiled"] is None
    assert found["parity_error"] < 1e-5
    assert set(found["trajectory_ql"]) == {"8", "16"}


def test_parity_notices_another_algorithm(monkeypatch):
    """A parity that says 0 whatever happens is worth nothing."""
    twin = plain.twin
    monkeypatch.setattr(plain, "twin", lambda oracle, device, **c: twin(oracle, device, **{**c, "eta": 0.5}))
    assert plain.parity(5, 2, 16, 16, "cpu") > 1e-4


def test_update_says_what_it_lacks_outside_the_repository(capsys, monkeypatch):
    monkeypatch.setattr(plain, "PLAIN", Path("nowhere/plain_dql.py"))
    assert dispatch(["bench", "update", *SMALL]) == 1
    assert "checkout of the repository" in capsys.readouterr().err


def test_evaluate_answers_with_steps_per_second(capsys):
    pytest.importorskip("mujoco")
    words = [
        "--env",
        "Hopper-v5",
        "--steps",
        "5",
        "--envs",
        "2",
        "--candidates",
        "2",
        "--rounds",
        "1",
        "--json",
    ]
    found = answer(capsys, "evaluate", *words)
    assert found["one"] > 0
    assert found["many"] > 0
    assert found["ratio_plain"] == pytest.approx(found["many"] / found["plain"])
    assert found["ratio_plain_kernels"] == pytest.approx(found["kernels"] / found["plain"])
    assert found["latency_ms"] > 0
    assert found["same_episodes"]


def test_rounds_call_everyone_in_turn():
    calls: list[str] = []
    paces = rounds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, 1)
    assert "".join(calls) == "aabb" + "abab"
    assert len(paces["a"].wall) == len(paces["b"].cpu) == 2


def test_ratio_is_the_median_within_rounds():
    assert ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == 3.0
    assert per_second([0.5, 0.25, 4.0]) == 2.0


def test_a_lost_ratio_is_named(monkeypatch):
    monkeypatch.syspath_prepend(str(plain.PLAIN.parent))
    from check import losses

    table = {"fast": 2.0, "steady": 1.0}
    assert losses(table, {"fast": 1.7, "steady": 1.5}) == []
    assert [line.split()[0] for line in losses(table, {"fast": 1.5, "steady": 0.9})] == ["fast"]


def test_ratios_are_those_of_one_kind_of_processor(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(plain.PLAIN.parent))
    import check

    monkeypatch.setattr(check, "TABLE", tmp_path / "ratios.json")
    monkeypatch.setattr(check, "kind_of", lambda cpuinfo: "amd-avx2")
    monkeypatch.setattr(check, "measure", lambda: {"fast": 1.0})
    monkeypatch.setattr("sys.argv", ["check.py"])
    check.TABLE.write_text(json.dumps({"intel-amx": {"fast": 9.0}}))
    assert check.main() == 0  # another kind's ratio is no measure
    assert "no ratios are committed for amd-avx2, only for intel-amx" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["check.py", "--write"])
    assert check.main() == 0
    assert json.loads(check.TABLE.read_text()) == {"amd-avx2": {"fast": 1.0}, "intel-amx": {"fast": 9.0}}


def test_updates_stand_beside_those_of_the_other_kind(tmp_path):
    table = tmp_path / "ratios.json"
    row = {"diffusion_ql / plain": 2.0, "bfloat16 / plain": 3.0, "evaluation of 10 / of 1": 9.0}
    table.write_text(json.dumps({"amd-avx512": row, "intel-amx": {"diffusion_ql / plain": 1.5}}))
    others = other_kinds("amd-avx512", table)
    assert others == {"intel-amx": {"diffusion_ql / plain": 1.5}}
    assert list(told("amd-avx512", others)) == [
        "this is amd-avx512; on intel-amx it was last diffusion_ql / plain 1.50"
    ]
    assert list(other_kinds("other", table)) == ["amd-avx512", "intel-amx"]
    assert other_kinds("other", tmp_path / "none.json") == {}
    assert [line.split("; ")[1] for line in told("other", {})] == [
        "no other kind of processor has a row in ratios.json"
    ]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("sampler --repeats 0", "--repeats must be at least 1; got 0"),
        ("sampler --length 0", "--length must be at least 1; got 0"),
        ("sampler --episodes 5 0", "--episodes must be at least 1; got 0"),
        ("sampler --seed -1", "--seed must not be negative; got -1"),
        ("gather --transitions 0", "--transitions must be at least 1; got 0"),
        ("store --batches 0", "--batches must be at least 1; got 0"),
        ("update --batch-size 0", "--batch-size must be at least 1; got 0"),
        ("evaluate --envs -3", "--envs must be at least 1; got -3"),
    ],
)
def test_a_size_that_cannot_be_is_refused_by_name(capsys, words, reason):
    assert dispatch(["bench", *words.split()]) == 1
    assert capsys.readouterr().err == f"error: {reason}\n"


def test_an_agent_without_candidates_is_timed_too(capsys):
    assert answer(capsys, "evaluate", "--agent", "sac", "--steps", "3", "--envs", "2", "--json")[
        "same_episodes"
    ]
