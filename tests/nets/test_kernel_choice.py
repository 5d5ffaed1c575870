"""kernels=auto: the faster of two, timed at the start, and kept in the run's config."""

from __future__ import annotations

import json
import subprocess

import pytest
from small_runs import settings, write_store

from trajrl.cli.main import dispatch
from trajrl.core import products
from trajrl.nets import activation, kernel
from trajrl.nets.activation import use_kernel
from trajrl.nets.kernel_choice import faster, seconds_per_net
from trajrl.training import arithmetic, build
from trajrl.training.arithmetic import as_measured
from trajrl.training.config import RunConfig

needs_compiler = pytest.mark.skipif(kernel.compiled() is None, reason="no C compiler on this machine")


@pytest.fixture(autouse=True)
def torch_again():
    yield
    use_kernel(False)


@needs_compiler
@pytest.mark.parametrize(("by_kernel", "found"), [(0.5, "compiled"), (0.95, "torch"), (2.0, "torch")])
def test_the_kernel_is_used_where_it_is_faster_by_a_tenth(by_kernel, found, capsys):
    took = iter([1.0, by_kernel])
    assert faster(lambda: next(took)) == found
    assert (activation._kernel is not None) == (found == "compiled")
    assert capsys.readouterr().out.count(f"kernels={found}: two layers of 256 units") == 1


@needs_compiler
def test_each_is_timed_while_it_is_in_use():
    seen = []
    faster(lambda: seen.append(activation._kernel is not None) or 1.0)
    assert seen == [False, True]
    assert 0 < seconds_per_net() < 1


def test_without_a_compiler_it_is_torch(monkeypatch, capsys):
    monkeypatch.setattr(activation, "compiled", lambda: None)
    assert faster(lambda: 1.0) == "torch"
    assert activation._kernel is None


def test_what_was_timed_is_kept_and_not_timed_again(tmp_path, monkeypatch):
    store, out = write_store(tmp_path / "x.h5"), tmp_path / "run"
    words = ["offline", "--data", str(store), "--agent", "diffusion_ql", "--steps", "4", "--out", str(out)]
    assert dispatch([*words, "--set", "kernels=auto", *settings("diffusion_ql")]) == 0
    kept = RunConfig.load(out / "config.json").kernels
    assert kept in ("torch", "compiled")
    assert json.loads((out / "versions.json").read_text()).get("kernels", "torch") == kept
    monkeypatch.setattr(arithmetic, "faster", lambda: pytest.fail("timed again"))
    assert dispatch(["offline", "--config", str(out / "config.json"), "--out", str(tmp_path / "again")]) == 0
    assert RunConfig.load(tmp_path / "again/config.json").kernels == kept


def test_several_processes_are_told_to_name_one():
    with pytest.raises(ValueError, match="kernels=auto is for one process"):
        as_measured(RunConfig(kernels="auto"), 1, {}, 2)
    assert as_measured(RunConfig(kernels="compiled"), 1, {}, 2).kernels == "compiled"


def test_seeds_of_one_program_have_what_the_first_found(tmp_path, monkeypatch):
    store, out, found = write_store(tmp_path / "x.h5"), tmp_path / "two", iter(["compiled", "torch"])
    monkeypatch.setattr(arithmetic, "faster", lambda: next(found))
    words = ["offline", "--data", str(store), "--agent", "diffusion_ql", "--steps", "4", "--out", str(out)]
    assert dispatch([*words, "--seeds", "2", "--set", "kernels=auto", *settings("diffusion_ql")]) == 0
    kept = [RunConfig.load(out / name / "config.json").kernels for name in ("s0", "s1")]
    assert kept == ["torch" if kernel.compiled() is None else "compiled"] * 2
    said = [json.loads((out / name / "versions.json").read_text()) for name in ("s0", "s1")]
    assert [one.get("kernels", "torch") for one in said] == kept


@needs_compiler
@pytest.mark.parametrize(
    ("kernels", "faster_one", "halves", "rounds"),
    [
        ("compiled", "", True, True), ("compiled", "", False, False), ("torch", "", True, False),
        ("auto", "compiled", True, True), ("auto", "torch", True, False),
    ],
)  # fmt: skip
def test_factors_are_rounded_where_the_kernels_that_can_are_used(
    kernels, faster_one, halves, rounds, monkeypatch
):
    """What versions.json says is what is done."""
    monkeypatch.setattr(products.cpu, "precise", lambda: True)
    monkeypatch.setattr(kernel.compiled(), "halves", halves)
    monkeypatch.setattr(arithmetic, "faster", lambda: faster_one)
    try:
        _, found = arithmetic.set_arithmetic(RunConfig(matmul="fast", kernels=kernels, device="cpu"))
        assert products.kernels_round() is rounds
        assert ("in the compiled kernels" in found["matmul"]) is rounds
        assert found["matmul"].startswith("factors in bfloat16" if rounds else "float32: fast was asked for")
    finally:
        products.set_products("exact", "cpu")


@pytest.mark.parametrize(
    ("kernels", "flags", "hint"),
    [
        ("torch", "avx512f avx512_bf16", True), ("torch", "avx512f", False),
        ("compiled", "avx512f avx512_bf16", False), ("auto", "avx512f avx512_bf16", False),
    ],
)  # fmt: skip
def test_kernels_that_round_are_named_to_those_who_did_not_ask_for_them(
    kernels, flags, hint, monkeypatch, tmp_path, capsys
):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}")
    monkeypatch.setattr(products.cpu, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(products.cpu, "precise", lambda: True)
    monkeypatch.setattr(arithmetic, "compiled", lambda: None)
    monkeypatch.setattr(arithmetic, "use_kernel", lambda on: False)
    monkeypatch.setattr(arithmetic, "faster", lambda: "torch")
    arithmetic.set_arithmetic(RunConfig(matmul="fast", kernels=kernels, device="cpu"))
    assert ("--set kernels=compiled has such products" in capsys.readouterr().out) is hint


def test_a_library_that_cannot_be_loaded_leaves_torchs_operations(monkeypatch, capsys):
    tried = []
    monkeypatch.setattr(kernel, "made", lambda *words: tried.append(words[2:]) or "layers.so")
    monkeypatch.setattr(kernel.shutil, "which", lambda name: name)
    assert kernel.compiled.__wrapped__() is None
    assert tried == [("-fopenmp",), ()]
    assert "makes no kernel (layers.so: cannot open" in capsys.readouterr().out


def test_a_compiler_that_does_not_end_is_waited_for_once(monkeypatch, capsys):
    def slow(*words):
        raise subprocess.TimeoutExpired("cc", 60)

    monkeypatch.setattr(kernel, "made", slow)
    monkeypatch.setattr(kernel.shutil, "which", lambda name: name)
    assert kernel.compiled.__wrapped__() is None
    assert capsys.readouterr().out.count("it took more than 60 s") == 1


def test_a_policy_acts_exactly_however_it_was_trained(monkeypatch):
    asked = []
    monkeypatch.setattr(build, "set_arithmetic", lambda config: asked.append(config) or (1, {}))
    build.set_threads(RunConfig(matmul="fast", kernels="compiled"))
    assert [(one.matmul, one.kernels) for one in asked] == [("exact", "compiled")]
