"""Boards: what shows a run's scalars, constants and videos elsewhere, Weights & Biases and MLflow.

TensorBoard is written always, by the logger itself; `Facts` keeps what is constant off every one's curves.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trajrl.core.extras import install

if TYPE_CHECKING:
    from trajrl.training.config import RunConfig

PROJECT = "trajrl"
OF_A_CLUSTER = {"episodes", "length_mean", "length_std", "return_mean", "data_share"}
PARAMS_AT_ONCE = 100  # that MLflow takes in one call


class Board(Protocol):
    """Something that shows a run."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Show scalars of one step."""

    def facts(self, values: Mapping[str, float], step: int) -> None:
        """Show what holds from this step on."""

    def video(self, name: str, mp4: bytes, step: int) -> None:
        """Show a video of one step."""

    def close(self) -> None:
        """Flush."""


class Facts:
    """Takes off the curves what a row says of clusters and data, not of a step; shown when it changes."""

    def __init__(self) -> None:
        self._shown: dict[str, float] = {}

    def take(self, row: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
        """Return the row's curves, and those of its facts that are new."""
        facts = {name: value for name, value in row.items() if is_fact(name)}
        new = {name: value for name, value in facts.items() if self._shown.get(name) != value}
        self._shown |= new
        return {name: value for name, value in row.items() if name not in facts}, new


def is_fact(name: str) -> bool:
    """Say whether a metric describes the data and its clusters, and no step of the run."""
    parts = name.split("/")
    if "sampler" not in parts:
        return False
    own = parts[parts.index("sampler") + 1 :]
    if "cluster" in own:
        return own[-1] in OF_A_CLUSTER or own[-1].startswith("data_")
    return own[-1] == "clusters" or (own[-2:-1] == ["score"] and own[-1].isdigit())


def flat(config: RunConfig) -> dict[str, Any]:
    """Return the fields of a config without nesting, as plain values: agent_options.eta = 1.0."""
    found: dict[str, Any] = {}
    for name, value in asdict(config).items():
        inner = {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {}
        found |= inner or ({} if isinstance(value, dict) else {name: value})
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in found.items()
    }


class WandbLog:
    """Sends a run to Weights & Biases; one per run, closed with it."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ValueError(f"--wandb needs the extra 'wandb': {install('wandb')}") from error
        self.wandb = wandb
        self.run = wandb.init(
            project=PROJECT, name=folder.name, id=folder.name, resume="allow", config=asdict(config),
            dir=str(folder), mode=os.environ.get("WANDB_MODE", "offline"),
            settings=wandb.Settings(symlink=False),
        )  # fmt: skip
        drop_links(Path(self.run.dir).parent)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Send scalars of one step."""
        self.run.log(dict(values), step=step)

    def facts(self, values: Mapping[str, float], step: int) -> None:
        """Put what is constant into the run's summary."""
        self.run.summary.update(dict(values))

    def video(self, name: str, mp4: bytes, step: int) -> None:
        """Send a video of one step."""
        with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
            file.write(mp4)
            file.flush()
            self.run.log({name: self.wandb.Video(file.name, format="mp4")}, step=step)

    def close(self) -> None:
        """Finish the run."""
        self.run.finish()


def drop_links(folder: Path) -> None:
    """Take away the links that W&B makes to its log elsewhere: a run is written into where none leads out."""
    for path in list(folder.rglob("*")):
        if path.is_symlink():
            path.unlink()


class MlflowLog:
    """Sends a run to MLflow, where MLFLOW_TRACKING_URI says, else where MLflow keeps its own files.

    A run that is resumed continues under the id that it had: it is found by a digest of its folder.
    """

    def __init__(self, folder: Path, config: RunConfig) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise ValueError(f"--mlflow needs the extra 'mlflow': {install('mlflow')}") from error
        self.mlflow = mlflow
        mlflow.set_experiment(PROJECT)
        before = self._before(folder) if (folder / "checkpoints/latest").exists() else None
        tags = {"trajrl.folder": str(folder.resolve()), "trajrl.key": _key(folder)}
        mlflow.start_run(run_id=before, run_name=folder.name, tags=tags)
        if before is None:  # a parameter keeps the value it was first given
            params = list(flat(config).items())
            for first in range(0, len(params), PARAMS_AT_ONCE):
                mlflow.log_params(dict(params[first : first + PARAMS_AT_ONCE]))
        mlflow.log_text(json.dumps(asdict(config), indent=2), "config.json")

    def _before(self, folder: Path) -> str | None:
        """Return the id under which this folder was logged last."""
        found = self.mlflow.search_runs(
            experiment_names=[PROJECT], filter_string=f"tags.`trajrl.key` = '{_key(folder)}'", max_results=1,
            order_by=["attributes.start_time DESC"], output_format="list",
        )  # fmt: skip
        return str(found[0].info.run_id) if found else None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Send scalars of one step."""
        self.mlflow.log_metrics(dict(values), step=step)

    def facts(self, values: Mapping[str, float], step: int) -> None:
        """Keep what is constant as a file."""
        lines = "".join(f"{name}\t{value:.6g}\n" for name, value in values.items())
        self.mlflow.log_text(lines, f"facts/step-{step}.tsv")

    def video(self, name: str, mp4: bytes, step: int) -> None:
        """Keep a video as a file."""
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / f"step-{step}.mp4"
            path.write_bytes(mp4)
            self.mlflow.log_artifact(str(path), name)

    def close(self) -> None:
        """End the run."""
        self.mlflow.end_run()


def boards(folder: Path, config: RunConfig) -> list[Board]:
    """Open the boards that a run asks for."""
    asked = ((config.wandb, WandbLog), (config.mlflow, MlflowLog))
    return [kind(folder, config) for wanted, kind in asked if wanted]


def _key(folder: Path) -> str:
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]
