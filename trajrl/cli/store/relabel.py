"""`store relabel`: the same steps with other rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from trajrl.cli.common import say
from trajrl.cli.option import silent
from trajrl.cli.store.editing import Editing
from trajrl.core.registry import own


@dataclass(frozen=True, kw_only=True)
class Relabel(Editing):
    """Give every step another reward: scale * r + shift, r from a function, from success, or as it is."""

    reward: Annotated[str, silent("MODULE:CALLABLE", "the rewards of the store")] = ""
    """Your own function: it takes an Episode (obs, actions, rewards, success, extras ...) and returns one
    number for each action."""
    success_to_reward: bool = False
    """1 at the marked steps of an episode that succeeded, or at its last step where none is; 0 elsewhere."""
    reward_scale: Annotated[float, tyro.conf.arg(metavar="X")] = 1.0
    """Factor of every reward."""
    reward_shift: Annotated[float, tyro.conf.arg(metavar="X")] = 0.0
    """Added to every reward once it is scaled; with --success-to-reward, -1 gives 0 at a success, else -1."""

    def run(self) -> dict[str, Any]:
        """Relabel, write, and say how returns changed."""
        from trajrl.store.edit.relabel import Rewards, relabelled
        from trajrl.store.file.describe import describe_store

        if self.reward and self.success_to_reward:
            raise ValueError("give --reward or --success-to-reward: rewards come from one place")
        rewards = Rewards(
            self.reward, self._function(), self.success_to_reward, self.reward_scale, self.reward_shift
        )
        if rewards == Rewards():
            raise ValueError(
                "no other rewards are named: --reward MODULE:CALLABLE, --success-to-reward, --reward-scale, "
                "--reward-shift"
            )
        store = self.opened()
        before = float(store.table.returns[store.live].mean())
        found = self.write(relabelled(store, rewards))
        returns = describe_store(self.out)["returns"]
        say(f"mean return {before:.6g} before, {returns['mean']:.6g} now")
        return {**found, "return_before": before, "returns": returns}

    def _function(self) -> Any:
        """Return the function that was typed."""
        if not self.reward:
            return None
        found = own(self.reward, "reward") if ":" in self.reward else None
        if not callable(found):
            raise ValueError(
                f"--reward takes MODULE:CALLABLE, such as my_rewards:sparse; got '{self.reward}'"
            )
        return found
