"""Weights in the public layout become an agent that samples and values exactly as their own code does."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from public_weights import ACT, OBS, ours, plain_dql, save, transitions

from trajrl.agents.base.public_weights import read


def public(steps: int = 5) -> plain_dql.PlainDQL:
    torch.manual_seed(1)
    return plain_dql.PlainDQL(OBS, ACT, plain_dql.Settings(), steps, width=16)


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_sizes_are_read_off_the_tensors(tmp_path: Path, prefix: str) -> None:
    found = read(*save(public(steps=7), tmp_path, prefix))
    assert (found.obs_dim, found.action_dim) == (OBS, ACT)
    assert found.config == {"diffusion_steps": 7, "schedule": "vp", "width": 16, "depth": 3}


def test_imported_policy_and_critics_compute_the_same(tmp_path: Path) -> None:
    plain = public()
    agent = ours(plain, tmp_path)
    (obs, actions, *_), _ = transitions(0)
    noise = torch.randn(5, len(obs), ACT)
    torch.testing.assert_close(
        agent.actor.sample(obs, noise), plain.actor.sample(obs, noise), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(agent.target(obs, actions).T, torch.cat(plain.critic(obs, actions), 1))


def test_files_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    actor, critic = save(public(), tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    foreign = save(plain_dql.PlainDQL(OBS + 1, ACT, plain_dql.Settings(), width=16), other)
    with pytest.raises(ValueError, match=f"sees {OBS + 1 + ACT} numbers"):
        read(actor, foreign[1])
    with pytest.raises(ValueError, match=r"has no 'q1_model\.0\.weight'"):
        read(actor, actor)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.pth", critic)
    weights = torch.load(actor, weights_only=True)
    torch.save({**weights, "betas": torch.full((5,), 0.123)}, actor)
    with pytest.raises(ValueError, match="none of the schedules"):
        read(actor, critic)


@pytest.mark.parametrize("content", [b"", b"not weights", pickle.dumps({"betas": print}, 2)])
def test_nothing_but_weights_is_ever_loaded(tmp_path: Path, content: bytes) -> None:
    actor, critic = save(public(), tmp_path)
    actor.write_bytes(content)
    with pytest.raises(ValueError, match="not a file of weights") as error:
        read(actor, critic)
    assert "\n" not in str(error.value)


def test_something_else_than_tensors_is_refused(tmp_path: Path) -> None:
    actor, critic = save(public(), tmp_path)
    torch.save({"epoch": 3}, actor)
    with pytest.raises(ValueError, match="something else"):
        read(actor, critic)
