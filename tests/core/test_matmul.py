"""Products are as exact as float32 is, wherever they go, and a row does not feel the rows beside it."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from trajrl.core import cpu, products
from trajrl.nets.ensemble import EnsembleLinear
from trajrl.nets.mlp import FEW, affine
from trajrl.rollout.history_queue import Queues
from trajrl.store.window import WindowSpec
from trajrl.training.ope.windows import chosen_actions

INTEL = "vendor_id : GenuineIntel\nflags : fpu avx512f\n"
OLD = "vendor_id : AuthenticAMD\nflags : fpu avx2"
AMD = "vendor_id : AuthenticAMD\nflags : fpu avx512f avx512_bf16\n"


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("text", "suits"),
    [
        (AMD, True),
        (INTEL, False),
        (AMD + "amx_tile", False),
        (AMD.replace("avx512f", "avx2"), False),
        ("", False),
    ],
)
def test_only_processors_that_gain_and_do_not_round_are_switched(tmp_path, text, suits):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert cpu.suits(path) is suits
    assert not cpu.suits(tmp_path / "missing")


@pytest.mark.parametrize("gpu", [False, True])
def test_where_factors_would_be_rounded_the_library_is_kept(monkeypatch, gpu):
    with cpu.as_torch_has_it():
        monkeypatch.setattr(cpu, "suits", lambda path: True)
        monkeypatch.setattr(cpu, "precise", lambda: gpu)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        assert not cpu.use_onednn()
        assert torch.get_float32_matmul_precision() == "highest"


def test_torch_still_tells_its_precision():
    """Its compiler asks for it, and a mix of old and new settings is refused there."""
    cpu.use_onednn()
    assert torch.get_float32_matmul_precision() in ("medium", "highest")


def test_a_rounded_product_is_told_from_an_exact_one(monkeypatch):
    assert cpu.precise()
    exact = torch.Tensor.__matmul__

    def rounded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return exact(a.bfloat16().to(a.dtype) if a.dtype == torch.float32 else a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    assert not cpu.precise()


@pytest.mark.parametrize("inner", [1, 3, 9, 22, 170, 171, 256])
@pytest.mark.parametrize("outer", [1, 2, 6, 64])
def test_a_row_does_not_feel_the_rows_beside_it(inner, outer):
    """Row counts are those of acting: from 24 on, in steps of 8."""
    weight, bias, x = random(outer, inner), random(outer), random(512, inner)
    layer = EnsembleLinear(2, inner, outer, torch.Generator().manual_seed(0))
    rows, many = affine(x, weight, bias), layer(x.expand(2, -1, -1))
    shared = affine(x, weight, rows)  # a bias for each row
    for count in range(24, 512, 8):
        assert torch.equal(affine(x[:count], weight, bias), rows[:count])
        assert torch.equal(affine(x[:count], weight, rows[:count]), shared[:count])
        assert torch.equal(layer(x[:count].expand(2, -1, -1)), many[:, :count])


@pytest.mark.parametrize("inner", [FEW // 2, FEW])
def test_sums_and_products_agree(inner):
    weight, bias, x = random(1, inner), random(1), random(40, inner)
    assert torch.allclose(affine(x, weight, bias), x @ weight.T + bias, atol=1e-5)


@pytest.fixture
def restored():
    yield
    products.set_products("exact", "cpu")


def test_fast_products_are_rounded_where_there_are_some(monkeypatch, restored):
    monkeypatch.setattr(cpu, "precise", lambda: False)
    assert products.set_products("fast", "cpu") == "factors in bfloat16, sums in float32"
    assert torch.get_float32_matmul_precision() == "medium"
    assert products.set_products("fast", "cuda") == "factors in TF32, sums in float32"
    assert torch.get_float32_matmul_precision() == "high"


def test_a_processor_without_fast_products_says_so_and_multiplies_exactly(monkeypatch, capsys, restored):
    monkeypatch.setattr(cpu, "precise", lambda: True)
    assert "no such products" in products.set_products("fast", "cpu")
    assert "torch has no products of bfloat16 factors" in capsys.readouterr().out
    assert not products.kernels_round()


def test_exactly_reads_no_precision_that_stays():
    """A program that uses torch's newer settings is refused by the older ones."""
    code = (
        "import torch; torch.backends.mkldnn.matmul.fp32_precision = 'bf16'\n"
        "from trajrl.core.products import exactly\n"
        "with exactly(): pass"
    )
    root = Path(products.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


@pytest.mark.parametrize("rounds", [True, False])
def test_within_rounded_products_exactly_is_exact(monkeypatch, restored, rounds):
    monkeypatch.setattr(cpu, "precise", lambda: not rounds)
    monkeypatch.setattr(cpu, "suits", lambda path: False)
    with products.rounded(), products.exactly():
        assert torch.get_float32_matmul_precision() == "highest"
        assert not products.kernels_round()


def test_the_kernels_round_where_torch_cannot_and_never_where_actions_are_chosen(
    monkeypatch, capsys, restored
):
    monkeypatch.setattr(cpu, "precise", lambda: True)
    said = products.set_products("fast", "cpu", by_kernels=True)
    assert said == "factors in bfloat16, sums in float32, in the compiled kernels"
    learns = torch.get_float32_matmul_precision()
    assert products.kernels_round()
    with products.exactly():
        assert not products.kernels_round()
        assert torch.get_float32_matmul_precision() == learns  # torch multiplies exactly as it is
        with products.rounded():
            assert products.kernels_round()
        assert not products.kernels_round()
    assert products.kernels_round()
    products.set_products("exact", "cpu")
    assert not products.kernels_round()
    assert not capsys.readouterr().out


class Watching:
    """An actor that notes how exactly it multiplies, and may fail."""

    spec, action_dim, device = WindowSpec(), 2, torch.device("cpu")

    def __init__(self, fails: bool = False) -> None:
        self.seen, self.fails = [], fails

    def act(self, history, rng, explore):
        self.seen.append(torch.get_float32_matmul_precision())
        if self.fails:
            raise ArithmeticError("as asked")
        return torch.zeros(len(history.obs), 1, 2)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_actions_are_chosen_exactly_however_a_run_learns(device, monkeypatch, restored):
    monkeypatch.setattr(cpu, "precise", lambda: False)
    monkeypatch.setattr(cpu, "suits", lambda path: False)
    products.set_products("fast", device)
    learns, actor, broken = torch.get_float32_matmul_precision(), Watching(), Watching(fails=True)
    Queues(actor, 1).act([torch.zeros(3).numpy()], [torch.Generator()])
    with pytest.raises(ArithmeticError):
        Queues(broken, 1).act([torch.zeros(3).numpy()], [torch.Generator()])
    chosen_actions(actor, SimpleNamespace(obs=torch.zeros(2, 1, 3)), 0, 0)  # to be judged, in a run too
    assert actor.seen == 2 * broken.seen == 2 * ["highest"]
    assert torch.get_float32_matmul_precision() == learns != "highest"


def test_acting_keeps_the_library_of_exact_products(monkeypatch, restored):
    """The word that has rounded factors on one processor has the faster library on another."""
    monkeypatch.setattr(cpu, "suits", lambda path: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    products.set_products("exact", "cpu")
    learns, actor = torch.get_float32_matmul_precision(), Watching()
    Queues(actor, 1).act([torch.zeros(3).numpy()], [torch.Generator()])
    assert actor.seen == [learns] == ["medium" if cpu.precise() else "highest"]


@pytest.mark.parametrize(("times", "said"), [(1.5, False), (24.0, True)])
def test_a_processor_that_multiplies_halves_slowly_says_how_slowly(monkeypatch, capsys, times, said):
    took = {torch.float32: 1e-3, torch.bfloat16: times * 1e-3}
    monkeypatch.setattr(products, "seconds_of_product", took.__getitem__)
    products.say_if_halves_are_slow()
    assert ("24 times as long as in float32" in capsys.readouterr().out) == said


def test_products_of_either_kind_are_timed():
    assert all(products.seconds_of_product(kind, 64) > 0 for kind in (torch.float32, torch.bfloat16))


def test_a_run_that_asks_for_exact_has_it_after_one_that_did_not(monkeypatch, restored):
    monkeypatch.setattr(cpu, "suits", lambda path: False)
    torch.set_float32_matmul_precision("medium")
    assert products.set_products("exact", "cpu") == "float32"
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (AMD, "amd-avx512"),
        (AMD + "\ncpu family\t: 25\n", "amd-zen4"),
        (OLD + "\ncpu family\t: 25\nmodel\t\t: 1\n", "amd-zen3"),
        (OLD + "\ncpu family\t: 23\nmodel\t\t: 1\n", "amd-zen1"),
        (OLD + "\ncpu family\t: 23\nmodel\t\t: 49\n", "amd-zen2"),
        (OLD + "\ncpu family\t: 21\n", "amd-avx2"),
        (AMD + "\ncpu family\t: 26\n", "amd-zen5"),
        (AMD + "\ncpu family\t: 27\n", "amd-avx512"),
        (INTEL + "amx_tile", "intel-amx"),
        ("GenuineIntel avx2", "intel-avx2"),
        ("", "other"),
    ],
)
def test_kinds_of_processors(tmp_path, text, kind):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert cpu.kind_of(path) == kind
