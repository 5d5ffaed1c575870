"""Compiled losses are the eager ones: pure functions of static shapes."""

from __future__ import annotations

import logging
import shutil
from typing import Any

import pytest
import torch
from test_contract import losses, tiny, windows
from torch._dynamo.testing import CompileCounter
from torch._inductor import config as inductor

from trajrl.agents import AGENTS
from trajrl.core import compile
from trajrl.core.rng import torch_stream

INNER_GRADIENT = ("eg_ood", "qg")  # a gradient inside the loss: the compiler stops there and continues


def with_few(*quick: str) -> list[Any]:
    """Return every agent; those that are not named are tried in `make test-all` alone."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in sorted(AGENTS)]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop the compiler's thousands of records, which pytest would keep."""
    for logger in ("torch.__trace", "torch"):
        monkeypatch.setattr(logging.getLogger(logger), "disabled", True)


@pytest.mark.parametrize("name", with_few("acfql", "iql", "trajectory_ql"))
def test_no_loss_is_compiled_again_while_training_goes_on(name, monkeypatch):
    torch._dynamo.reset()
    counter = CompileCounter()  # runs eagerly what it is handed
    monkeypatch.setattr(compile, "BACKEND", counter)
    eager, agent = tiny(name), tiny(name)
    batch = windows(agent)
    compile.compile_losses(agent, "default")
    counts = []
    for step in range(7):
        expected = eager.update(batch, torch_stream(0, "agent", step))
        found = agent.update(batch, torch_stream(0, "agent", step))
        counts.append(counter.frame_count)
        torch.testing.assert_close(found.td_error, expected.td_error, rtol=1e-5, atol=1e-5)
        for metric, value in expected.metrics.items():
            torch.testing.assert_close(found.metrics[metric], value, rtol=1e-4, atol=1e-5)
    assert counts[0] > 0
    assert counts[3:] == [counts[2]] * 4, "a loss was compiled again"
    assert list(agent.state_dict()) == list(eager.state_dict())


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler on this machine")
@pytest.mark.parametrize("name", with_few("td3_bc"))
def test_compiled_losses_are_the_eager_ones(name: str) -> None:
    agent = tiny(name)
    batch = windows(agent)
    noise = agent.draw_noise(batch, torch_stream(0, "agent", 1))
    eager = losses(agent, batch, noise)
    for loss in eager:
        whole = name not in INNER_GRADIENT
        setattr(agent, loss, torch.compile(getattr(agent, loss), fullgraph=whole, dynamic=False))
    for loss, found in losses(agent, batch, noise).items():
        torch.testing.assert_close(found[0], eager[loss][0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "torch finds no C++ compiler that works (g++: No such file or directory;"),
        ("echo broken >&2; exit 1", "torch finds no C++ compiler that works (g++: broken;"),
        ('[ "$1" = --version ] || { echo no cc1plus >&2; exit 1; }', "g++ makes no program (no cc1plus)"),
        ("exit 0", "g++ makes no program (it says nothing and writes nothing)"),
    ],
)
def test_without_the_compiler_that_torch_takes_one_line_says_so_and_losses_stay_eager(
    script, words, monkeypatch, tmp_path, capsys
):
    other = tmp_path / "c++"  # of no use: torch takes g++, or what CXX names
    other.write_text('#!/bin/sh\nfor last; do :; done; : > "$last"\n')
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        (tmp_path / "g++").write_text(f"#!/bin/sh\n{script}\n")
    for path in tmp_path.iterdir():
        path.chmod(0o755)
    agent = tiny("td3_bc")
    with inductor.patch({"cpp.cxx": (None, "g++")}):
        compile.compile_losses(agent, "default")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("compile=default: ")
    assert words in line
    assert line.endswith("so the losses run uncompiled")
    assert "critic_loss" not in vars(agent)


def test_the_compiler_asked_is_the_one_that_torch_takes():
    from torch._inductor.cpp_builder import get_cpp_compiler

    taken = [name for name in compile.compilers() if not compile.failed(name, "--version")]
    assert taken[:1] == [get_cpp_compiler()]
