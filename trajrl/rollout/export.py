"""Export: one policy step as a file that runs without trajrl, and the proof that it is the same policy.

    in   obs (1, H, obs)   prev_actions (1, H, act)   mask (1, H)   normal (1, Z)   exponential (1, Z')
         and each image under its key, (1, H, height, width, channels) uint8, before the noise
    out  actions (1, N, act)

The history is explicit, padding first; noise is an input, N(0, 1) and Exp(1), where the policy draws any;
observations are given as recorded, and normalised inside.  Actions, those before and those that come out, are
in the environment's own units where its box is known, else in [-1, 1]; before the first there is the box's
middle.  The facts beside the step have the box.
"""

from __future__ import annotations

import importlib
import io
import json
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from trajrl.agents.base.protocol import Agent, History
from trajrl.core.extras import install
from trajrl.core.rng import torch_stream
from trajrl.rollout.captured_noise import KINDS, Given, Noted
from trajrl.store.action_box import FLAT, ActionBox

if TYPE_CHECKING:
    from collections.abc import Iterator

TOLERANCE = 1e-4
NAMES = ("obs", "prev_actions", "mask")
KEPT = 4  # windows that travel with the file, so that the machine it runs on can be checked too
Exported = Callable[[Sequence[np.ndarray]], np.ndarray]  # inputs in order -> actions (1, N, act)


class PolicyStep(nn.Module):
    """An agent's `act` for one environment, as a function of tensors alone."""

    middle: Tensor  # (act,) of the box
    reach: Tensor  # (act,) half its width

    def __init__(self, agent: Agent, window: Window, box: ActionBox | None = None) -> None:
        """Take in the agent.

        Args:
            window: what a step is given looks like this one
            box: that actions are taken and given in; None: [-1, 1]
        """
        super().__init__()
        self.scales = box is not None and not box.is_unit  # else the graph is the agent's alone
        if box is not None:
            self.register_buffer("middle", torch.from_numpy(box.middle))
            self.register_buffer("reach", torch.from_numpy(box.half))
        found = getattr(agent, "parts", vars(agent))
        self.nets = nn.ModuleDict({name: net for name, net in found.items() if isinstance(net, nn.Module)})
        self.kinds, self.images = window.kinds, len(window.images)
        self._agent = [agent]  # in a list: it is no module

    def forward(self, obs: Tensor, prev_actions: Tensor, mask: Tensor, *others: Tensor) -> Tensor:
        """Return the chunk of actions (1, N, act)."""
        if self.scales:
            inside = (prev_actions - self.middle) / self.reach.clamp(min=float(FLAT))
            prev_actions = torch.where(mask[..., None], inside, 0.0)
        images, noise = others[: self.images], others[self.images :]
        with Given({kind: numbers[0] for kind, numbers in zip(self.kinds, noise)}):
            chunk = self._agent[0].act(History(obs, prev_actions, mask, images), [torch.Generator()], False)
        chunk = chunk.float().clamp(-1, 1)
        return self.middle + self.reach * chunk if self.scales else chunk


@dataclass(frozen=True)
class Window:
    """What the live policy was given and what it chose."""

    inputs: tuple[Tensor, ...]  # obs, prev_actions, mask, the images, one row of numbers for each law
    kinds: tuple[str, ...]
    actions: Tensor  # (1, N, act)
    images: tuple[str, ...] = ()  # their keys

    @property
    def names(self) -> tuple[str, ...]:
        """Return what the inputs are called, in order."""
        return (*NAMES, *self.images, *self.kinds)

    @property
    def history(self) -> History:
        """Return what the policy saw."""
        obs, prev_actions, mask, *others = self.inputs
        return History(obs, prev_actions, mask, tuple(others[: len(self.images)]))

    def within(self, box: ActionBox | None) -> Window:
        """Return the window with its actions brought from [-1, 1] into a box."""
        if box is None:
            return self
        obs, prev_actions, *others = self.inputs
        prev_actions, actions = (
            torch.from_numpy(box.from_unit(part.cpu().numpy())) for part in (prev_actions, self.actions)
        )
        return Window((obs, prev_actions, *others), self.kinds, actions, self.images)


def act_noted(agent: Agent, history: History, seed: int, number: int, images: tuple[str, ...] = ()) -> Window:
    """Let the agent act on one history (1, H, ...) and note what it drew."""
    with torch.no_grad(), Noted() as noted:
        chosen = agent.act(history, [torch_stream(seed, "policy", number)], False)
    kinds = tuple(kind for kind in KINDS if noted.drawn[kind])
    drawn = tuple(noted.numbers(kind)[None] for kind in kinds)
    seen = (history.obs, history.prev_actions, history.mask, *history.images)
    return Window((*seen, *drawn), kinds, chosen.float().clamp(-1, 1), images)


def write_policy(
    agent: Agent,
    windows: Sequence[Window],
    facts: dict[str, Any],
    path: Path,
    format: str,
    box: ActionBox | None = None,
) -> None:
    """Write the policy step; the first windows travel with it.

    Args:
        windows: with their actions in the box
        box: that the step takes and gives actions in; None: [-1, 1]
    """
    example = windows[0]
    text = json.dumps({**facts, "check": [_listed(window) for window in windows[:KEPT]]})
    with _quiet(), torch.no_grad():
        program = torch.export.export(PolicyStep(agent, example, box), example.inputs, strict=False)
        if format == "torch":
            whole = io.BytesIO()  # torch would not say that a disk is full
            torch.export.save(program, whole, extra_files={"trajrl.json": text})
            path.write_bytes(whole.getvalue())
        else:
            _write_onnx(program, example, text, path)


def _write_onnx(program: Any, example: Window, text: str, path: Path) -> None:
    found = torch.onnx.export(
        program, example.inputs, dynamo=True, verbose=False, input_names=list(example.names),
        output_names=["actions"], external_data=False,
    )  # fmt: skip
    assert found is not None
    found.model.metadata_props["trajrl"] = text
    found.save(str(path), external_data=False)


def read(path: Path, format: str) -> Exported:
    """Load a written step as a function of numpy arrays."""
    if format == "torch":
        step = torch.export.load(path).module()

        def run(inputs: Sequence[np.ndarray]) -> np.ndarray:
            with torch.no_grad():
                return step(*map(torch.from_numpy, inputs)).numpy()

        return run
    onnxruntime = require("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs)))[0]


def require(*names: str) -> Any:
    """Import packages of the extra 'export', and return the first; a missing one is named."""
    try:
        return next(iter([importlib.import_module(name) for name in names]))
    except ImportError as error:
        raise ImportError(
            f"--format onnx needs {error.name or names[0]}, of the extra 'export': {install('export')}"
        ) from error


def largest_difference(exported: Exported, windows: Sequence[Window], box: ActionBox | None = None) -> float:
    """Return the largest distance of exported actions from the live policy's, as a share of half the box."""
    half = np.maximum(box.half, FLAT) if box else 1.0
    apart = [np.abs((exported(arrays(window)) - window.actions.numpy()) / half).max() for window in windows]
    return float(np.max(apart))  # NaN where one is; Python's max may pass over it


def arrays(window: Window) -> list[np.ndarray]:
    """Return the inputs as numpy arrays."""
    return [part.numpy() for part in window.inputs]


def milliseconds(call: Callable[[], Any], seconds: float = 0.5, least: int = 20) -> float:
    """Return the median time of a call, after a few to warm up."""
    for _ in range(3):
        call()
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times))


def _listed(window: Window) -> dict[str, Any]:
    return {
        **{n: part.tolist() for n, part in zip(window.names, window.inputs)},
        "actions": window.actions.tolist(),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes about its own insides from the user."""
    logger = logging.getLogger("torch.onnx")
    before, logger.disabled = logger.level, False
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
