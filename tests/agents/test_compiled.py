"""Compiled losses are the eager ones: pure functions of static shapes."""

from __future__ import annotations

import logging
import shutil
from typing import Any

import pytest
import torch
from test_contract import losses, tiny, windows
from torch._dynamo.testing import CompileCounter

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


@pytest.mark.parametrize("name", with_few("acfql", "eg_ood", "iql", "trajectory_ql"))
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


def test_without_a_compiler_one_line_says_so_and_the_losses_stay_eager(monkeypatch, capsys):
    monkeypatch.setattr(compile.shutil, "which", lambda name: None)
    agent = tiny("diffusion_ql")
    compile.compile_losses(agent, "default")
    assert capsys.readouterr().out.count("no C++ compiler") == 1
    assert "critic_loss" not in vars(agent)


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


def test_a_compiler_that_is_there_and_broken_is_said_in_one_line(monkeypatch, tmp_path, capsys):
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho 'cannot execute cc1plus' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(compile.shutil, "which", lambda name: str(broken) if name == "g++" else None)
    agent = tiny("td3_bc")
    compile.compile_losses(agent, "default")
    assert (
        "makes no program (cannot execute cc1plus), so the losses run uncompiled" in capsys.readouterr().out
    )
