"""Features of trajectories: what each column is, scaling, the same from mapped and growing stores."""

from itertools import pairwise

import numpy as np
import pytest
from populations import population

from trajrl.store import features as module
from trajrl.store.episode import Episode
from trajrl.store.features import FeatureSpec, Scaler, step_rows, trajectory_features
from trajrl.store.file.writer import StoreWriter
from trajrl.store.store import TrajectoryStore


def slow_behaviour(e: Episode) -> list[float]:
    """Means, deviations and changes of what was seen and done, step by step."""
    steps = [int(i) for i in np.linspace(0, len(e) - 1, 50)]
    obs, actions = np.array([e.obs[t] for t in steps]), np.array([e.actions[t] for t in steps])
    moved = np.array([e.obs[t + 1] - e.obs[t] for t in steps])
    pairs = [min(t, len(e) - 2) for t in steps]
    changed = np.array([e.actions[t + 1] - e.actions[t] if t >= 0 else 0 * e.actions[0] for t in pairs])
    rms = [np.sqrt(np.mean(x**2, axis=0)) for x in (moved, changed)]
    return [*obs.mean(0), *obs.std(0), *actions.mean(0), *actions.std(0), *rms[0], *rms[1]]


def slow_features(e: Episode, spec: FeatureSpec) -> np.ndarray:
    """Follow the definition, one trajectory at a time."""
    if spec.describe == "behaviour":
        return np.array([*slow_behaviour(e), *([e.episode_return] if spec.returns else [])])
    frames = np.array([e.obs[int(i)] for i in np.linspace(0, len(e), spec.keyframes)])
    speed = [np.linalg.norm(b - a) for a, b in pairwise(frames)]
    row = [len(e), np.mean(speed), np.std(speed), *frames.ravel()]
    if spec.actions:
        row += [*e.actions.mean(0), *e.actions.std(0)]
    return np.array([*row, e.episode_return] if spec.returns else row)


@pytest.mark.parametrize(
    "spec",
    [
        FeatureSpec(), FeatureSpec(returns=True), FeatureSpec(3, True, True, "shape"),
        FeatureSpec(5, False, True, "shape"),
    ],
)  # fmt: skip
def test_features_equal_the_slow_loop(spec, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_STEPS", 16)  # several blocks
    store = population()
    store.evict([2, 9])
    got = trajectory_features(store, store.live, spec)
    assert got.shape == (22, sum(spec.blocks(store).values()))
    np.testing.assert_allclose(got, [slow_features(e, spec) for e in store.episodes()], rtol=1e-4, atol=1e-5)


def test_features_of_a_mapped_store_that_grew_are_the_same(tmp_path):
    store = population(online=False)
    with StoreWriter(tmp_path / "x.h5") as writer:
        for e in list(store.episodes())[:20]:
            writer.append(e)
    mapped = TrajectoryStore.open(tmp_path / "x.h5", memory="map")
    for e in list(store.episodes())[20:]:
        mapped.append(e)
    for spec in (FeatureSpec(4, True, True, "shape"), FeatureSpec()):
        np.testing.assert_array_equal(
            trajectory_features(mapped, mapped.live, spec), trajectory_features(store, store.live, spec)
        )


def test_the_columns_of_one_trajectory_are_as_defined():
    obs = np.array([[0.0], [1.0], [3.0]])
    store = TrajectoryStore.of([Episode(obs, np.zeros((2, 1)), np.zeros(2), False)])
    row = trajectory_features(store, np.array([0]), FeatureSpec(keyframes=3, describe="shape"))[0]
    np.testing.assert_allclose(row, [2, 1.5, 0.5, 0, 1, 3])


def test_a_behaviour_does_not_depend_on_its_length_and_a_step_alone_has_no_change():
    def walk(length: int) -> Episode:
        t = np.arange(length + 1.0)[:, None]
        return Episode(np.hstack([3 + (-1) ** t, 0 * t]), 0.5 * (-1) ** t[1:], np.zeros(length), False)

    store = TrajectoryStore.of([walk(60), walk(1000), walk(1)])
    short, long, single = trajectory_features(store, store.live, FeatureSpec())
    np.testing.assert_allclose(short, long, atol=0.2)  # 50 of 60 steps are not quite in turn
    np.testing.assert_allclose(long[[6, 8]], [2, 1], atol=1e-6)  # changes of o and a: +-1, +-0.5
    np.testing.assert_allclose(single, [4, 0, 0, 0, -0.5, 0, 2, 0, 0], atol=1e-6)


def test_step_rows_cover_every_step_once_in_blocks():
    store = population()
    store.evict([0, 5])
    seen = []
    for part, rows, begins in step_rows(store, store.live, block_steps=7):
        for e, first, length in zip(store.live[part], begins, store.table.length[store.live[part]]):
            assert rows[first] == store.table.start[e]
            np.testing.assert_array_equal(
                rows[first : first + length], store.table.start[e] + np.arange(length)
            )
        seen.append(rows)
    assert len(seen) > 5
    assert len(np.unique(np.concatenate(seen))) == store.num_steps


def test_scaled_columns_have_unit_spread_and_constant_ones_are_zero():
    x = np.random.Generator(np.random.Philox(0)).normal(3, [1, 100, 0, 1e-3], size=(500, 4))
    scaled = Scaler.fit(x, [1, 1, 1, 1])(x)
    np.testing.assert_allclose(scaled.std(0), [1, 1, 0, 1], atol=1e-4)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-4)


def test_rounding_noise_of_a_constant_column_is_not_blown_up():
    x = 1000 + 1e-5 * np.random.Generator(np.random.Philox(0)).normal(size=(50, 1))
    assert np.abs(Scaler.fit(x, [1])(x)).max() < 1e-3


def test_block_scale_lets_a_wide_block_weigh_as_much_as_one_column():
    x = np.random.Generator(np.random.Philox(0)).normal(size=(2000, 41))
    squares = np.square(Scaler.fit(x, [1, 40])(x)).mean(0)
    assert squares[0] == pytest.approx(1, abs=0.01)
    assert squares[1:].sum() == pytest.approx(1, abs=0.01)
    plain = np.square(Scaler.fit(x, [1, 40], block_scale=False)(x)).mean(0)
    assert plain[1:].sum() == pytest.approx(40, abs=0.1)


def test_principal_components_keep_the_widest_directions():
    rng = np.random.Generator(np.random.Philox(0))
    shared = rng.normal(size=(1000, 1))
    x = np.concatenate(
        [shared, shared + 0.01 * rng.normal(size=(1000, 1)), rng.normal(size=(1000, 1))], axis=1
    )
    projected = Scaler.fit(x, [1, 1, 1], components=2)(x)
    assert projected.shape == (1000, 2)
    np.testing.assert_allclose(np.square(projected).mean(0), [2, 1], atol=0.1)
