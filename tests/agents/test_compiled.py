"""Compiled losses are the eager ones: pure functions of static shapes."""

from __future__ import annotations

import logging
import shutil

import pytest
import torch
from test_contract import losses, tiny, windows

from trajrl.agents import AGENTS
from trajrl.rng import torch_stream

INNER_GRADIENT = ("eg_ood", "qg")  # a gradient inside the loss: the compiler stops there and goes on
NAMES = [
    name if name == "diffusion_ql" else pytest.param(name, marks=pytest.mark.slow) for name in sorted(AGENTS)
]


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler on this machine")
@pytest.mark.parametrize("name", NAMES)
def test_compiled_losses_are_the_eager_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for logger in ("torch.__trace", "torch"):  # thousands of records, which pytest would keep
        monkeypatch.setattr(logging.getLogger(logger), "disabled", True)
    agent = tiny(name)
    batch = windows(agent)
    noise = agent.draw_noise(batch, torch_stream(0, "agent", 1))
    eager = losses(agent, batch, noise)
    for loss in eager:
        whole = name not in INNER_GRADIENT
        setattr(agent, loss, torch.compile(getattr(agent, loss), fullgraph=whole, dynamic=False))
    for loss, found in losses(agent, batch, noise).items():
        torch.testing.assert_close(found[0], eager[loss][0], rtol=1e-5, atol=1e-5)
