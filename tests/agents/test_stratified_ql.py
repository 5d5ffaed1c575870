"""stratified_ql: the second actor is the one that trains and acts; what it clones is judged by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flow_windows import ACT, OBS, at_anchor, generators, random_windows, weights_of
from torch import Tensor

from trajrl import Episode, TrajectoryStore
from trajrl.agents import make_agent
from trajrl.agents.base.strata import Strata, limits
from trajrl.agents.stratified_ql import preset
from trajrl.core.rng import torch_stream
from trajrl.nets.optim import Optimiser
from trajrl.store.window import WindowSpec
from trajrl.training.diagnostics import diagnostics

SMALL = {"width": 16, "depth": 2, "gru_width": 8, "candidates": 4, "ema_every": 1, "ema_start": 2}


def tiny(**config: Any) -> Any:
    options = {**SMALL, "clusters": 3, "judge": "critic", "second_q": 1.0, **config}
    return make_agent("stratified_ql", OBS, ACT, seed=1, **options)


def windows(agent: Any, merit: list[float], seed: int = 0) -> Any:
    """Return windows of episodes of these merits."""
    return random_windows(agent.spec, len(merit), seed)._replace(merit=torch.tensor(merit))


def noise_of(agent: Any, batch: Any) -> Any:
    return agent.draw_noise(batch, torch_stream(0, "agent", 1))


@pytest.mark.parametrize("act_ema", [False, True])
def test_the_evaluated_actor_is_the_one_that_trains(act_ema: bool) -> None:
    agent = tiny(act_ema=act_ema)
    history = at_anchor(random_windows(agent.spec), 6)
    before = agent.act(history, generators(6), explore=False)
    with torch.no_grad():  # the first actor has no say in what is done
        for parameter in [*agent.actor.parameters(), *agent.ema_actor.parameters()]:
            parameter.add_(1.0)
    assert torch.equal(before, agent.act(history, generators(6), explore=False))
    weights = weights_of(agent)
    agent.update(random_windows(agent.spec), torch_stream(0, "agent", 1))
    after = weights_of(agent)
    parts = ("second.", "ema_second.") if act_ema else ("second.",)
    trained = weights.keys() - {f"{part}head.gives_action" for part in parts}  # which is a mark
    for name in [name for name in trained if name.startswith(parts)]:
        assert not torch.equal(weights[name], after[name]), name
    assert not torch.equal(before, agent.act(history, generators(6), explore=False))


def test_each_optimiser_holds_its_own_network() -> None:
    agent = tiny()
    for name in ("actor", "second", "critic"):
        optimiser = agent.parts[f"{name}_optimiser"]
        assert isinstance(optimiser, Optimiser)
        assert {id(p) for p in optimiser.parameters} == {id(p) for p in agent.parts[name].parameters()}


def test_critic_and_first_actor_are_those_of_diffusion_ql() -> None:
    ours = tiny()
    plain = make_agent("diffusion_ql", OBS, ACT, seed=9, width=16, depth=2, ema_every=1, ema_start=2)
    state = plain.state_dict()
    own = ours.state_dict()
    for part in ("actor", "ema_actor", "critic", "target"):
        state[part] = {name.removeprefix("head."): value for name, value in own[part].items()}
    plain.load_state_dict(state)
    for step in range(4):
        batch = random_windows(ours.spec, seed=step)
        updates = [agent.update(batch, torch_stream(0, "agent", step)) for agent in (ours, plain)]
        assert torch.equal(updates[0].td_error, updates[1].td_error)
    theirs = weights_of(plain)
    for name, value in weights_of(ours).items():
        if name.split(".")[0] in ("actor", "ema_actor", "critic", "target"):
            assert torch.equal(value, theirs[name.replace(".head.", ".")]), name


def test_an_empty_selection_makes_the_cloning_term_zero_never_nan() -> None:
    agent = tiny()
    batch = random_windows(agent.spec)
    none = torch.zeros(len(batch.steps), dtype=torch.bool)
    loss, metrics = agent.second_loss(batch, noise_of(agent, batch), none)
    assert metrics["second/bc_loss"].item() == 0
    assert torch.isfinite(loss)
    assert metrics["second/selected_share"].item() == 0
    gradients = torch.autograd.grad(loss, list(agent.second.parameters()))
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert max(float(gradient.abs().max()) for gradient in gradients) > 0  # the Q term is still there


@pytest.mark.parametrize("predicts", ["noise", "action"])
def test_cloning_divides_by_the_rows_selected(predicts: str) -> None:
    agent = tiny(eta=0.0, second_predicts=predicts)
    batch = random_windows(agent.spec, 5)._replace(weight=torch.tensor([1.0, 2, 1, 1, 1]))
    noise = noise_of(agent, batch)
    chosen = torch.tensor([False, True, False, True, False])
    kept = chosen.clone()
    loss, metrics = agent.second_loss(batch, noise, chosen)
    policy, context = agent.second.head, agent.context(agent.second.encoder, at_anchor(batch))
    x = policy.diffusion.q_sample(agent.flat_actions(batch), noise.level, noise.eps)
    missed = policy.predict(x, noise.level, context) - noise.eps
    if predicts == "action":  # a_hat - a = (eps - eps_hat) sqrt(1 - abar) / sqrt(abar)
        abar = torch.as_tensor(policy.diffusion.abar)[noise.level, None].float()
        missed = missed * ((1 - abar) / abar).sqrt()
    error = missed.square().mean(1)
    assert loss.item() == pytest.approx(((2 * error[1] + error[3]) / 2).item(), rel=1e-5)
    assert metrics["second/selected_share"].item() == pytest.approx(0.4)
    assert torch.equal(chosen, kept)  # no mask is written to


def test_q_term_of_the_second_actor_is_over_every_row() -> None:
    agent = tiny()
    batch = random_windows(agent.spec)
    noise = noise_of(agent, batch)
    rows = len(batch.steps)
    terms = [
        agent.second_loss(batch, noise, torch.full((rows,), chosen))[1]["second/q_loss"]
        for chosen in (False, True)
    ]
    assert torch.equal(*terms)


def test_the_second_actor_maximises_q_by_its_share_of_the_weight_and_not_at_all_without() -> None:
    agents = [tiny(second_q=share, eta=2.0) for share in (0.0, 0.5, 1.0)]
    batch = random_windows(agents[0].spec)
    noise, chosen = noise_of(agents[0], batch), torch.arange(len(batch.steps)) % 2 == 0
    (alone, cloned), (half, found), (whole, _) = (agent.second_loss(batch, noise, chosen) for agent in agents)
    assert "second/q_loss" not in cloned
    assert torch.equal(alone, cloned["second/bc_loss"])
    assert half.item() == pytest.approx((alone + found["second/q_loss"]).item(), rel=1e-5)
    assert (whole - alone).item() == pytest.approx(2 * (half - alone).item(), rel=1e-4)


def test_fraction_rises_over_a_quarter_of_the_run() -> None:
    config = tiny(decay_steps=400).config
    assert [config.fraction(step) for step in (0, 50, 100, 400)] == pytest.approx([0.1, 0.3, 0.5, 0.5])
    down = tiny(fraction_start=0.8, fraction_end=0.2, fraction_steps=10).config
    assert [down.fraction(step) for step in (0, 5, 20)] == pytest.approx([0.8, 0.5, 0.2])


def test_limits_are_quantiles_of_each_cluster() -> None:
    score = torch.tensor([0.0, 1, 2, 3, 10, 20, 30, 40])
    cluster = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    found = limits(score, cluster, 3, 0.5)
    assert found.tolist() == [1.5, 25.0, float("inf")]
    assert (score > found[cluster]).tolist() == [False, False, True, True] * 2
    assert not (score > limits(score, cluster, 2, 0.0)[cluster]).any()
    assert (score > limits(score, cluster, 2, 1.0)[cluster]).all()


def judged(threshold: str, share: float = 0.0) -> tuple[Strata, Tensor]:
    """Judge two clusters of states, Q 0 1 2 5 at obs 0 and 10 11 12 15 at obs 100."""
    strata = Strata(2, 0, 40, 0, torch.device("cpu"))
    obs = torch.tensor([0.0, 100.0]).repeat_interleave(20)[:, None, None].expand(-1, 1, OBS)
    from trajrl.agents.base.protocol import History

    mask = torch.ones(40, 1, dtype=torch.bool)
    assert strata.take(History(obs, torch.zeros(40, 1, ACT), mask), torch.zeros(40, 1, ACT), mask[:, 0])
    q = torch.tensor([0.0, 1, 2, 5]).repeat_interleave(5).repeat(2) + obs[:, 0, 0] / 10
    strata.judge(q, 0.25, threshold, share)
    return strata, q


def test_scores_are_against_the_states_own_cluster() -> None:
    strata, q = judged("cluster_mean")
    assert strata.tables["centres"].shape == (2, OBS)
    score, cluster = strata.score(strata.history.obs[:, -1], q)
    assert (
        score[:20].tolist() == score[20:].tolist() == pytest.approx(np.repeat([-2.0, -1, 0, 3], 5).tolist())
    )
    assert len(set(cluster[:20].tolist())) == len(set(cluster[20:].tolist())) == 1
    selected = score > strata.select_above[cluster]
    assert selected.tolist() == ([False] * 15 + [True] * 5) * 2


@pytest.mark.parametrize(
    ("threshold", "share", "good"),
    [
        ("cluster_mean", 0.0, ([False] * 15 + [True] * 5) * 2),
        ("global_mean", 0.0, [False] * 20 + [True] * 20),  # mean 7
        ("cluster_quantile", 0.5, ([False] * 10 + [True] * 10) * 2),
        ("cluster_quantile", 0.0, ([False] * 15 + [True] * 5) * 2),  # Otsu: 3 apart from -2 .. 0
    ],
)
def test_thresholds_by_hand(threshold: str, share: float, good: list[bool]) -> None:
    strata, q = judged(threshold, share)
    score, cluster = strata.score(strata.history.obs[:, -1], q)
    assert (score > strata.good_above[cluster]).tolist() == good


def test_subsample_is_filled_once_and_padding_never_enters_it() -> None:
    agent = tiny(subsample=30, history=3)
    for step in range(4):
        batch = random_windows(agent.spec, 13, seed=step)
        agent.update(batch, torch_stream(0, "agent", step))
    assert agent.strata.size == 30
    assert torch.isfinite(agent.strata.rows["obs"]).all()
    kept = agent.strata.rows["obs"].clone()
    agent.update(random_windows(agent.spec, 13, seed=9), torch_stream(0, "agent", 9))
    assert torch.equal(kept, agent.strata.rows["obs"])


def test_diagnostics_is_renewed_only_when_due() -> None:
    agent = tiny(subsample=13, refresh_every=3)
    means = []
    for step in range(7):
        agent.update(random_windows(agent.spec, 13, seed=step), torch_stream(0, "agent", step))
        means.append(agent.strata.tables["mean_q"].tolist())
    assert means[0] == means[1] == means[2] != means[3] == means[4] == means[5] != means[6]


def test_share_selected_is_the_fraction() -> None:
    agent = tiny(fraction_start=0.25, fraction_end=0.25, subsample=400, clusters=1)
    batch = random_windows(agent.spec, 400)
    metrics = agent.update(batch, torch_stream(0, "agent", 1)).metrics
    assert metrics["second/selected_share"].item() == pytest.approx(0.25, abs=0.01)


class Oracle:
    """Scores a row by its action and calls it good above 0.5."""

    spec, device = WindowSpec(), torch.device("cpu")

    def judge(self, batch: Any) -> tuple[Tensor, Tensor]:
        score = batch.actions[:, 0, 0]
        return score, score > 0.5


def two_sources(names: tuple[str, ...]) -> TrajectoryStore:
    """Return one-step episodes: expert (return 1) with scores .9 .8 .4, novice (0) with .6 .3 .1 .2 .0."""
    rows = [(1.0, s) for s in (0.9, 0.8, 0.4)] + [(0.0, s) for s in (0.6, 0.3, 0.1, 0.2, 0.0)]
    return TrajectoryStore.of(
        Episode(
            np.zeros((2, OBS)), np.array([[s, 0.0]]), np.array([r]), True, None, names[int(r) % len(names)]
        )
        for r, s in rows
    )


def test_diagnostics_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    from trajrl import Anchors

    store = two_sources(("novice", "expert"))
    every = Anchors(np.arange(8), np.zeros(8, np.int64), np.ones(8, np.float32))
    monkeypatch.setattr("trajrl.training.diagnostics.subsample", lambda store, seed: every)
    found = diagnostics(Oracle(), store, 0)
    assert found["expert_share"] == pytest.approx(3 / 8)
    assert found["accuracy"] == pytest.approx(6 / 8)  # .4 is missed, .6 is taken wrongly
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["auroc"] == pytest.approx(14 / 15)  # only .4 against .6 is the wrong way round
    assert found["precision_at_share"] == pytest.approx(2 / 3)


def test_without_sources_or_without_a_judge_nothing_is_reported() -> None:
    assert diagnostics(Oracle(), two_sources(("only",)), 0) == {}
    assert diagnostics(make_agent("qg", OBS, ACT, width=8), two_sources(("a", "b")), 0) == {}


def test_diagnostics_looks_at_the_same_rows_every_time() -> None:
    store = two_sources(("a", "b"))
    assert diagnostics(Oracle(), store, 3) == diagnostics(Oracle(), store, 3)


@pytest.mark.parametrize("judge", ["critic", "trajectory"])
def test_an_agent_judges_rows_after_its_first_update(judge: str) -> None:
    agent = tiny(history=2, judge=judge)
    batch = random_windows(agent.spec)
    agent.update(batch, torch_stream(0, "agent", 1))
    score, good = agent.judge(batch)
    assert score.shape == good.shape == batch.steps.shape
    assert good.any()
    assert not good.all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", "mean"),
        ("judge", "me"),
        ("share", 1.5),
        ("clusters", 0),
        ("second_q", -1.0),
        ("second_predicts", "me"),
    ],
)
def test_a_wrong_setting_is_one_line(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        replace(tiny().config, **{field: value}).validate()


def test_the_second_actor_clones_rows_of_episodes_above_the_split_of_merits() -> None:
    agent = tiny(judge="trajectory")
    batch = windows(agent, [1.0, 1.2, 0.9, 1.1, 5.0, 5.2, 1.0, 1.1])
    assert agent.select(batch).tolist() == [False] * 4 + [True, True] + [False] * 2
    alone = batch._replace(mask=torch.zeros_like(batch.mask))
    assert not agent.select(alone).any()  # padding is never cloned


@pytest.mark.parametrize(("share", "good"), [(0.5, [3.0, 4.0]), (0.25, [4.0])])
def test_a_given_share_of_the_rows_is_good(share: float, good: list[float]) -> None:
    agent = tiny(judge="trajectory", share=share)
    merit = [1.0, 2.0, 3.0, 4.0]
    assert [m for m, kept in zip(merit, agent.select(windows(agent, merit))) if kept] == good


def test_merits_are_labelled_anew_when_due_and_the_oldest_are_forgotten() -> None:
    agent = tiny(judge="trajectory", subsample=8, refresh_every=3)
    limits = []
    for step, (low, high) in enumerate([(0.0, 1.0), (2.0, 3.0), (4.0, 5.0), (6.0, 7.0), (8.0, 9.0)]):
        agent.update(windows(agent, [low] * 6 + [high] * 2, step), torch_stream(0, "agent", step))
        limits.append(float(agent.merits.limit))
    assert 0 <= limits[0] < 1
    assert limits[0] == limits[1] == limits[2]
    assert 6 <= limits[3] < 7  # of the old merits nothing is left
    assert limits[3] == limits[4]


def test_where_no_episode_is_better_every_row_is_cloned() -> None:
    agent = tiny(judge="trajectory")
    assert agent.select(windows(agent, [5.0] * 8)).all()


def test_what_was_seen_is_saved() -> None:
    agent, other = (tiny(judge="trajectory", subsample=20) for _ in range(2))
    agent.update(windows(agent, [0.0, 0.0, 7.0]), torch_stream(0, "agent", 0))
    other.load_state_dict(agent.state_dict())
    batch = windows(agent, [0.1, 6.9, 3.0], 1)
    assert torch.equal(agent.select(batch), other.select(batch))
    assert float(agent.merits.limit) == float(other.merits.limit)


def test_windows_show_the_merit_of_their_episodes_where_that_is_judged_by() -> None:
    assert random_windows(tiny().spec).merit is None
    batch = random_windows(tiny(judge="trajectory", history=3, horizon=4).spec)
    same = batch.episode[:, None] == batch.episode
    assert (batch.merit[:, None] == batch.merit)[same].all()
    assert batch.merit.unique().numel() > 1


@pytest.mark.parametrize("env", ["hopper-medium-v2", "nothing-known"])
def test_as_published_the_critic_judges_and_the_second_actor_gives_noise_and_maximises_q(env: str) -> None:
    found = preset("paper", env)
    assert (found["judge"], found["second_q"], found["second_predicts"]) == ("critic", 1.0, "noise")
    assert "normalize_obs" not in found


def test_an_empty_selection_alone_gives_no_gradient_and_no_nan() -> None:
    agent = tiny(second_q=0.0)
    batch = random_windows(agent.spec)
    none = torch.zeros(len(batch.steps), dtype=torch.bool)
    loss, _ = agent.second_loss(batch, noise_of(agent, batch), none)
    gradients = torch.autograd.grad(loss, list(agent.second.parameters()))
    assert loss.item() == 0
    assert not any(gradient.any() or gradient.isnan().any() for gradient in gradients)
