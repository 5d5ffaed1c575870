"""Notes: counts of everything a reader changed, dropped or inferred, with the first place of each."""

from __future__ import annotations

SENTENCES = {
    "absent_demos": "demonstrations are named by a mask but not in the file",
    "absent_episodes": "episodes that the metadata promise are not in the file",
    "absent_shards": "shards are missing from the numbered set",
    "actions_outside_box": "action entries lie outside the action box (kept as found)",
    "cast_columns": "columns were cast to the store's types",
    "constant_dones": "`dones` mark the end of a recording, not a success",
    "cuts_without_reset": "episodes end where the recording goes on: the next row is their last observation",
    "dropped_steps": "steps were given up: nothing says what was observed after them",
    "ends_of_unknown_kind": "ends are read as cut recordings: the file does not say whether the MDP ended",
    "flags_before_the_end": "termination or truncation flags stand before the last step of an episode",
    "ignored_timeouts": "timeouts out of step with the resets were ignored",
    "inferred_ends": "ends were inferred: the file has no flag for them",
    "joined_cuts": "timeouts in the middle of a demonstration were joined",
    "lost_episodes": "EPISODES WERE LOST: one action and no observation after it",
    "missing_attributes": "attributes are missing",
    "no_rewards": "steps have no reward in the file; they hold 0",
    "outdated_ledger": "the table of episodes trajrl left in the file no longer fits it and was ignored",
    "repeated_last_obs": "terminated episodes repeat their last observation (never bootstrapped from)",
    "reshaped_columns": "columns gained or lost an axis of length 1",
    "skipped_members": "members were not read",
    "terminal_and_timeout": "rows are terminal and timed out; terminal wins",
    "terminal_marks": "steps are marked as solved while the recording goes on",
    "terminals_at_limit": "terminated episodes are all as long as the longest: they may be time limits",
    "trusted_pickles": "pickle was loaded with --trust-pickle: it could run any code while it was read",
    "unconfirmed_terminals": "terminals stand where the episode goes on; they mark steps, not ends",
    "unfinished_tails": "recordings stop in the middle of an episode; it is kept as truncated",
    "unflagged_resets": "resets are not flagged; the episode was cut there",
}


class Notes:
    """What happened, by name: how often, and where first."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.first: dict[str, str] = {}

    def add(self, name: str, count: int = 1, where: str = "") -> None:
        """Count something; the first place it was seen is kept."""
        if name not in SENTENCES:
            raise KeyError(f"no note '{name}'; add its sentence to trajrl/store/notes.py")
        if count:
            self.counts[name] = self.counts.get(name, 0) + int(count)
            if where:
                self.first.setdefault(name, where)

    def merge(self, other: Notes) -> None:
        """Take in another log."""
        for name, count in other.counts.items():
            self.add(name, count, other.first.get(name, ""))

    def clear(self) -> None:
        """Forget everything."""
        self.counts, self.first = {}, {}

    def lines(self) -> list[str]:
        """Return one sentence for each name."""
        return [
            f"{count} {SENTENCES[name]}" + (f" (first: {self.first[name]})" if name in self.first else "")
            for name, count in sorted(self.counts.items())
        ]

    def because(self) -> str:
        """Return the notes as the end of a message."""
        return f": {'; '.join(self.lines())}" if self.counts else ""
