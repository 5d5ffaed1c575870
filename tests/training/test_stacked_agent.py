"""Several seeds as one program: an agent learns and acts in a stack as alone, and no seed sees another."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
from flow_windows import ACT, OBS, at_anchor, generators, random_windows
from test_contract import OTHER_CHOICES, STATISTICS, TINY, TINY_OF, flat, same
from test_images import TAKERS, stored, tiny
from torch import Tensor, nn

from tests.store.episodes import every_anchor
from trajrl import gather
from trajrl.agents import AGENTS, make_agent
from trajrl.core import cpu, products
from trajrl.core.registry import find
from trajrl.core.rng import torch_stream
from trajrl.nets import fused
from trajrl.nets.activation import use_kernel
from trajrl.nets.fused import of_every_seed
from trajrl.nets.kernel import compiled
from trajrl.nets.optim import Optimiser
from trajrl.training.run_dir.checkpoint_parts import write_part
from trajrl.training.stacked_acting import act
from trajrl.training.stacked_agent import StackedAgent, require_stackable
from trajrl.training.tensor_trees import mapped, stacked

SEEDS, ROWS, UPDATES, FEW_UPDATES, CLOSE = 3, 13, 50, 10, 1e-4
MOVING = {"ema_every": 3, "ema_start": 4, "decay": "update", "decay_steps": 80}
CASES = [(name, {}) for name in sorted(AGENTS)]
CASES += [(name, choice) for name, choices in OTHER_CHOICES.items() for choice in choices]
CASES += [
    ("trajectory_ql", {"chunk": 3, "critic_chunk": 2, "horizon": 4, "history": 3, "beta": 0.5}),
    (
        "trajectory_ql",
        {"q_start": 5, "q_ramp": 4, "share_encoder": True, "critic_context": "context", "predicts": "action"},
    ),
    ("acfql", {"chunk": 3, "history": 2}),
    ("rlpd", {"utd": 3, "chunk": 2, "horizon": 2}),
    ("iql", {"history": 3, "horizon": 4, "dropout": 0.1}),
    ("td3_bc", {"history": 3, "horizon": 4, "policy_delay": 3, "normalize_obs": True}),
    ("eg_ood", {"behaviour_steps": 3, "calibration_steps": 2, "history": 2}),
    ("stratified_ql", {"subsample": 90, "refresh_every": 7}),
    (
        "stratified_ql",
        {
            "judge": "critic",
            "subsample": 90,
            "refresh_every": 7,
            "fraction_steps": 20,
            "history": 2,
            "second_q": 0.5,
        },
    ),
]
QUICK = [case for case in CASES[-8:] if case[0] in ("rlpd", "td3_bc")]  # make test-all has every case
FEW = [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES]
THROUGH_KERNELS = ("trajectory_ql", "rlpd")  # of the last cases, in every run of the tests
COMPILED = [
    pytest.param(*case, marks=() if case in CASES[-8:] and case[0] in THROUGH_KERNELS else pytest.mark.slow)
    for case in CASES
]


def seed_of(name: str, seed: int, choice: dict[str, Any]) -> Any:
    """Build one seed's agent of few weights, whose rates and averages move from update to update."""
    known = {field.name for field in fields(find(AGENTS, name, "agent").Config)}
    values = {key: value for key, value in {**TINY, **MOVING}.items() if key in known}
    options = {**values, **TINY_OF.get(name, {}), **choice}
    return make_agent(name, OBS, ACT, seed=seed, statistics=STATISTICS, **options)


def agents_of(name: str, choice: dict[str, Any]) -> list[Any]:
    return [seed_of(name, seed, choice) for seed in range(SEEDS)]


def batches(agents: list[Any], step: int) -> list[Any]:
    """Draw every seed's own windows."""
    return [
        random_windows(one.spec, ROWS * one.updates_per_batch, seed=100 * step + s)
        for s, one in enumerate(agents)
    ]


def rngs(step: int) -> list[torch.Generator]:
    return [torch_stream(seed, "agent", step) for seed in range(SEEDS)]


def furthest(left: Any, right: Any) -> float:
    """Return the largest difference of any number of two nests, in shares of it where it is above 1."""
    pairs = list(zip(flat(left), flat(right), strict=True))
    found = [(a.double() - b.double()).abs() / b.double().abs().clamp(min=1) for a, b in pairs if a.numel()]
    return max(float(part[~part.isnan()].max()) if (~part.isnan()).any() else 0.0 for part in found)


@pytest.mark.parametrize(("name", "choice"), FEW)
def test_a_seed_in_a_stack_learns_and_acts_as_alone(name: str, choice: dict[str, Any]) -> None:
    assert as_alone(name, choice, UPDATES) < CLOSE


@pytest.mark.parametrize(("name", "choice"), COMPILED)
@pytest.mark.skipif(compiled() is None, reason="no C compiler on this machine")
def test_the_same_through_the_compiled_kernels(name: str, choice: dict[str, Any], monkeypatch) -> None:
    calls: list[int] = []

    def counted(*given: Any) -> Tensor:
        calls.append(1)
        return of_every_seed(*given)

    monkeypatch.setattr(fused, "of_every_seed", counted)
    use_kernel(True)
    try:
        assert as_alone(name, choice, FEW_UPDATES) < CLOSE
    finally:
        use_kernel(False)
    assert len(calls) >= FEW_UPDATES


def as_alone(name: str, choice: dict[str, Any], count: int) -> float:
    """Hold a stack's seeds to what each learns, and how it acts, alone; returns how far weights are apart."""
    alone, together = agents_of(name, choice), agents_of(name, choice)
    stack = StackedAgent(together)
    for step in range(1, count + 1):
        given = batches(alone, step)
        updates = [one.update(own, rng) for one, own, rng in zip(alone, given, rngs(step))]
        found = stack.update(stacked(given), rngs(step))
        assert [set(one.metrics) for one in found] == [set(one.metrics) for one in updates]
        assert furthest([one.metrics for one in found], [one.metrics for one in updates]) < CLOSE
        for own, other in zip(updates, found):
            assert torch.equal(own.td_error.isnan(), other.td_error.isnan())
    assert all(other.updates == count for other in together)
    apart = [furthest(own.state_dict(), other.state_dict()) for own, other in zip(alone, together)]
    assert furthest(alone[0].state_dict(), alone[1].state_dict()) > CLOSE  # seeds differ

    # Rows are filled up to as many as the seed with the most has, and one seed may have none.
    rows = [4, 0, 2]
    histories = [at_anchor(own, many) if many else None for own, many in zip(batches(together, 1), rows)]
    chosen = act(stack, histories, [generators(many, seed) for seed, many in enumerate(rows)])
    assert chosen[1] is None
    for seed in (0, 2):
        own = together[seed].act(histories[seed], generators(rows[seed], seed), False)
        assert chosen[seed].shape == own.shape
        assert torch.allclose(chosen[seed], own, atol=1e-6)
    return max(apart)


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one == "td3_bc" else pytest.mark.slow) for one in TAKERS]
)
def test_images_are_cut_by_each_seeds_own_stream(name: str) -> None:
    store = stored()
    alone, together = ([tiny(name, store, image_shift=1, image_crop=0.3) for _ in range(2)] for _ in range(2))
    batch, stack = gather(store, every_anchor(store), alone[0].spec), StackedAgent(together)
    for step in range(3):
        updates = [one.update(batch, torch_stream(seed, "agent", step)) for seed, one in enumerate(alone)]
        draws = [torch_stream(seed, "agent", step) for seed in range(2)]
        found = stack.update(stacked([batch, batch]), draws)
        assert furthest([one.metrics for one in found], [one.metrics for one in updates]) < CLOSE
    assert furthest(updates[0].metrics, updates[1].metrics) > CLOSE


def test_seeds_act_exactly_however_they_learn(monkeypatch) -> None:
    together, seen = agents_of("td3_bc", {}), []
    stack, own = StackedAgent(together), type(together[0]).act

    def watched(agent: Any, *given: Any) -> Tensor:
        seen.append(torch.get_float32_matmul_precision())
        return own(agent, *given)

    monkeypatch.setattr(type(together[0]), "act", watched)
    monkeypatch.setattr(cpu, "precise", lambda: False)
    products.set_products("fast", "cpu")
    try:
        act(
            stack,
            [at_anchor(given, 2) for given in batches(together, 1)],
            [generators(2, s) for s in range(SEEDS)],
        )
        assert (seen, torch.get_float32_matmul_precision()) == (["highest"], "medium")
    finally:
        products.set_products("exact", "cpu")


def test_what_one_seed_meets_reaches_no_other() -> None:
    agents, others = agents_of("td3_bc", {}), agents_of("td3_bc", {})
    for group, weight in ((agents, 1.0), (others, float("nan"))):
        stack, given = StackedAgent(group), batches(group, 1)
        given[0] = given[0]._replace(weight=given[0].weight * weight)
        stack.update(stacked(given), rngs(1))
    assert not same(agents[0].state_dict(), others[0].state_dict())
    for left, right in zip(agents[1:], others[1:]):
        assert same(left.state_dict(), right.state_dict())


def test_the_norm_that_is_clipped_is_each_seeds_own() -> None:
    def optimiser(weights: Tensor) -> Optimiser:
        return Optimiser([nn.Parameter(weights.clone())], 0.1, clip=1.0)

    starts, slopes = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.3, 0.4], [30.0, 40.0]])
    each = [optimiser(start) for start in starts]
    whole = optimiser(starts)
    whole.stack([optimiser(start) for start in starts])
    for _ in range(3):
        norms = [one.step((one.parameters[0] * slope).sum()) for one, slope in zip(each, slopes)]
        together = torch.vmap(lambda loss: loss)((whole.parameters[0] * slopes).sum(1))
        found = whole._descend(together)
        assert torch.allclose(found, torch.stack(norms))
        assert torch.allclose(found, torch.tensor([0.5, 50.0]))
    assert torch.allclose(whole.parameters[0], torch.stack([one.parameters[0] for one in each]))
    assert torch.allclose(whole.first[0][1], torch.tensor([0.6, 0.8]) * (1 - 0.9**3))


def test_a_seeds_checkpoint_is_as_large_as_alone(tmp_path) -> None:
    alone, together = agents_of("td3_bc", {}), agents_of("td3_bc", {})
    StackedAgent(together)
    sizes = []
    for agent in (alone[0], together[0]):
        write_part(tmp_path, "agent", agent.state_dict())
        sizes.append((tmp_path / "agent.pt").stat().st_size)
    assert abs(sizes[1] - sizes[0]) < 1000
    kept = torch.load(tmp_path / "agent.pt", weights_only=True)
    assert same(kept, alone[0].state_dict())


def test_an_agent_that_reads_numbers_back_is_refused_with_the_reason() -> None:
    agents = agents_of("td3_bc", {})
    plain = type(agents[0]).learn
    stack = StackedAgent(agents)

    def reads(batch: Any, noise: Any) -> Any:
        metrics, td_error = plain(stack.program, batch, noise)
        return {**metrics, "x/y": td_error * td_error.sum().item()}, td_error

    stack.program.substitute("learn", reads)
    with pytest.raises(ValueError, match=r"^TD3BC cannot learn several seeds as one program \(.*\.item\(\)"):
        stack.update(stacked(batches(agents, 1)), rngs(1))


def test_an_agent_with_an_update_of_its_own_is_refused() -> None:
    class Own:
        def update(self, batch: Any, rng: Any) -> Any:
            raise NotImplementedError

    with pytest.raises(ValueError, match=r"^own:Own cannot learn several seeds as one program \(Own has an"):
        require_stackable("own:Own", Own())


def test_a_tree_is_mapped_place_by_place() -> None:
    tree = (torch.tensor([1.0]), None, (torch.tensor([2.0]),))
    doubled = mapped(lambda a, b: a + b, tree, tree)
    assert doubled[0].item() == 2
    assert doubled[1] is None
    assert doubled[2][0].item() == 4
