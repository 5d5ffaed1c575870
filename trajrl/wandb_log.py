"""WandbLog: the scalars of a run in Weights & Biases, offline unless WANDB_MODE says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trajrl.config import RunConfig


class WandbLog:
    """Sends scalars by step; one per run, closed with it."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ValueError("--wandb needs the extra 'wandb': pip install 'trajrl[wandb]'") from error
        self.run = wandb.init(
            project="trajrl", name=folder.name, id=folder.name, resume="allow", config=asdict(config),
            dir=str(folder), mode=os.environ.get("WANDB_MODE", "offline"),
        )  # fmt: skip

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Send scalars of one step."""
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        """Finish the run."""
        self.run.finish()
