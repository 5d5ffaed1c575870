"""How foreign data is read: the options that `store import` and `store doctor` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional

from trajrl.cli.common import Common, progress
from trajrl.cli.option import silent
from trajrl.cli.store.boxes import environment_box, given_box
from trajrl.formats import open_source

if TYPE_CHECKING:
    from trajrl.formats.base.source import Source


@dataclass(frozen=True, kw_only=True)
class Reading(Common):
    """How a foreign source is read."""

    source: Positional[str]
    """A file, a folder of shards, a LeRobot or Minari set, or a name such as hopper-medium-v2."""
    format: Literal[
        "auto", "d4rl", "lerobot", "minari", "npz", "ogbench", "pickle", "rlds", "robomimic", "zarr"
    ] = "auto"
    """What the source is; auto looks at its content."""
    env: Annotated[str, silent("ID", "as the source says")] = ""
    """Environment to record, with its action box."""
    action_box: Annotated[tuple[str, str] | None, silent("LOW HIGH", "as the file or --env says")] = None
    """Box that the actions were recorded in: two numbers, or two lists such as [-1,-2] [1,2]."""
    label: Annotated[str, silent("NAME", "the source's own, else its file name")] = ""
    """Source label of every episode."""
    obs_keys: Annotated[tuple[str, ...], silent("NAME ...", "the format's own order")] = ()
    """Observation groups to concatenate, in this order, and the images to keep beside them."""
    image_size: Annotated[tuple[int, int] | None, silent("HEIGHT WIDTH", "as the source has them")] = None
    """Size in pixels that the images are made."""
    depth_range: Annotated[tuple[float, float] | None, silent("NEAR FAR", "none: depth is refused")] = None
    """Metres between which depth that --obs-keys names becomes bytes; whole numbers of it are millimetres."""
    ends: Literal["auto", "flags", "resets"] = "auto"
    """What ends an episode: the file's flags, jumps in the state, or what its family needs.  `flags` reads
    next.done of a LeRobot set as a termination, and the last step of RLDS as one with an action."""
    horizon: int = 0
    """Steps after which an episode is cut where the file has no timeouts; 0: the family's own."""
    filter: str = ""
    """Only the demonstrations that this mask names."""
    split: Literal["train", "val", "all"] = "train"
    """Which files of a shard folder."""
    trust_pickle: bool = False
    """Load pickles that hold more than arrays.  This runs code from the file."""

    def open(self) -> Source:
        """Open the source."""
        asked = self.options()
        box = environment_box(self.env) if self.env and not asked["action_box"] else ()
        return open_source(self.source, self.format, progress, **asked, env_box=box)

    def options(self) -> dict[str, Any]:
        """Return what a reader is asked for."""
        return {
            "environment": self.env, "source": self.label, "obs_keys": self.obs_keys,
            "image_size": self.image_size or (), "depth_range": self.depth_range or (), "ends": self.ends,
            "horizon": self.horizon, "filter": self.filter, "split": self.split,
            "trust_pickle": self.trust_pickle, "action_box": given_box(self.action_box),
        }  # fmt: skip
