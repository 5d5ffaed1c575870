"""`export`: the policy of a run as one file that acts without trajrl."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from trajrl.cli.common import Common, refuse_existing, say
from trajrl.cli.option import ALIKE, silent
from trajrl.core.atomic_files import Scratch, said, write_text
from trajrl.core.paths import CHECKOUT
from trajrl.samplers import make_sampler
from trajrl.store.places import join_places, named

if TYPE_CHECKING:
    from trajrl.agents.base.protocol import Agent
    from trajrl.rollout.export import Window
    from trajrl.store.action_box import ActionBox
    from trajrl.store.store import TrajectoryStore
    from trajrl.store.window import WindowSpec
    from trajrl.training.config import RunConfig
    from trajrl.training.run_dir.load_run import LoadedRun

ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}
UNKNOWN = "actions go in and come out in [-1, 1]: neither the data nor an environment names their box"


@dataclass(frozen=True, kw_only=True)
class Export(Common):
    """Write one policy step to a file, and check it against the live policy on windows of the data.

    History in, actions out; noise is an input; normalisation is inside.  examples/act.py runs the file.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Folder of the run."""
    format: Literal["onnx", "torch"] = "onnx"
    """onnx for onnxruntime, or torch for torch.export.load."""
    out: Annotated[Path | None, silent("FILE", "RUN/policy.onnx or RUN/policy.pt2")] = None
    """File to write."""
    checkpoint: Annotated[
        str, silent(ALIKE["checkpoint"], "distilled where the run has a student, else last")
    ] = ""
    """Which policy: last, best, selected, distilled, or the step of an evaluation."""
    data: Annotated[tuple[str, ...], silent("PATH ...", "the run's own")] = ()
    """Data to check on, where the run's own is no longer there."""
    windows: int = 64
    """Windows to check on."""
    overwrite: bool = False
    """Replace the file if it exists."""

    def run(self) -> dict[str, Any]:
        """Write, check, time."""
        from trajrl.training import build
        from trajrl.training.run_dir.load_run import load_run

        if self.windows < 1:
            raise ValueError(f"--windows must be at least 1; got {self.windows}")
        run = load_run(self.folder)
        out = self.out or self.folder / f"policy{ENDINGS[self.format]}"
        self._require_free(out)
        build.set_threads(run.config)
        which = self.checkpoint or ("distilled" if run.has_student else "last")
        agent, store = run.agent(which), self._store(run.config)
        box = self._box(run, store, which)
        windows = [window.within(box) for window in self._windows(agent, store)]
        facts = self._facts(run, store, which, agent.spec, box)
        found = self._write(out, agent, windows, facts, box)
        self._tell(out, facts, found, box, f"{len(windows)} windows of {named(self._data(run.config))}")
        return {"out": str(out), "format": self.format, "bytes": out.stat().st_size, **facts, **found}

    def _require_free(self, out: Path) -> None:
        """Refuse to replace files unasked, or to write ONNX without its packages."""
        from trajrl.cli.card import card_file
        from trajrl.rollout import export

        refuse_existing(out, self.overwrite)
        refuse_existing(card_file(out), self.overwrite)
        if self.format == "onnx":
            export.require("onnxruntime", "onnx", "onnxscript")

    def _box(self, run: LoadedRun, store: TrajectoryStore, which: str) -> ActionBox | None:
        """Show the store's actions in the units of the training; return the box that is acted in."""
        from trajrl.training.action_units import trained_units

        units = trained_units(store, run.config.actions, run.action_box(which))
        store.set_shaping(action=units.shape())
        return units.acted

    def _facts(
        self, run: LoadedRun, store: TrajectoryStore, which: str, spec: WindowSpec, box: ActionBox | None
    ) -> dict[str, Any]:
        """Return what the file says of the policy in it."""
        from trajrl.cli.card import card

        config, step, acts_in = run.config, run.step(which), run.environment(which)
        return {
            "agent": config.agent, "step": step, "environment": acts_in,
            "obs_dim": store.seen_dim, "action_dim": store.action_dim,
            "history": spec.history, "chunk": spec.chunk,
            "checkpoint": which, "box": [box.low.tolist(), box.high.tolist()] if box else None,
            "card": card(self.folder, config, step, store, acts_in, which),
        }  # fmt: skip

    def _write(
        self, out: Path, agent: Agent, windows: list[Window], facts: dict[str, Any], box: ActionBox | None
    ) -> dict[str, Any]:
        """Write the policy aside, and publish it with its card once it acts as the live one does."""
        from trajrl.cli.card import as_text, card_file
        from trajrl.rollout import export

        scratch = Scratch(out)
        place = scratch.folder / f"policy{ENDINGS[self.format]}"
        try:
            with said(out):
                export.write_policy(agent, windows, facts, place, self.format, box)
            found = self._check(place, agent, windows, box)
            with said(out):
                scratch.publish(place)
            write_text(card_file(out), as_text(facts["card"], out.name))
        finally:
            scratch.remove()
        return found

    def _tell(
        self, out: Path, facts: dict[str, Any], found: dict[str, Any], box: ActionBox | None, where: str
    ) -> None:
        """Print what was written, how far it is from the live policy, what it costs and how to run it."""
        from trajrl.cli.card import card_file

        say(f"{card_file(out)}: what it is, from which data, what it scored")
        kind = "one-step student of the policy" if facts["checkpoint"] == "distilled" else "policy"
        size = out.stat().st_size / 1024
        say(f"{out}: {facts['agent']}, {kind} of step {facts['step']}, {size:.0f} KiB")
        share = "" if box is None or box.is_unit else " of half the box"
        say(f"largest difference from the live policy on {where}: {found['max_difference']:.1e}{share}")
        times = found["milliseconds"], found["live_milliseconds"]
        say("one step takes {:.2f} ms, the live policy's {:.2f} ms".format(*times))
        if "chain_milliseconds" in found:
            say(f"the chain that the student stands for takes {found['chain_milliseconds']:.2f} ms, live")
        say(f"actions go in and come out in the environment's own units, {box}" if box else UNKNOWN)
        needs = "onnxruntime" if self.format == "onnx" else "torch"
        if CHECKOUT:
            say(f"python examples/act.py {out}   runs it, with numpy and {needs} alone")

    def _data(self, config: RunConfig) -> str:
        return join_places(self.data) if self.data else config.data

    def _store(self, config: RunConfig) -> TrajectoryStore:
        """Open the run's data."""
        from trajrl.training.data import open_data
        from trajrl.training.goals import show_goals

        try:
            store = open_data(replace(config, data=self._data(config)))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}; the export is checked on windows of the run's data: give --data"
            ) from error
        show_goals(store, config)
        return store

    def _windows(self, agent: Agent, store: TrajectoryStore) -> list[Window]:
        """Let the live policy act on histories of the store, each step equally likely."""
        from trajrl.agents.base.protocol import history_of
        from trajrl.core.rng import stream
        from trajrl.rollout.export import act_noted
        from trajrl.store.gather import gather

        sizes, shown = (store.seen_dim, store.action_dim), getattr(agent, "images", {})
        own = getattr(agent, "obs_dim", store.seen_dim), agent.action_dim
        if sizes != own or store.image_shapes != shown:
            raise ValueError(
                "the data has other observations or actions than the run; give its own as --data"
            )
        anchors = make_sampler("uniform", store).sample(stream(self.seed, "export"), self.windows)
        batch = gather(store, anchors, agent.spec)
        history = history_of(batch)
        return [
            act_noted(agent, history.rows(slice(i, i + 1)), self.seed, i, tuple(store.images))
            for i in range(self.windows)
        ]

    def _check(
        self, path: Path, agent: Agent, windows: list[Window], box: ActionBox | None
    ) -> dict[str, Any]:
        """Compare the file with the live policy, and time both."""
        from trajrl.core.rng import torch_stream
        from trajrl.rollout import export

        exported = export.read(path, self.format)
        distance = export.largest_difference(exported, windows, box)
        if not distance <= export.TOLERANCE:
            raise ValueError(
                f"the exported policy differs from the live one by {distance:.2g}, "
                f"more than {export.TOLERANCE:g}; no file is written"
            )
        inputs, history = export.arrays(windows[0]), windows[0].history
        rng = [torch_stream(self.seed, "policy", 0)]
        return {
            "windows": len(windows), "max_difference": distance,
            "milliseconds": export.milliseconds(lambda: exported(inputs)),
            "live_milliseconds": export.milliseconds(lambda: agent.act(history, rng, False)),
            **self._of_chain(agent),
        }  # fmt: skip

    def _of_chain(self, agent: Agent) -> dict[str, float]:
        """Return the time of an action of the chain, where a student acts in its place."""
        from trajrl.agents.base.proposer import ChainAgent
        from trajrl.training.distil_score import times_of_action

        if not isinstance(agent, ChainAgent) or agent.student is None:
            return {}
        return {"chain_milliseconds": times_of_action(agent, agent.student)["chain"]}
