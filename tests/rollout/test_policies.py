"""Policies from files: the stated formula, noise of their own row alone, bad files in one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajrl.agents.base.protocol import History
from trajrl.core.rng import stream, torch_stream
from trajrl.rollout.policies import FilePolicy, NoisyPolicy, RandomPolicy


def weights(stochastic, obs_dim=3, action_dim=2, width=4):
    rng = stream(0, "weights")
    shapes = {
        "w0": (width, obs_dim),
        "b0": width,
        "w1": (width, width),
        "b1": width,
        "w_mean": (action_dim, width),
        "b_mean": action_dim,
    }
    if stochastic:
        shapes |= {"w_logstd": (action_dim, width), "b_logstd": action_dim}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def saved(path, stochastic=False, **changes):
    np.savez(path, **{**weights(stochastic), **changes})
    return path


def shown(rows):
    obs = torch.from_numpy(stream(1, "obs").standard_normal((rows, 1, 3)).astype(np.float32))
    return History(obs, torch.zeros(rows, 1, 2), torch.ones(rows, 1, dtype=torch.bool))


def streams(rows, first=0):
    return [torch_stream(0, "act", first + row) for row in range(rows)]


def test_a_file_without_logstd_is_deterministic(tmp_path):
    policy, w = FilePolicy(saved(tmp_path / "p.npz")), weights(False)
    history = shown(5)
    h = np.maximum(history.obs[:, 0].numpy() @ w["w0"].T + w["b0"], 0)
    h = np.maximum(h @ w["w1"].T + w["b1"], 0)
    expected = np.tanh(h @ w["w_mean"].T + w["b_mean"])
    np.testing.assert_allclose(policy.act(history, streams(5), False)[:, 0], expected, atol=1e-6)


def test_a_file_with_logstd_draws_normal_noise_before_the_tanh(tmp_path):
    policy, w = FilePolicy(saved(tmp_path / "p.npz", stochastic=True)), weights(True)
    history = History(shown(1).obs.expand(4000, -1, -1), None, None)
    drawn = np.arctanh(
        policy.act(history, streams(4000), False)[:, 0].double().numpy().clip(-1 + 1e-12, 1 - 1e-12)
    )
    h = np.maximum(history.obs[0, 0].numpy() @ w["w0"].T + w["b0"], 0)
    h = np.maximum(h @ w["w1"].T + w["b1"], 0)
    std = np.exp(h @ w["w_logstd"].T + w["b_logstd"])
    kept = np.abs(drawn).max(0) < 8  # where tanh did not lose the tail
    assert kept.any()
    np.testing.assert_allclose(np.median(drawn, 0), h @ w["w_mean"].T + w["b_mean"], atol=0.1 * std.max())
    np.testing.assert_allclose(drawn.std(0)[kept], std[kept], rtol=0.05)


@pytest.mark.parametrize(
    "make", [lambda path: RandomPolicy(2), lambda path: FilePolicy(saved(path, stochastic=True))]
)
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_row_does_not_depend_on_its_neighbours(tmp_path, make, noise):
    policy = make(tmp_path / "p.npz")
    policy = NoisyPolicy(policy, noise) if noise else policy
    history = shown(4)
    together = policy.act(history, streams(4), False)
    for row in range(4):
        alone = policy.act(History(*(part[row : row + 1] for part in history)), streams(1, row), False)
        assert torch.equal(alone[0], together[row])


def test_noise_stays_in_the_box_and_has_its_size():
    class Middle(RandomPolicy):
        def act(self, history, rng, explore):
            return torch.zeros(len(rng), 1, self.action_dim)

    noise = NoisyPolicy(Middle(2), 0.2).act(shown(1), streams(3000), False)
    assert noise.std() == pytest.approx(0.2, rel=0.05)
    assert NoisyPolicy(Middle(2), 9.0).act(shown(1), streams(50), False).abs().max() == 1


def test_random_actions_fill_the_box():
    drawn = RandomPolicy(2).act(shown(1), streams(3000), False)
    assert drawn.shape == (3000, 1, 2)
    assert drawn.mean() == pytest.approx(0, abs=0.03)
    assert drawn.std() == pytest.approx(1 / np.sqrt(3), rel=0.03)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a whole npz file"),
        (b"w0 = 3", "not a whole npz file"),
        (b"PK\x03\x04 cut short", "not a whole npz file"),
    ],
)
def test_a_file_that_is_no_npz_is_said_so(tmp_path, content, words):
    (tmp_path / "p.npz").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        FilePolicy(tmp_path / "p.npz")


def test_a_file_that_is_no_policy_is_said_so(tmp_path):
    np.savez(tmp_path / "q.npz", w0=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="lacks b0, w1, b1, w_mean, b_mean"):
        FilePolicy(tmp_path / "q.npz")
    with pytest.raises(ValueError, match="do not fit together"):
        FilePolicy(saved(tmp_path / "r.npz", w1=np.zeros((4, 5), np.float32)))
    with pytest.raises(ValueError, match="do not fit together"):
        FilePolicy(saved(tmp_path / "r.npz", b1=np.zeros(3, np.float32)))
    with pytest.raises(FileNotFoundError, match="no such policy file"):
        FilePolicy(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.zeros(4, complex), "b0 holds complex128, not real numbers"),
        (np.array(list("abcd")), "b0 holds <U1, not real numbers"),
        (np.array([b"1", b"2", b"3", b"4"]), "not real numbers"),
        (np.zeros(4, "datetime64[s]"), "not real numbers"),
        (np.zeros(4, "V8"), "not real numbers"),
        (np.zeros(4, [("a", "f4")]), "not real numbers"),
        (np.array([0, 0, 0, np.nan]), "b0 holds NaN or infinity"),
        (np.array([0, 0, 0, 1e300]), "b0 holds NaN or infinity, or numbers too large for float32"),
    ],
)
def test_weights_that_are_no_numbers_name_file_and_array(tmp_path, value, reason):
    path = saved(tmp_path / "p.npz", b0=value)
    with pytest.raises(ValueError, match=reason) as refused:
        FilePolicy(path)
    assert str(path) in str(refused.value)


def test_a_file_with_code_in_it_is_not_run(tmp_path):
    np.savez(tmp_path / "p.npz", **weights(False), extra=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="not an npz file of plain arrays"):
        FilePolicy(tmp_path / "p.npz")
