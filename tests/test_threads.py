"""Threads that share their cores are named in one line; memory of an update is kept for the next."""

import subprocess
import sys

import torch

from trajrl.threads import crowded, set_threads

FAULTS = """
import resource, torch
from trajrl.threads import keep_freed_memory
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


def test_freed_memory_is_kept():
    """Twenty updates write to 100,000 pages; few of them are new."""
    ended = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True)
    assert int(ended.stdout) < 2_000
