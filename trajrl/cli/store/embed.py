"""`store embed`: vectors in place of images, by a frozen encoder: any agent, on any processor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from trajrl.cli.common import Common, progress, say
from trajrl.cli.option import silent
from trajrl.store.notes import amount


@dataclass(frozen=True, kw_only=True)
class Embed(Common):
    """Replace the images of a store by features of a frozen encoder, beside the state."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="X.h5")]
    """Store with images."""
    out: Annotated[Path, tyro.conf.arg(metavar="Y.h5")]
    """Store of vectors to write."""
    encoder: Annotated[str, tyro.conf.arg(metavar="NAME|FILE.pt")]
    """impala_small or resnet18 with random weights of --seed, or weights of a ResNet-18 under torchvision's
    names (a state_dict in a .pt or .pth file)."""
    obs_keys: Annotated[str | None, silent("state,NAME,...", "all that the store has")] = None
    """What is kept of an observation: state, the vector, and images by name."""
    overwrite: bool = False
    """Replace a store that has this name."""

    def run(self) -> dict[str, Any]:
        """Write the store and say how wide its observations are."""
        from trajrl.formats.base.embed import embed_store

        keys = self.obs_keys.split(",") if self.obs_keys else ()
        found = embed_store(
            self.source.expanduser(), self.out.expanduser(), self.encoder, keys, self.seed, progress,
            self.overwrite,
        )  # fmt: skip
        if self.encoder.endswith((".pt", ".pth")):
            say(f"acting makes the same features from {self.encoder}: keep it where it is")
        say(
            f"{amount(found)} to {self.out}: observations "
            f"of {found['obs_dim']} numbers, {found['features']} of them from {', '.join(found['images'])}"
        )
        return found
