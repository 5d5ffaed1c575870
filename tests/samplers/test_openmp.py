"""FAISS and torch each bring their own OpenMP: both orders of import work, and give the same labels."""

import subprocess
import sys

import pytest

WORK = """
import numpy as np, torch, faiss
from trajrl.samplers.clustering.kmeans import fit_centres, nearest
from trajrl.core.rng import stream
x = stream(0, "test").normal(size=(3000, 16)).astype(np.float32)
a = torch.randn(256, 256)
threads = torch.get_num_threads()
for _ in range(3):
    (a @ a).sum().item()
    label = nearest(x, fit_centres(x, 5, seed=1, restarts=2, threads=2))
    (a @ a).sum().item()
assert torch.get_num_threads() == threads
print(int((label * np.arange(len(label))).sum()))
"""


@pytest.fixture(scope="module")
def reference():
    from trajrl.core.rng import stream
    from trajrl.samplers.clustering.kmeans import fit_centres, nearest

    x = stream(0, "test").normal(size=(3000, 16)).astype("float32")
    label = nearest(x, fit_centres(x, 5, seed=1, restarts=2))
    return int((label * range(len(label))).sum())


@pytest.mark.parametrize("first", ["import torch, faiss", "import faiss, torch"])
def test_either_order_of_import_works(first, reference):
    found = subprocess.run(
        [sys.executable, "-c", f"{first}\n{WORK}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) == reference


def test_a_missing_faiss_is_one_clear_line():
    code = (
        "import sys; sys.modules['faiss'] = None\n"
        "import numpy as np\n"
        "from trajrl.samplers.clustering.kmeans import fit_centres\n"
        "try: fit_centres(np.eye(4, dtype='f4'), 2, 0)\n"
        "except ImportError as error: print(error)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == "clustering needs faiss, which comes with trajrl: pip install -e '.'"


def test_samplers_import_neither_torch_nor_faiss():
    code = (
        "import sys\n"
        "from trajrl.samplers import SAMPLERS\nfrom trajrl.core.registry import find\n"
        "for name in SAMPLERS: find(SAMPLERS, name, 'sampler')\n"
        "import trajrl.training.run_dir.episode_stats, trajrl.cli.store.cluster, trajrl.cli.bench.sampler\n"
        "print(sorted({'torch', 'faiss', 'pandas', 'h5py'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == "[]"
