"""Threads that share their cores are named in one line; memory of an update is kept for the next."""

import subprocess
import sys
import time

import pytest
import torch

from trajrl.core import cpu
from trajrl.core.cpu import MEASURED, crowded, fastest, from_environment, set_threads

FAULTS = """
import resource, torch
from trajrl.core.cpu import keep_freed_memory
torch.set_num_threads(1)
assert keep_freed_memory()
def update():
    x = torch.ones(2, 256, 256, requires_grad=True)  # 128 pages
    for _ in range(20):
        x = (x * 2).tanh()
    x.sum().backward()
for _ in range(5):
    update()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    update()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_shared_cores_are_named_and_free_ones_are_not():
    assert "ten times" in crowded(2, 1.5, 2)
    assert crowded(2, 0.2, 2) == ""
    assert crowded(1, 9.0, 2) == ""


def test_threads_are_those_asked_for(monkeypatch):
    before = torch.get_num_threads()
    try:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        set_threads()
        assert torch.get_num_threads() == 1
        set_threads(2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("took", "cores", "expected"),
    [
        ({1: 1.0, 2: 0.6, 4: 0.4}, 4, 4),
        ({1: 1.0, 2: 0.6, 4: 0.58}, 6, 2),
        ({1: 1.0, 2: 9.0}, 2, 1),
        ({1: 1.0}, 1, 1),
    ],
)
def test_the_number_of_threads_is_the_fastest_one(took, cores, expected, monkeypatch):
    set_to = []
    monkeypatch.setattr(cpu, "seconds_per_step", took.__getitem__)
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    assert fastest(cores) == expected == set_to[-1]


def test_measuring_takes_little_time_and_says_what_was_chosen(capsys):
    before = torch.get_num_threads()
    try:
        began = time.perf_counter()
        assert set_threads(MEASURED) == torch.get_num_threads()
        assert time.perf_counter() - began < 5
    finally:
        torch.set_num_threads(before)
    assert "measured on" in capsys.readouterr().out


@pytest.mark.parametrize(("said", "found"), [("", 1), ("3", 3), ("4,2", 4), (" 2 ", 2)])
def test_what_the_environment_says(said, found, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert from_environment() == found


@pytest.mark.parametrize("said", ["abc", "0", "-2"])
def test_what_is_no_number_of_threads_is_refused_by_name(said, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    with pytest.raises(ValueError, match=f"OMP_NUM_THREADS is a number of threads, 1 or more; got '{said}'"):
        set_threads()
    with pytest.raises(ValueError, match="threads are 1 or more, 0"):
        set_threads(-2)


def test_freed_memory_is_kept():
    """Twenty updates write to 100,000 pages; few of them are new."""
    ended = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True)
    assert int(ended.stdout) < 2_000
