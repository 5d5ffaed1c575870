"""`bench update`: updates per second beside the plain algorithm, in one run, in turns, medians.

plain is benchmarks/plain_dql.py, the published algorithm without a single speed-up, its products by the
library that torch chooses; eager, compiled and bfloat16 are diffusion_ql, kernels and kernels_bfloat16 the
same under --set kernels=compiled, and kernels_fast under --matmul fast too, where the processor can;
recorded is the whole update as one CUDA graph, on a GPU alone.  Drawing the batches is part of an update on
both sides.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from trajrl.agents import make_agent
from trajrl.cli.bench.other_kinds import other_kinds, told
from trajrl.cli.bench.plain import load_plain, parity
from trajrl.cli.bench.rounds import Pace, per_second, ratio, rounds, with_kernels
from trajrl.cli.common import Common, say
from trajrl.core.compile import compile_losses
from trajrl.core.cpu import CPUINFO, as_torch_has_it, kind_of, set_threads
from trajrl.samplers import make_sampler

if TYPE_CHECKING:
    from trajrl.store.store import TrajectoryStore

KERNELS = ("kernels", "kernels_bfloat16", "kernels_fast")
PRODUCTS = 64  # matrix products in one call, so that calling costs nothing beside them


@dataclass(frozen=True, kw_only=True)
class BenchUpdate(Common):
    """Time diffusion_ql beside plain Diffusion-QL, and trajectory_ql beside diffusion_ql."""

    COUNTS: ClassVar[tuple[str, ...]] = (
        "rounds", "updates", "batch_size", "width", "obs_dim", "action_dim", "histories",
    )  # fmt: skip

    rounds: int = 15
    """Rounds, of which the median counts."""
    updates: int = 4
    """Updates of each contestant per round."""
    batch_size: int = 256
    """Windows per update."""
    width: int = 256
    """Units of each of the three hidden layers."""
    obs_dim: int = 17
    """Numbers in an observation."""
    action_dim: int = 6
    """Numbers in an action."""
    histories: tuple[int, ...] = (8, 16)
    """Histories of trajectory_ql to time."""
    compile: bool = False
    """Time the losses under torch.compile too; compiling takes 20 to 45 seconds at first."""
    device: str = "cpu"
    """Where to compute; auto is the GPU where there is one."""
    threads: int = 0
    """Threads of torch; 0: as OMP_NUM_THREADS says, else one; -1: as many as are fastest."""

    def run(self) -> dict[str, Any]:
        """Time everything in turns and compare."""
        from trajrl.training.build import choose_device

        return replace(self, device=str(choose_device(self.device))).measured()

    def measured(self) -> dict[str, Any]:
        """Return rates and ratios on a device that is there."""
        set_threads(self.threads)
        error = parity(self.obs_dim, self.action_dim, self.batch_size, self.width, self.device)
        paces = rounds(self._contestants(), self.rounds, self.updates, self._wait())
        operations = self._operations()
        found = self._answer(paces, operations, error)
        self._tell(found)
        return found

    def _contestants(self) -> dict[str, Callable[[], object]]:
        """Return one update of each, by name; the last is a matrix product of the networks' hidden layers."""
        import torch

        from trajrl.nets.kernel import compiled as compiled_kernel  # with torch, which help does without

        plain = load_plain()
        agent = plain.PlainDQL(self.obs_dim, self.action_dim, plain.Settings(), width=self.width)
        replay = plain.Replay(self.obs_dim, self.action_dim)
        store, size = self._store(), {"width": self.width}

        def as_published() -> None:
            with as_torch_has_it():
                agent.update(replay.sample(self.batch_size), agent.draw(self.batch_size))

        found: dict[str, Callable[[], object]] = {
            "plain": as_published,
            "eager": self._learning(store, "diffusion_ql", size),
            "bfloat16": self._learning(store, "diffusion_ql", size, bfloat16=True),
        }
        if self.device == "cpu" and (kernel := compiled_kernel()) is not None:
            found["kernels"] = with_kernels(found["eager"])
            found["kernels_bfloat16"] = with_kernels(found["bfloat16"])
            if kernel.halves:
                found["kernels_fast"] = with_kernels(found["eager"], fast=True)
        if self.compile:
            found["compiled"] = self._learning(store, "diffusion_ql", size, compiled=True)
        if self.device.startswith("cuda"):
            found["recorded"] = self._learning(
                store, "diffusion_ql", size, compiled=self.compile, recorded=True
            )
        for history in self.histories:
            found[f"history {history}"] = self._learning(store, "trajectory_ql", {**size, "history": history})
        left = torch.randn(self.batch_size, self.width, device=self.device)
        right = torch.randn(self.width, self.width, device=self.device)
        out = torch.empty_like(left)
        found["product"] = lambda: [torch.mm(left, right, out=out) for _ in range(PRODUCTS)]
        return found

    def _learning(
        self,
        store: TrajectoryStore,
        name: str,
        config: dict[str, Any],
        bfloat16: bool = False,
        compiled: bool = False,
        recorded: bool = False,
    ) -> Callable[[], object]:
        """Return a function that draws a batch and learns from it."""
        import torch

        from trajrl.core.rng import stream, torch_stream
        from trajrl.store.gather import gather
        from trajrl.training.cuda_graph import record_updates

        sizes = self.obs_dim, self.action_dim
        agent: Any = make_agent(name, *sizes, device=self.device, seed=self.seed, **config)
        if compiled:
            compile_losses(agent, "default")
        if recorded:
            record_updates(agent)
        sampler, rng = make_sampler("uniform", store, self.seed), stream(self.seed, "bench")
        noise = torch_stream(self.seed, "bench")

        def learn() -> object:
            batch = gather(store, sampler.sample(rng, self.batch_size), agent.spec, agent.device)
            with torch.autocast(agent.device.type, torch.bfloat16, enabled=bfloat16):
                return agent.update(batch, noise)

        return learn

    def _store(self) -> TrajectoryStore:
        """Return random episodes, where a run would keep them."""
        store = make_store(self.obs_dim, self.action_dim, self.seed)
        if self.device.startswith("cuda"):
            store.keep_on(self.device)
        return store

    def _operations(self) -> int:
        """Count the floating-point operations in the matrix products of one update."""
        from torch.utils.flop_counter import FlopCounterMode

        learn = self._learning(self._store(), "diffusion_ql", {"width": self.width})
        with FlopCounterMode(display=False) as counter:
            learn()
        return counter.get_total_flops()

    def _wait(self) -> Callable[[], object]:
        """Return what waits for the device."""
        import torch

        return torch.cuda.synchronize if self.device.startswith("cuda") else lambda: None

    def _answer(self, paces: dict[str, Pace], operations: int, error: float) -> dict[str, Any]:
        """Put rates and ratios together."""
        import torch

        def rate(name: str) -> float | None:
            return per_second(paces[name].wall) if name in paces else None

        product = 2 * self.batch_size * self.width**2 * PRODUCTS  # operations
        eager, plain = paces["eager"], paces["plain"]
        limits = [operations / product * took for took in paces["product"].cpu]  # seconds per update
        return {
            "plain": rate("plain"), "eager": rate("eager"), "compiled": rate("compiled"),
            "bfloat16": rate("bfloat16"), "recorded": rate("recorded"),
            **{name: rate(name) for name in KERNELS},
            "ratio": ratio(plain.wall, eager.wall), "ratio_cpu": ratio(plain.cpu, eager.cpu),
            "bfloat16_ratio": ratio(plain.cpu, paces["bfloat16"].cpu),
            **{
                f"{name}_ratio": ratio(plain.cpu, paces[name].cpu) if name in paces else None
                for name in ("compiled", *KERNELS)
            },
            "plain_per_cpu_second": per_second(plain.cpu), "eager_per_cpu_second": per_second(eager.cpu),
            "limit_share": ratio(limits, eager.cpu), "gflop_per_update": operations / 1e9,
            "gflop_per_second": product * per_second(paces["product"].cpu) / 1e9, "parity_error": error,
            "trajectory_ql": {
                str(history): ratio(paces[f"history {history}"].cpu, eager.cpu) for history in self.histories
            },
            "threads": torch.get_num_threads(), "device": self.device,
            "kind": kind_of(CPUINFO), "other_kinds": other_kinds(kind_of(CPUINFO)),
            "load": os.getloadavg()[0],
            "rounds": self.rounds, "updates": self.updates, "batch_size": self.batch_size,
        }  # fmt: skip

    def _tell(self, found: dict[str, Any]) -> None:
        """Print what was found."""
        for name in ("plain", "eager", "compiled", "bfloat16", *KERNELS, "recorded"):
            if found[name] is not None:
                say(f"{name:<16} {found[name]:7.1f} updates/s")
        say(
            f"diffusion_ql makes {found['ratio_cpu']:.2f} updates in the processor time of a plain one "
            f"({found['ratio']:.2f} by the clock, load {found['load']:.1f}), "
            f"{found['limit_share']:.0%} of what {found['gflop_per_second']:.0f} GFLOP/s allow"
        )
        say(f"largest difference from the plain version {found['parity_error']:.1e}")
        for history, times in found["trajectory_ql"].items():
            say(f"trajectory_ql at H = {history} takes {times:.2f} times as long as diffusion_ql")
        for line in told(found["kind"], found["other_kinds"]):
            say(line)


def make_store(obs_dim: int, action_dim: int, seed: int) -> TrajectoryStore:
    """Return 100 episodes of 1,000 random steps."""
    import numpy as np

    from trajrl.core.rng import stream
    from trajrl.store.episode import Episode
    from trajrl.store.store import TrajectoryStore

    rng = stream(seed, "bench")
    return TrajectoryStore.of(
        Episode(
            rng.standard_normal((1001, obs_dim), np.float32),
            rng.uniform(-1, 1, (1000, action_dim)).astype(np.float32),
            rng.standard_normal(1000, np.float32),
            terminated=bool(index % 2),
        )
        for index in range(100)
    )
