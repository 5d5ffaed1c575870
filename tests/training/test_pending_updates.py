"""Where numbers lie on a device they are read late and together: fewer waits, and every bit as it was."""

from __future__ import annotations

import pytest
import torch
from same_run import assert_same_run
from small_runs import reopened, small_online, small_run, trained, write_store

from trajrl.training import loop, pending_updates


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


@pytest.fixture
def apart(monkeypatch):
    """Treat the CPU as a device that computes apart, and note how many updates are read at a time."""
    reads: list[int] = []
    read = pending_updates.PendingUpdates.read

    def counted(self):
        if len(self):
            reads.append(len(self))
        return read(self)

    monkeypatch.setattr(loop, "AT_ONCE", ())
    monkeypatch.setattr(pending_updates.PendingUpdates, "read", counted)
    return reads


@pytest.mark.parametrize("sampler", ["uniform", "cluster", "weighted", "quality"])
def test_what_is_read_late_is_the_same(sampler, store, tmp_path, monkeypatch, apart):
    options = {"sampler.judge": "critic"} if sampler == "quality" else {}
    trained(tmp_path / "late", store, sampler=sampler, **options)
    assert sum(apart) == 25
    assert max(apart) > 1, "nothing was pending"
    monkeypatch.setattr(loop, "AT_ONCE", ("cpu",))
    trained(tmp_path / "once", store, sampler=sampler, **options)
    assert_same_run(tmp_path / "late", tmp_path / "once")


@pytest.mark.parametrize("sampler", ["priority", "cluster*priority"])
def test_a_sampler_that_learns_from_errors_has_them_at_once(sampler, store, tmp_path, apart):
    trained(tmp_path, store, sampler=sampler)
    assert apart == [1] * 25


def test_online_they_are_there_before_the_next_step_in_the_environment(store, tmp_path, apart):
    trained(tmp_path / "before", store)
    del apart[:]
    loop.online(small_online(tmp_path / "run", tmp_path / "before", sampler="uniform", warmup_steps=0))
    assert set(apart) == {1}


def test_no_more_than_so_many_wait(store, tmp_path, monkeypatch, apart):
    monkeypatch.setattr(loop, "LATEST", 4)
    trained(tmp_path, store, log_every=25, eval_every=25, checkpoint_every=25)
    assert apart == [4] * 6 + [1]


def test_a_run_that_was_cut_off_goes_on_with_the_same_bits(store, tmp_path, apart):
    whole, cut = trained(tmp_path / "whole", store), small_run(tmp_path / "cut", store)
    for _ in range(17):
        loop.train_step(cut)
        loop.after_step(cut)
    again = reopened(tmp_path / "cut")
    assert again.step == 14
    loop.offline(again)
    assert_same_run(whole.folder, again.folder)


def test_an_update_that_went_wrong_is_named_by_its_own_number(store, tmp_path, apart):
    run = small_run(tmp_path, store, log_every=10, eval_every=10, checkpoint_every=10)
    for step in range(10):
        if step == 2:
            next(iter(run.agent.critic.parameters())).data.fill_(torch.nan)
        loop.train_step(run)
    with pytest.raises(ValueError, match=r"critic/loss.* after batch 3 \(seed 0\)"):
        loop.after_step(run)
    assert run.step == 10
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["failed-000000003"]
