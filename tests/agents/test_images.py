"""Agents that take images: every one of them learns from them, acts on them, and cuts them as it says."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from flow_windows import generators

from tests.store.episodes import every_anchor, filmed
from trajrl import TrajectoryStore, gather, make_agent
from trajrl.agents import AGENTS
from trajrl.agents.base.images import corners, cut, moved
from trajrl.agents.base.protocol import history_of, next_history_of
from trajrl.core.registry import find
from trajrl.core.rng import torch_stream
from trajrl.store.window import WindowSpec

TAKERS = sorted(name for name in AGENTS if find(AGENTS, name, "agent").takes_images)
TINY = {
    "width": 16, "depth": 2, "gru_width": 8, "candidates": 2, "samples": 2, "diffusion_steps": 3,
    "history": 2, "horizon": 2, "chunk": 2, "critic_chunk": 2, "image_features": 6, "image_width": 0.25,
}  # fmt: skip


def stored(obs_dim: int = 2) -> TrajectoryStore:
    return TrajectoryStore.of(filmed(5, index, obs_dim) for index in range(4))


def tiny(name: str, store: TrajectoryStore, **changes: Any) -> Any:
    known = {f.name for f in fields(find(AGENTS, name, "agent").Config)}
    values = {key: value for key, value in {**TINY, **changes}.items() if key in known}
    return make_agent(name, store.obs_dim, store.action_dim, images=store.image_shapes, **values)


def sight(net: torch.nn.Module) -> list[torch.Tensor]:
    return [value.detach().clone() for name, value in net.named_parameters() if "images." in name]


@pytest.mark.parametrize("obs_dim", [0, 2])
@pytest.mark.parametrize("name", TAKERS)
def test_every_network_with_eyes_learns_to_see(name: str, obs_dim: int) -> None:
    store = stored(obs_dim)
    agent = tiny(name, store, image_shift=1, image_crop=0.3)
    eyes = {part: sight(net) for part, net in agent.parts.items() if isinstance(net, torch.nn.Module)}
    assert sum(map(bool, eyes.values())) >= 2
    batch = gather(store, every_anchor(store), agent.spec)
    for step in range(2):
        update = agent.update(batch, torch_stream(0, "agent", step))
    assert all(torch.isfinite(value) for value in update.metrics.values())
    for part, before in eyes.items():
        assert not before or any(not torch.equal(*pair) for pair in zip(before, sight(agent.parts[part])))
    actions = agent.act(history_of(batch).rows(slice(0, 3)), generators(3), explore=False)
    assert actions.shape == (3, agent.spec.chunk, store.action_dim)


@pytest.mark.parametrize("name", TAKERS)
def test_actions_depend_on_what_is_seen_and_not_on_padding(name: str) -> None:
    store = stored()
    agent = tiny(name, store)
    seen = history_of(gather(store, every_anchor(store), agent.spec)).rows(slice(0, 4))
    blind = ~seen.mask[..., None, None, None]
    padded = seen._replace(images=tuple(torch.where(blind, 200, frames).byte() for frames in seen.images))
    other = seen._replace(images=tuple(255 - frames for frames in seen.images))
    act = [agent.act(history, generators(4), explore=False) for history in (seen, padded, other)]
    assert torch.equal(act[0], act[1])
    assert not torch.equal(act[0], act[2])


@pytest.mark.parametrize("name", TAKERS)
def test_a_row_is_chosen_alike_whatever_rows_stand_beside_it(name: str) -> None:
    store = stored()
    agent = tiny(name, store)
    seen = history_of(gather(store, every_anchor(store), agent.spec))
    together = agent.act(seen.rows(slice(0, 9)), generators(9), explore=False)
    alone = agent.act(seen.rows(slice(4, 5)), generators(9)[4:5], explore=False)
    assert torch.equal(together[4:5], alone)


def test_updates_of_images_are_functions_of_their_number() -> None:
    store = stored()
    batch = gather(store, every_anchor(store), WindowSpec(2, 2, 2))
    states = []
    for _ in range(2):
        agent = tiny("acfql", store, image_shift=2)
        agent.update(batch, torch_stream(3, "agent", 7))
        states.append(torch.cat([p.detach().flatten() for p in agent.actor.parameters()]))
    assert torch.equal(*states)


@pytest.mark.parametrize("name", sorted(set(AGENTS) - set(TAKERS)))
def test_an_agent_without_eyes_refuses_images_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} takes no images, .* acfql, bc_diffusion"):
        make_agent(name, 2, 2, images={"front": (4, 5, 3)})


def test_a_cut_shows_the_image_at_its_corner_and_repeats_edges() -> None:
    frames = torch.arange(12).view(1, 1, 3, 4, 1).byte()
    assert cut(frames, torch.tensor([[1, 2]]), (2, 2))[0, 0, ..., 0].tolist() == [[6, 7], [10, 11]]
    assert cut(frames, torch.tensor([[-1, -1]]), (3, 4))[0, 0, 1, :, 0].tolist() == [0, 0, 1, 2]
    assert cut(frames, torch.tensor([[1, 0]]), (3, 4))[0, 0, ..., 0].tolist()[1:] == [[8, 9, 10, 11]] * 2


def test_every_corner_comes_and_none_beyond() -> None:
    where = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0))
    found = corners((8, 8), (6, 7), where, 1)
    assert sorted(set(found[:, 0].tolist())) == [-1, 0, 1, 2, 3]
    assert sorted(set(found[:, 1].tolist())) == [-1, 0, 1, 2]


def test_all_frames_of_a_window_are_cut_at_one_place() -> None:
    store = stored()
    one = gather(store, every_anchor(store), WindowSpec(3, 1, 1))
    flat = np.broadcast_to(np.arange(20, dtype=np.uint8).reshape(4, 5, 1), (4, 5, 3))
    same = one._replace(
        images=(torch.from_numpy(flat.copy()).expand(len(one.steps), 4, 4, 5, 3), one.images[1])
    )
    config = find(AGENTS, "acfql", "agent").Config(image_shift=2)
    front = moved(same, config, torch_stream(0, "agent", 1)).images[0]
    assert (front == front[:, :1]).all()
    assert len({row.numpy().tobytes() for row in front[:, 0]}) > 3
    there = next_history_of(moved(same, config, torch_stream(0, "agent", 1))).images[0]
    assert torch.equal(there, front[:, :3])


def test_an_image_whose_patches_do_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="image_patch 3 does not divide images of 4x5 pixels"):
        tiny("acfql", stored(), image_patch=3)


def test_distilling_does_not_drown_what_the_flow_learns_to_see() -> None:
    store = stored()
    batch = gather(store, every_anchor(store), WindowSpec(2, 2, 2))
    seen = []
    for alpha in (0.0, 1000.0):
        agent = tiny("acfql", store, alpha=alpha)
        loss, _ = agent.actor_loss(batch, agent.draw_noise(batch, torch_stream(0, "agent", 1)))
        loss.backward()
        eyes = [p.grad for name, p in agent.actor.named_parameters() if "images." in name]
        seen.append(torch.cat([grad.flatten() for grad in eyes]))
    assert torch.equal(*seen)
    assert seen[0].abs().sum() > 0
