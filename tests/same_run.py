"""Two runs are the same: weights, optimisers, samplers, metrics, evaluations, episodes, bit for bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from trajrl.training.run_dir import checkpoint
from trajrl.training.run_dir.csv_log import read_csv


def same_tree(left, right) -> bool:
    """Compare nested states bit for bit."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, np.ndarray):
        return np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same_tree(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same_tree, left, right))
    return left == right


def final(folder) -> dict:
    """Return what must be equal of two runs: weights, metrics, evaluations, episodes."""
    found = checkpoint.load(checkpoint.newest(folder / "checkpoints"))
    found.pop("run")  # it counts seconds
    return {
        "state": found, "metrics": read_csv(folder / "metrics.csv"), "evals": read_csv(folder / "evals.csv"),
        "episodes": pd.read_parquet(folder / "episodes.parquet").to_dict("list"),
    }  # fmt: skip


def assert_same_run(left, right):
    one, other = final(left), final(right)
    assert one["metrics"] == other["metrics"]
    assert one["evals"] == other["evals"]
    assert str(one["episodes"]) == str(other["episodes"])
    assert same_tree(one["state"], other["state"])
