"""The parts of gpu_day that time updates, gathers and seeds in its own process; gpu_day_runs trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trajrl.agents import AGENTS, make_agent
from trajrl.core import compile as compiler
from trajrl.core.registry import find
from trajrl.core.rng import stream, torch_stream
from trajrl.samplers import make_sampler
from trajrl.store.episode import Episode
from trajrl.store.gather import gather
from trajrl.store.store import TrajectoryStore
from trajrl.training.cuda_graph import WARM, RecordedUpdates, as_cuda_graph, leaves

if TYPE_CHECKING:
    from gpu_day import Book

TIMED = {"diffusion_ql": {}, "trajectory_ql": {"history": 8}, "acfql": {"width": 512, "depth": 4}}
FIRST = next(iter(TIMED))  # of which more is measured than of the others
CLOSE = 1e-3  # largest difference of a number after CHECKED updates, as a share of its size
CHECKED = 4  # recorded updates that are compared
PATHS: dict[str, dict[str, Any]] = {
    "eager": {}, "recorded": {"recorded": True}, "recorded, TF32": {"recorded": True, "tf32": True},
    "bfloat16": {"bfloat16": True}, "recorded, bfloat16": {"recorded": True, "bfloat16": True},
    "compiled": {"compiled": True}, "recorded, compiled": {"recorded": True, "compiled": True},
}  # fmt: skip


def recorded(book: Book) -> None:
    """Compare the recorded update with the eager one, for every agent; the agents timed later come first."""
    for name in sorted(AGENTS, key=lambda name: (name not in TIMED, name)):
        if not book.due(name):
            continue
        try:
            largest, count = difference(book, name)
        except Exception as error:  # one agent's fault is a row, and the others are still asked
            book.row("recorded", name, "failed", same=False, note=" ".join(str(error).split())[:300])
            continue
        how = f"{count} recorded" if count else "runs as it is"
        book.row("recorded", name, how, largest_difference=largest, same=largest < CLOSE)


def difference(book: Book, name: str) -> tuple[float, int]:
    """Return the largest relative difference after some updates, and how many programs were recorded."""
    own, other = agent_of(book, name), agent_of(book, name)
    other.substitute("learn", stand_in := RecordedUpdates(other, recorder(book, other)))
    store, rng, largest = small_store(book), stream(0, "gpu day"), 0.0
    sampler = make_sampler("uniform", store)
    for step in range(WARM + CHECKED):
        anchors = sampler.sample(rng, book.sizes.batch * own.updates_per_batch)
        found = [
            agent.update(gather(store, anchors, agent.spec, agent.device), torch_stream(0, "agent", step))
            for agent in (own, other)
        ]
        for left, right in zip(numbers(found[0]), numbers(found[1]), strict=True):
            largest = max(largest, relative(left, right))
    for left, right in zip(weights(own), weights(other), strict=True):
        largest = max(largest, relative(left, right))
    return largest, len(stand_in.records)


def numbers(update: Any) -> list[Tensor]:
    """Return the metrics and TD errors of an update."""
    return [*update.metrics.values(), update.td_error]


def weights(agent: Any) -> list[Tensor]:
    """Return an agent's weights."""
    nets = [part for part in agent.parts.values() if isinstance(part, torch.nn.Module)]
    return [weight for net in nets for weight in net.state_dict().values()]


def relative(left: Tensor, right: Tensor) -> float:
    """Return the largest difference as a share of the largest number; NaN beside NaN is no difference."""
    left, right = left.detach().double().nan_to_num(), right.detach().double().nan_to_num()
    return float((left - right).abs().max() / left.abs().max().clamp(min=1e-3)) if left.numel() else 0.0


def paths(book: Book) -> None:
    """Time one update of each agent along every path."""
    for path, options in PATHS.items():
        for name in TIMED:
            timed(
                book, "paths", name, path, lambda name=name, options=options: updating(book, name, **options)
            )


def batches(book: Book) -> None:
    """Time the recorded update of one agent at several sizes of the batch."""
    for size in book.sizes.batches:
        call = lambda size=size: updating(book, FIRST, recorded=True, batch=size)  # noqa: E731
        timed(book, "batch", FIRST, f"batch {size}", call, windows=size)


def stores(book: Book) -> None:
    """Time the gather alone and with an update, from each place where a store may lie."""
    for place in ("device", "pinned", "host"):
        if place == "pinned" and book.device.type != "cuda":
            book.row("store", FIRST, place, note="there is no pinned memory without a GPU")
            continue
        for size in (book.sizes.batch, max(book.sizes.batches)):
            drawn = lambda place=place, size=size: drawing(book, FIRST, size, place)  # noqa: E731
            timed(book, "store", FIRST, f"{place}, gather of {size}", drawn, unit="gathers_per_second")
        call = lambda place=place: updating(book, FIRST, recorded=True, place=place)  # noqa: E731
        timed(book, "store", FIRST, f"{place}, with an update", call)


def seeds(book: Book) -> None:
    """Time R seeds as one program; updates are counted per seed."""
    try:
        from trajrl.training.stacked_agent import StackedAgent
    except ModuleNotFoundError:
        book.row("seeds", FIRST, "left out", note="this tree trains one seed at a time")
        return
    for count in book.sizes.seeds:
        for path in ("eager", "recorded"):
            call = lambda count=count, path=path: stacked(book, StackedAgent, count, path == "recorded")  # noqa: E731
            timed(book, "seeds", FIRST, f"{count} seeds, {path}", call, seeds=count)


def stacked(book: Book, kind: Any, count: int, as_record: bool) -> Callable[[], object]:
    """Return one update of several seeds."""
    agents = [agent_of(book, FIRST, seed=seed, **TIMED[FIRST]) for seed in range(count)]
    draw = [drawing(book, FIRST, book.sizes.batch, "device", seed) for seed in range(count)]
    program = kind(agents)
    if as_record:
        program.stage = program.program.stage
        program.learn = RecordedUpdates(program, recorder(book))
    noise = [torch_stream(seed, "gpu day") for seed in range(count)]

    def learn() -> object:
        parts = [list(leaves(one())) for one in draw]
        whole = iter([torch.stack(place) for place in zip(*parts)])
        return program.update(filled(draw[0](), whole), noise)

    return learn


def filled(tree: Any, tensors: Iterator[Tensor]) -> Any:
    """Return nested tuples with the next tensor in the place of each."""
    if isinstance(tree, tuple):
        parts = [filled(part, tensors) for part in tree]
        return tree._make(parts) if hasattr(tree, "_make") else tuple(parts)
    return next(tensors) if isinstance(tree, Tensor) else tree


def timed(
    book: Book,
    part: str,
    agent: str,
    what: str,
    make: Callable[[], Callable[[], object]],
    unit: str = "updates_per_second",
    **facts: Any,
) -> None:
    """Time what `make` returns, and write a row whatever comes of it."""
    if not book.due(f"{agent} {what}"):
        return
    cuda = book.device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        began = time.monotonic()
        call = make()
        for _ in range(2 * WARM):  # a record is made meanwhile
            call()
        wait(book)
        first = time.monotonic() - began
        found = {unit: rate(book, call), "first_seconds": first}
    except Exception as error:  # a path that does not run is a row too
        book.row(part, agent, what, **facts, note=" ".join(str(error).split())[:300])
        return
    if cuda:
        found["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
    book.row(part, agent, what, **found, **facts)


def rate(book: Book, call: Callable[[], object]) -> float:
    """Return calls per second."""
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < min(book.sizes.seconds, max(0.1, book.left)) or calls < 3:
        for _ in range(10 if book.device.type == "cuda" else 1):
            call()
            calls += 1
        wait(book)
    return calls / (time.perf_counter() - began)


def wait(book: Book) -> None:
    """End when the device has done what was asked of it."""
    if book.device.type == "cuda":
        torch.cuda.synchronize(book.device)


def updating(
    book: Book,
    name: str,
    *,
    batch: int = 0,
    place: str = "device",
    compiled: bool = False,
    recorded: bool = False,
    bfloat16: bool = False,
    tf32: bool = False,
) -> Callable[[], object]:
    """Return one update, the drawing of its batch included."""
    agent = agent_of(book, name, **TIMED.get(name, {}))
    draw, noise = drawing(book, name, batch or book.sizes.batch, place), torch_stream(0, "gpu day")
    if compiled:
        with stand_in_compiler(book):
            compiler.compile_losses(agent, "default")
    if recorded:
        agent.substitute("learn", RecordedUpdates(agent, recorder(book)))

    def learn() -> object:
        with torch.autocast(book.device.type, torch.bfloat16, enabled=bfloat16), precision(tf32):
            return agent.update(draw(), noise)

    return learn


def drawing(book: Book, name: str, batch: int, place: str, seed: int = 0) -> Callable[[], Any]:
    """Return what draws a batch from a store that lies on the device, in pinned memory or on the host."""
    spec = agent_of(book, name, **TIMED[name]).spec
    store = large_store(book, place)
    if place == "device":
        store.keep_on(book.device)
    sampler, rng = make_sampler("uniform", store, seed), stream(seed, "gpu day")

    def draw() -> Any:
        anchors = sampler.sample(rng, batch)
        if place != "pinned":
            return gather(store, anchors, spec, book.device)
        windows = gather(store, anchors, spec)
        moved = (part.pin_memory().to(book.device, non_blocking=True) for part in leaves(windows))
        return filled(windows, iter(list(moved)))

    return draw


@contextmanager
def precision(tf32: bool) -> Iterator[None]:
    """Let the factors of products have ten bits for a while."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def stand_in_compiler(book: Book) -> Iterator[None]:
    """On a CPU, where only the code is tried, trace and do not compile."""
    before = compiler.BACKEND
    compiler.BACKEND = before if book.device.type == "cuda" else "eager"
    try:
        yield
    finally:
        compiler.BACKEND = before


def recorder(book: Book, agent: Any = None) -> Callable[[Any], Any]:
    """Return what records: a CUDA graph or, on a CPU, what stands for it.

    That is a tracer of the agent's operations, or without an agent the program itself: tracing takes seconds.
    """
    if book.device.type == "cuda":
        return as_cuda_graph
    if agent is None:
        return lambda program: program

    def traced(program: Any) -> Any:
        from torch.fx.experimental.proxy_tensor import make_fx

        before = deepcopy(agent.state_dict())
        operations = make_fx(program)()
        agent.load_state_dict(before)  # undo what tracing did
        return torch.no_grad()(operations)

    return traced


def agent_of(book: Book, name: str, seed: int = 0, **config: Any) -> Any:
    """Build an agent in its published size, or a toy one."""
    own = agent_fields(name, {**config, **book.sizes.networks})
    sizes = book.sizes.obs_dim, book.sizes.action_dim
    facts = {"obs_mean": np.zeros(sizes[0]), "obs_std": np.ones(sizes[0])}
    return make_agent(name, *sizes, device=str(book.device), seed=seed, statistics=facts, **own)


def agent_fields(name: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Return those fields of an agent's config that it has."""
    known = {one.name for one in fields(find(AGENTS, name, "agent").Config)}
    own = {key: value for key, value in asked.items() if key in known}
    if "diffusion_steps" in own and name == "edp":
        own |= {"diffusion_steps": 30, "solver_steps": 4}  # what fewer levels would not allow
    return own


def large_store(book: Book, place: str) -> TrajectoryStore:
    """Return the store that is drawn from, made once for the device and once for the host."""
    return random_store(book.sizes.transitions, book.sizes.obs_dim, book.sizes.action_dim, place == "device")


def small_store(book: Book) -> TrajectoryStore:
    """Return a few episodes, which lie on the host."""
    return random_store(2_000, book.sizes.obs_dim, book.sizes.action_dim)


@cache
def random_store(
    transitions: int, obs_dim: int, action_dim: int, apart: bool = False, length: int = 1000
) -> TrajectoryStore:
    """Return episodes of random numbers in memory; `apart` is one that others do not see."""
    rng = stream(0, "gpu day")
    return TrajectoryStore.of(
        Episode(
            rng.standard_normal((length + 1, obs_dim), np.float32),
            rng.uniform(-1, 1, (length, action_dim)).astype(np.float32),
            rng.standard_normal(length, np.float32), terminated=bool(index % 2),
        ) for index in range(transitions // length)
    )  # fmt: skip
