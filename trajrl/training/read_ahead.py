"""What an update in a while will draw of a far store, asked for now.

    anchors of update s = draw(law, stream(seed, "sampler", s))

A draw is a function of seed, update and the sampler's law, so it is known ahead as long as the law stands:
the sampler reads no TD errors, and until then nothing is re-ranked, appended or evicted.  Of samplers that
read TD errors nothing is asked ahead, nor online.  A guess that a change of the law makes wrong costs the
reading of it: each update draws anew, and what it draws is the same with and without reading ahead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trajrl.store.remote.read_ahead import ReadAhead
from trajrl.training.role_batches import draw_update

if TYPE_CHECKING:
    from trajrl.agents.base.protocol import Agent
    from trajrl.samplers.base.protocol import Sampler
    from trajrl.store.store import TrajectoryStore
    from trajrl.training.config import RunConfig

UPDATES = 1000  # ahead
AT_ONCE = 8  # updates asked for in one step, until so many are ahead
MOST_PENDING = 512  # portions under way, above which no more are asked for


class UpdatesAhead:
    """Asks for the windows of updates to come; does nothing where the whole store is here."""

    def __init__(self, store: TrajectoryStore, agent: Agent, config: RunConfig) -> None:
        """Look ahead of an offline run up to its last update; online the data changes while it is drawn."""
        far = not config.online and ReadAhead.serves(store)
        self._reader = ReadAhead(store, agent.spec) if far else None
        self._rows = config.batch_size * getattr(agent, "updates_per_batch", 1)
        self._seed, self._last, self._asked = config.seed, config.steps, 0

    def after(self, step: int, sampler: Sampler) -> None:
        """Ask for what updates after this one will draw."""
        if self._reader is None or sampler.reads_td_errors:
            return
        self._asked = max(self._asked, step)
        until = min(self._asked + AT_ONCE, step + UPDATES, self._last)
        while self._asked < until and self._reader.pending < MOST_PENDING:
            self._asked += 1
            for anchors in draw_update(sampler, self._seed, self._asked, self._rows).each():
                self._reader.ask(anchors)
