"""Units of actions: which recorded number is which number in [-1, 1], and what the environment receives.

    one box, of store and environment or of the store alone    u = (a - middle) / half
    no box, and an environment of [-1, 1] or none              u = a, refused outside [-1, 1]
    two boxes, or none and an environment of another           --actions answers; nothing is guessed

The environment receives middle + half * u of its own box: what was recorded, or what the answer says.
docs/2-your-data.md has what it receives for every pair of boxes and every answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trajrl.core.console import say
from trajrl.store.action_box import ActionBox, box_origin, is_scaled, recorded_box, unit_box

if TYPE_CHECKING:
    import torch

    from trajrl.envs.base.protocol import EnvSuite
    from trajrl.store.store import TrajectoryStore

ANSWERS = ("as_found", "clip", "scale", "scaled", "rescale")
CUTTING = ("clip", "scale", "rescale")  # they name a box, and what lies outside is cut to it
GIVE_BOX = "`store import DATA --action-box LOW HIGH --out X.h5`, or --env ID there, writes it into a store"


@dataclass(frozen=True)
class ActionUnits:
    """What the numbers of a store mean."""

    data: ActionBox  # what [-1, 1] stands for in the store; the unit box leaves the numbers as they are
    acted: ActionBox | None  # what [-1, 1] stands for where the policy acts; None: nothing says
    cuts: bool = False  # True: numbers outside the box were found, and are cut to it

    def shape(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the function from recorded actions to [-1, 1]."""
        if not self.data.is_unit:
            return self.data.to_unit()
        return (lambda actions: actions.clamp(-1, 1)) if self.cuts else (lambda actions: actions)


def action_units(store: TrajectoryStore, mode: str, suite: EnvSuite | None) -> ActionUnits:
    """Decide what the store's actions mean; what is ambiguous is a ValueError that says how to answer."""
    width, marked = store.action_dim, is_scaled(store.attributes)
    stored, acted = store_box(store), suite.action_box if suite else None
    if mode in ("as_found", "clip"):
        box = stored or unit_box(width)
        if suite and acted and not marked and not acted.same_as(box):
            raise ValueError(question(store, stored, suite.name, acted, mode))
    elif mode == "scaled":
        box = unit_box(width)
    elif mode == "rescale":
        if stored is None:
            raise ValueError(
                f"--actions rescale reads the store's box, and the data names no box: {GIVE_BOX}"
            )
        box = stored
    else:
        box = environments_own(stored, marked, suite)
    known = stored if not marked and mode != "scaled" else None
    return within(store, box, acted or known, cuts=mode in CUTTING)


def store_box(store: TrajectoryStore) -> ActionBox | None:
    """Return the box of a store's numbers; of those that are marked as lying in [-1, 1], that."""
    width = store.action_dim
    return unit_box(width) if is_scaled(store.attributes) else recorded_box(store.attributes, width)


def environments_own(stored: ActionBox | None, marked: bool, suite: EnvSuite | None) -> ActionBox:
    """Return the box of --actions scale: the environment's, without one the store's."""
    if suite and marked and not suite.action_box.is_unit:
        raise ValueError(
            f"the data says that its actions are in [-1, 1], which {suite.name} scales to "
            f"{suite.action_box}; --actions scale would read them in the environment's own units: leave it "
            f"out or, if they are, {GIVE_BOX}"
        )
    box = suite.action_box if suite else stored
    if box is None:
        raise ValueError(f"--actions scale divides by the action box, and nothing names one: {GIVE_BOX}")
    return box


def trained_units(store: TrajectoryStore, mode: str, acted: ActionBox | None) -> ActionUnits:
    """Return the units that a run was trained under, from the box kept with its policies; nothing is asked.

    A run made before boxes were kept scaled by the recorded box, else by the smallest and largest action.
    """
    width, data = store.action_dim, acted
    if mode == "scaled" or is_scaled(store.attributes):
        data = unit_box(width)
    elif mode == "rescale":
        data = store_box(store)
    elif acted is None and mode == "scale":
        data = acted = recorded_box(store.attributes, width) or ActionBox.of(*store.action_range(), width)
    return ActionUnits(data or unit_box(width), acted, cuts=mode in CUTTING)


def within(store: TrajectoryStore, box: ActionBox, acted: ActionBox | None, cuts: bool) -> ActionUnits:
    """Refuse actions outside the box, or where they are to be cut say how many steps have one."""
    low, high = store.action_range()
    if box.holds(low, high):
        return ActionUnits(box, acted, cuts)
    found = f"from {low.min():.3g} to {high.max():.3g}"
    if not cuts:
        raise ValueError(f"actions lie outside {box} ({found}); {other_answers(store, box, acted)}")
    count = steps_outside(store, box)
    say(f"actions of {count} of {len(store.actions)} steps lie outside {box} ({found}): cut for training")
    return ActionUnits(box, acted, cuts)


def other_answers(store: TrajectoryStore, box: ActionBox, acted: ActionBox | None) -> str:
    """Say which --actions would read numbers that lie outside the box."""
    named = recorded_box(store.attributes, store.action_dim)
    if acted is None or acted.same_as(box) or is_scaled(store.attributes):
        clips = "choose --actions clip, as an environment that clips would"
        return clips if named else f"{clips}, or name the box that they were recorded in: {GIVE_BOX}"
    scales = "--actions scale reads them in the units of the environment"
    if named:
        return f"--actions rescale brings them from the store's box {named} to the environment's, {scales}"
    return f"{scales}, or name the box that they were recorded in: {GIVE_BOX}"


def steps_outside(store: TrajectoryStore, box: ActionBox, block: int = 1_000_000) -> int:
    """Count the steps that have an action outside the box."""
    slack = 1e-6 * box.half
    parts = (
        store.actions.slice(i, min(i + block, len(store.actions)))
        for i in range(0, len(store.actions), block)
    )
    return sum(int(((a < box.low - slack) | (a > box.high + slack)).any(1).sum()) for a in parts)


def question(store: TrajectoryStore, stored: ActionBox | None, name: str, acted: ActionBox, mode: str) -> str:
    """Ask in one line what the recorded numbers mean."""
    named = f"the data's actions are in the box {stored} ({box_origin(store.attributes)})"
    unsaid = "--actions clip cuts to a box and does not say which one the numbers are in: "
    brought = f"  --actions rescale: in {stored}, and brought from there to the environment's box;"
    return (
        f"{unsaid if mode == 'clip' else ''}{named if stored else 'the data names no action box'}, and "
        f"{name} takes {acted}: which units do the recorded actions have?  --actions scale: the "
        f"environment's own;{brought if stored and not stored.is_unit else ''}  --actions scaled: they are "
        "in [-1, 1], and the environment scales them to its box"
    )
