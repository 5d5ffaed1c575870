"""Updates ahead: what is asked for is what will be drawn, as long as the sampler's law stands."""

from __future__ import annotations

import pytest

from tests.store.episodes import counting, write
from trajrl import TrajectoryStore, WindowSpec, make_sampler
from trajrl.training import read_ahead
from trajrl.training.config import RunConfig
from trajrl.training.role_batches import draw_update


class Agent:
    """What is asked of an agent here."""

    spec = WindowSpec(history=2, chunk=3, horizon=4)


class Noting:
    """Takes down what it is asked for."""

    pending = 0

    def __init__(self, store: TrajectoryStore, spec: WindowSpec) -> None:
        self.asked: list[tuple[list[int], list[int]]] = []

    @staticmethod
    def serves(store: TrajectoryStore) -> bool:
        return True

    def ask(self, anchors) -> None:
        self.asked.append((anchors.episode.tolist(), anchors.step.tolist()))


@pytest.fixture
def store(tmp_path):
    return TrajectoryStore.open(write(tmp_path / "x.h5", [counting(n) for n in (3, 9, 5, 12, 7)]))


def ahead(store, monkeypatch, **changes):
    monkeypatch.setattr(read_ahead, "ReadAhead", Noting)
    return read_ahead.UpdatesAhead(store, Agent(), RunConfig(batch_size=8, steps=30, **changes))


def test_what_is_asked_ahead_is_what_is_drawn_then(store, monkeypatch):
    updates, sampler = ahead(store, monkeypatch), make_sampler("uniform", store)
    for step in range(1, 31):
        updates.after(step, sampler)
    drawn = [draw_update(sampler, 0, step, 8).values for step in range(2, 31)]
    assert updates._reader.asked == [(a.episode.tolist(), a.step.tolist()) for a in drawn]


def test_no_more_than_so_many_updates_are_ahead(store, monkeypatch):
    monkeypatch.setattr(read_ahead, "UPDATES", 5)
    updates, sampler = ahead(store, monkeypatch), make_sampler("uniform", store)
    updates.after(1, sampler)
    assert len(updates._reader.asked) == 5
    updates.after(2, sampler)
    assert len(updates._reader.asked) == 6


def test_of_a_sampler_that_reads_td_errors_nothing_is_asked(store, monkeypatch):
    updates = ahead(store, monkeypatch)
    updates.after(1, make_sampler("priority", store, metric="td_error_rank"))
    assert not updates._reader.asked


def test_nothing_is_read_ahead_of_a_store_that_is_here(store):
    assert read_ahead.UpdatesAhead(store, Agent(), RunConfig())._reader is None
