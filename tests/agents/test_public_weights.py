"""Weights in the public layout become an agent that samples and values exactly as their own code does."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from public_weights import ACT, LAYOUTS, OBS, ours, plain_dql, save, transitions

from trajrl.agents.base.public_weights import read

TABLES = (
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod",
    "posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
)  # fmt: skip
LAYERS = ("time_mlp.1", "time_mlp.3", "mid_layer.0", "mid_layer.2", "mid_layer.4", "final_layer")
KINDS = ("weight", "bias")
PUBLISHED_ACTOR = {*TABLES, *(f"model.{layer}.{kind}" for layer in LAYERS for kind in KINDS)}
PUBLISHED_CRITIC = {f"q{i}_model.{layer}.{kind}" for i in (1, 2) for layer in (0, 2, 4, 6) for kind in KINDS}


def public(steps: int = 5) -> plain_dql.PlainDQL:
    torch.manual_seed(1)
    return plain_dql.PlainDQL(OBS, ACT, plain_dql.Settings(), steps, width=16)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sizes_are_read_off_the_tensors(tmp_path: Path, layout: str) -> None:
    found = read(*save(public(steps=7), tmp_path, layout))
    assert (found.obs_dim, found.action_dim) == (OBS, ACT)
    assert found.config == {"diffusion_steps": 7, "schedule": "vp", "width": 16, "depth": 3}


@pytest.mark.parametrize(
    ("layout", "first"),
    [
        ("plain", ["betas", "model.mid_layer.0.weight"]),
        ("front", ["_orig_mod.betas", "_orig_mod.model.mid_layer.0.weight"]),
        ("middle", ["betas", "model._orig_mod.mid_layer.0.weight"]),
    ],
)
def test_the_fixture_has_the_published_keys(tmp_path: Path, layout: str, first: list[str]) -> None:
    actor, critic = (torch.load(path, weights_only=True) for path in save(public(), tmp_path, layout))
    assert set(first) <= set(actor)
    assert {name.replace("_orig_mod.", "") for name in actor} == PUBLISHED_ACTOR
    assert {name.replace("_orig_mod.", "") for name in critic} == PUBLISHED_CRITIC


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_weights(tmp_path: Path, layout: str) -> None:
    (tmp_path / layout).mkdir()
    plain, found = (
        read(*save(public(), tmp_path)).parts,
        read(*save(public(), tmp_path / layout, layout)).parts,
    )
    for part, weights in plain.items():
        assert found[part].keys() == weights.keys()
        assert all(torch.equal(found[part][name], value) for name, value in weights.items())


def test_weights_under_both_keys_are_refused(tmp_path: Path) -> None:
    actor, critic = save(public(), tmp_path)
    weights = torch.load(actor, weights_only=True)
    torch.save({**weights, "_orig_mod.betas": weights["betas"]}, actor)
    with pytest.raises(ValueError, match="holds weights twice"):
        read(actor, critic)


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
