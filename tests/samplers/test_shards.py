"""A store of several files is drawn from as one file of all of them is, by every sampler."""

from itertools import pairwise

import numpy as np
import pytest
from populations import CASES, population, score

from trajrl.core.rng import stream
from trajrl.samplers import make_sampler
from trajrl.store.file.writer import StoreWriter
from trajrl.store.store import TrajectoryStore


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write 24 episodes whole and in three shards of 1, 14 and 9."""
    folder = tmp_path_factory.mktemp("shards")
    episodes = list(population(online=False).episodes())
    for name, first, last in [("whole", 0, 24), *((f"part-{a}", a, b) for a, b in pairwise([0, 1, 15, 24]))]:
        with StoreWriter(folder / f"{name}.h5") as writer:
            for one in episodes[first:last]:
                writer.append(one)
    return folder / "whole.h5", folder / "part-*.h5"


@pytest.mark.parametrize("case", sorted(CASES))
def test_shards_are_drawn_from_as_one_file_is(files, case):
    name, options = CASES[case]
    drawn, p = [], []
    for place in files:
        store = TrajectoryStore.open(str(place), "map")
        sampler = make_sampler(name, store, seed=3, **options)
        for step in (1, 2, 3):
            if step == 2:
                store.append(next(iter(population(5).episodes())), "online")
            sampler.refresh(step, score)
            drawn.append(sampler.sample(stream(0, "x", step), 32))
            sampler.feedback(drawn[-1], stream(0, "td", step).random(32))
        p.append(sampler.probabilities())
    np.testing.assert_allclose(p[0], p[1], rtol=1e-6)
    for one, other in zip(drawn[:3], drawn[3:], strict=True):
        np.testing.assert_array_equal(one.episode, other.episode)
        np.testing.assert_array_equal(one.step, other.step)
