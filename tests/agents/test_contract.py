"""What every agent in AGENTS keeps to."""

from __future__ import annotations

import inspect
import io
from contextlib import nullcontext
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from flow_windows import ACT, OBS, at_anchor, generators, poisoned, random_windows, weights_of
from torch import Tensor

from trajrl.agents import AGENTS, make_agent, make_config
from trajrl.core.registry import find
from trajrl.core.rng import torch_stream
from trajrl.nets.optim import Optimiser
from trajrl.store.window import SequenceBatch, WindowSpec
from trajrl.training.resolve_config import resolve_config

ROWS = 13  # a prime that no other size is a multiple of
TINY = {"width": 16, "hidden": (16, 16), "depth": 2, "gru_width": 8, "candidates": 4, "samples": 4, "utd": 1,
    "diffusion_steps": 3, "q_start": 0, "clip": 1.0, "actor_clip": 1.0, "critic_clip": 1.0}  # fmt: skip
TINY_OF = {"edp": {"diffusion_steps": 30, "solver_steps": 4}}  # what fewer levels would not allow
OTHER_CHOICES = {
    "acfql": [{"actor": "best_of_n"}, {"q_agg": "lower"}],
    "bc_diffusion": [{"predicts": "action"}],
    "cal_ql": [{"form": "plain"}, {"calibrate": False}],
    "cql": [{"form": "plain"}],
    "dqc": [{"backup": "expectile", "q_agg": "lower"}],
    "eg_ood": [{"behaviour_steps": 1, "calibration_steps": 1}],
    "edp": [{"q_term": "crr"}, {"q_term": "iql"}, {"q_term": "awr"}],
    "stratified_ql": [{"judge": "critic", "second_q": 1.0, "second_predicts": "noise"}],
    "trajectory_ql": [
        {"expectile": 0.7, "pick": "densest", "temperature": 2.0, "critics": 3, "predicts": "action"}
    ],
}  # under which more fields are read
STATISTICS = {"obs_mean": torch.full((OBS,), 0.3), "obs_std": torch.full((OBS,), 2.0)}


def tiny(name: str, **changes: Any) -> Any:
    """Build the agent with few weights: those fields of TINY that it has."""
    known = {f.name for f in fields(find(AGENTS, name, "agent").Config)}
    values = {key: value for key, value in TINY.items() if key in known}
    values |= TINY_OF.get(name, {})
    return make_agent(name, OBS, ACT, seed=1, statistics=STATISTICS, **{**values, **changes})


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_logs_a_cloning_loss_or_refuses_to_stop_by_it(name):
    agent = tiny(name)
    logged = "actor/bc_loss" in agent.update(windows(agent), torch_stream(0, "agent", 1)).metrics
    refused = pytest.raises(ValueError, match=r"^--early-stop watches the behaviour-cloning loss")
    with nullcontext() if logged else refused:
        resolve_config({"agent": name, "early_stop": 0.1, "data": "x.h5", "preset": "standard"})


def windows(agent: Any, rows: int = ROWS) -> SequenceBatch:
    return random_windows(agent.spec, rows * getattr(agent, "updates_per_batch", 1))


def losses(agent: Any, batch: SequenceBatch, noise: Any) -> dict[str, Any]:
    """Call every loss that the agent has: name -> what it returns."""
    found = {}
    for name in ("critic_loss", "actor_loss"):
        loss = getattr(agent, name, None)
        if loss is not None:
            found[name] = loss(*taken(loss, batch, noise))
    return found


def taken(loss: Any, *arguments: Any) -> tuple[Any, ...]:
    """Return those arguments that a loss takes: not every one needs noise."""
    return arguments[: len(inspect.signature(loss).parameters)]


def flat(tree: Any) -> list[Tensor]:
    """Return the tensors of nested tuples and dicts, in order."""
    if isinstance(tree, Tensor):
        return [tree.detach()]
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in flat(tree[key])]
    if isinstance(tree, list | tuple):
        return [leaf for part in tree for leaf in flat(part)]
    return []


def same(left: Any, right: Any) -> bool:
    one, other = flat(left), flat(right)
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other))


def replaced(batch: SequenceBatch, row: int, **values: Any) -> SequenceBatch:
    """Fill fields of one row."""
    found = {name: getattr(batch, name).clone() for name in values}
    for name, value in values.items():
        found[name][row] = value
    return batch._replace(**found)


@pytest.fixture(params=sorted(AGENTS))
def agent(request: pytest.FixtureRequest) -> Any:
    return tiny(request.param)


def test_update_gives_finite_scalars_and_a_td_error_per_row(agent: Any) -> None:
    batch = windows(agent)
    update = agent.update(batch, torch_stream(0, "agent", 1))
    assert update.td_error.shape == (len(batch.steps),)
    assert (update.td_error >= 0).all()
    for name, value in update.metrics.items():
        assert "/" in name
        assert value.shape == ()
        assert not value.requires_grad
        assert torch.isfinite(value), name
    assert {"actor/grad_norm"} <= set(update.metrics)


def test_actions_are_chunks_in_the_box(agent: Any) -> None:
    for rows in (1, 3):
        actions = agent.act(at_anchor(windows(agent, rows=4), rows), generators(rows), explore=rows == 3)
        assert actions.shape == (rows, agent.spec.chunk, ACT)
        assert actions.abs().max() <= 1
        assert not actions.requires_grad


def test_what_a_row_does_depends_on_no_row_beside_it(agent: Any) -> None:
    agent.update(windows(agent), torch_stream(0, "agent", 1))
    history = at_anchor(random_windows(agent.spec, 25))
    together = agent.act(history, generators(25), explore=False)
    for first, rows in ((0, 1), (3, 1), (0, 7), (5, 10)):
        part = type(history)(*(field[first : first + rows] for field in history))
        alone = agent.act(part, generators(25)[first : first + rows], explore=False)
        assert torch.equal(alone, together[first : first + rows])


def test_losses_are_pure(agent: Any) -> None:
    batch, before = windows(agent), weights_of(agent)
    noise, state = agent.draw_noise(batch, torch_stream(0, "agent", 1)), torch.get_rng_state()
    first = losses(agent, batch, noise)
    assert first
    assert same(first, losses(agent, batch, noise))
    assert same(before, weights_of(agent))
    assert torch.equal(state, torch.get_rng_state())


def test_all_chance_comes_from_the_generators_given(agent: Any) -> None:
    other, state = tiny_like(agent), torch.get_rng_state()
    for one in (agent, other):
        one.update(windows(one), torch_stream(0, "agent", 1))
    assert same(weights_of(agent), weights_of(other))
    assert torch.equal(state, torch.get_rng_state())
    history = at_anchor(windows(agent), 2)
    assert torch.equal(*(one.act(history, generators(2), explore=True) for one in (agent, other)))


def tiny_like(agent: Any) -> Any:
    return type(agent)(OBS, ACT, agent.config, seed=1, statistics=STATISTICS)


def test_one_update_changes_every_trainable_part(agent: Any) -> None:
    before = weights_of(agent)
    agent.update(windows(agent), torch_stream(0, "agent", 1))
    trainable = {
        f"{part}.{name}"
        for part, net in agent.parts.items()
        if isinstance(net, torch.nn.Module)
        for name, parameter in net.named_parameters()
        if parameter.requires_grad
    }
    after = weights_of(agent)
    assert trainable
    assert [name for name in sorted(trainable) if torch.equal(before[name], after[name])] == []


def test_every_trainable_weight_belongs_to_exactly_one_optimiser(agent: Any) -> None:
    owned = [id(p) for part in agent.parts.values() if isinstance(part, Optimiser) for p in part.parameters]
    trainable = [
        id(parameter)
        for part in agent.parts.values()
        if isinstance(part, torch.nn.Module)
        for parameter in part.parameters()
        if parameter.requires_grad
    ]
    assert sorted(owned) == sorted(trainable)


def test_saved_and_loaded_agent_goes_on_as_the_other(agent: Any) -> None:
    for step in (1, 2):
        agent.update(windows(agent), torch_stream(0, "agent", step))
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    file.seek(0)
    loaded = type(agent)(OBS, ACT, agent.config, seed=2, statistics=STATISTICS)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    updates = [one.update(windows(one), torch_stream(0, "agent", 3)) for one in (agent, loaded)]
    assert same(updates[0], updates[1])
    assert same(weights_of(agent), weights_of(loaded))
    assert agent.updates == loaded.updates > 2 - 1


def test_padding_is_never_read(agent: Any) -> None:
    batch = windows(agent)
    noise = agent.draw_noise(batch, torch_stream(0, "agent", 1))
    clean, dirty = tiny_like(agent), tiny_like(agent)
    assert same(losses(agent, batch, noise), losses(agent, poisoned(batch), noise))
    clean.update(batch, torch_stream(0, "agent", 1))
    dirty.update(poisoned(batch), torch_stream(0, "agent", 1))
    assert same(weights_of(clean), weights_of(dirty))


def test_a_row_of_weight_zero_adds_nothing(agent: Any) -> None:
    batch = replaced(windows(agent), 4, weight=0.0)
    changed = replaced(batch, 4, obs=0.7, next_obs=-0.9, actions=0.4, rewards=5.0)
    noise = agent.draw_noise(batch, torch_stream(0, "agent", 1))
    for one, other in zip(losses(agent, batch, noise).values(), losses(agent, changed, noise).values()):
        torch.testing.assert_close(one[0], other[0], rtol=1e-6, atol=1e-7)


def test_a_row_that_is_all_padding_adds_nothing(agent: Any) -> None:
    nothing = {
        "history_mask": False,
        "action_mask": False,
        "mask": False,
        "next_history_mask": False,
        "steps": 0,
    }
    batch = replaced(windows(agent), 4, **nothing)
    changed = replaced(batch, 4, obs=0.7, next_obs=-0.9, actions=0.4, rewards=5.0, weight=3.0)
    noise = agent.draw_noise(batch, torch_stream(0, "agent", 1))
    for one, other in zip(losses(agent, batch, noise).values(), losses(agent, changed, noise).values()):
        torch.testing.assert_close(one[0], other[0], rtol=1e-6, atol=1e-7)


def permuted(tensor: Tensor, order: Tensor) -> Tensor:
    """Reorder the axis of rows, the first whose size is a multiple of ROWS, in blocks where rows repeat."""
    for axis, size in enumerate(tensor.shape):
        if size and size % ROWS == 0:
            blocks = tensor.unflatten(axis, (ROWS, size // ROWS)).index_select(axis, order)
            return blocks.flatten(axis, axis + 1)
    return tensor


def test_permuted_batch_permutes_td_error(agent: Any) -> None:
    batch, order = windows(agent), torch.arange(ROWS).flip(0).roll(4)
    noise = agent.draw_noise(batch, torch_stream(0, "agent", 1))
    if not hasattr(agent, "critic_loss"):
        return
    moved = SequenceBatch(*(None if part is None else permuted(part, order) for part in batch))
    loss, moved_noise = agent.critic_loss, type(noise)(*(permuted(part, order) for part in noise))
    one = loss(*taken(loss, batch, noise))[1]
    other = loss(*taken(loss, moved, moved_noise))[1]
    torch.testing.assert_close(one[order], other, rtol=1e-5, atol=1e-6)


def test_value_is_one_number_per_row_or_a_clear_refusal(agent: Any) -> None:
    batch = windows(agent)
    if hasattr(agent, "critic_loss"):
        assert agent.value(at_anchor(batch), batch.actions).shape == batch.steps.shape
    else:
        with pytest.raises(ValueError, match="no critic"):
            agent.value(at_anchor(batch), batch.actions)


def test_another_agents_state_is_refused(agent: Any) -> None:
    state = agent.state_dict()
    state["stranger"] = {}
    with pytest.raises(ValueError, match="stranger"):
        agent.load_state_dict(state)


def test_normalised_observations_travel_with_the_agent() -> None:
    for name in sorted(AGENTS):
        agent = tiny(name, normalize_obs=True)
        agent.update(windows(agent), torch_stream(0, "agent", 1))
        without = make_agent(name, OBS, ACT, **vars(agent.config))
        history = at_anchor(windows(agent), 2)
        with pytest.raises(ValueError, match="obs_mean"):
            without.act(history, generators(2), explore=False)
        without.load_state_dict(agent.state_dict())
        actions = [one.act(history, generators(2), explore=False) for one in (agent, without)]
        assert torch.equal(*actions)


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_every_config_field_is_read(name: str) -> None:
    kind = find(AGENTS, name, "agent")
    read: set[str] = set()

    class Recorder(kind.Config):  # type: ignore[misc, name-defined]
        def __getattribute__(self, field: str) -> Any:
            read.add(field)
            return super().__getattribute__(field)

        def validate(self) -> None:
            """A field that only validate reads is not read."""

    config = tiny(name).config
    changes = [{f.name: not getattr(config, f.name)} for f in fields(config) if f.type == "bool"]
    changes += [{f.name: 0} for f in fields(config) if f.type == "int"] + OTHER_CHOICES.get(name, [])
    for values in (vars(replace(config, **change)) for change in [{}, *changes]):
        try:
            make_config(name, **values)
            agent = kind(OBS, ACT, Recorder(**values), statistics=STATISTICS)
        except ValueError:
            continue  # not a config
        batch = windows(agent)
        for step in (1, 2, 3):  # some fields are read later than at the first update
            agent.update(batch, torch_stream(0, "agent", step))
        agent.act(at_anchor(batch, 1), generators(1), explore=True)
    if kind.takes_images:
        frames = (torch.zeros(len(batch.steps), 2 * batch.obs.shape[1], 4, 4, 3, dtype=torch.uint8),)
        seeing = kind(OBS, ACT, Recorder(**vars(config)), statistics=STATISTICS, images={"front": (4, 4, 3)})
        seeing.update(batch._replace(images=frames), torch_stream(0, "agent", 1))
    assert {f.name for f in fields(config)} - read == set()


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_presets_are_valid_configs(name: str) -> None:
    from importlib import import_module

    module = import_module(AGENTS[name].split(":")[0])
    assert {"demo", "paper", "standard"} <= set(module.PRESETS)
    for preset in module.PRESETS:
        found = module.preset(preset, "nothing-v0") if hasattr(module, "preset") else module.PRESETS[preset]
        own = {key: value for key, value in found.items() if not key.startswith("run.")}
        assert isinstance(make_config(name, **own).spec, WindowSpec)


@pytest.mark.parametrize("rate", ["gamma", "tau", "ema_decay"])
@pytest.mark.parametrize("value", [-0.1, 2.0])
def test_a_rate_outside_of_its_bounds_is_refused(rate: str, value: float) -> None:
    for name in AGENTS:
        if any(field.name == rate for field in fields(find(AGENTS, name, "agent").Config)):
            with pytest.raises(ValueError, match=f"{rate} is a share between 0 and 1; got {value}"):
                make_config(name, **{rate: value})


def test_unknown_names_and_fields_name_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'diffusion_ql'"):
        make_agent("difusion_ql", OBS, ACT)
    with pytest.raises(ValueError, match="did you mean 'eta'"):
        make_agent("diffusion_ql", OBS, ACT, etta=1.0)


def test_an_option_of_other_agents_names_the_agents_that_have_it():
    with pytest.raises(ValueError, match=r"no agent option 'horizon' of diffusion_ql; agents that have it: "):
        make_agent("diffusion_ql", 3, 2, horizon=10)
    with pytest.raises(ValueError, match=r"'horizn'; did you mean 'horizon'\?"):
        make_agent("trajectory_ql", 3, 2, horizn=10)
