"""Notes: counts of everything a reader changed, dropped or inferred, with the first place of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SENTENCES = {  # [one|many], or [ending of many]
    "absent_chunks": "chunk[s] [is|are] not stored, and [was|were] read as the file's fill value",
    "absent_demos": "demonstration[s] [is|are] named by a mask but not in the file",
    "absent_episodes": "episode[s] that the metadata promise [is|are] not in the file",
    "absent_listing":
        "list[s] of episodes [is|are] missing: how many there were, and what was kept of each, is not known",
    "absent_shards": "shard[s] [is|are] missing from the numbered set",
    "actions_outside_box": "action [entry lies|entries lie] outside the action box (kept as found)",
    "cast_columns": "column[s] [was|were] cast to the store's types",
    "constant_dones": "[`done` marks|`dones` mark] the end of a recording, not a success",
    "cuts_without_reset":
        "episode[s] [ends|end] where the recording continues: the next row is "
        "[its|their] last observation",
    "depth_of_other_range":
        "image[s] of depth [has|have] readings at the ends of --depth-range alone: is it in metres?",
    "depth_made_bytes": "image[s] of depth [was|were] made bytes by --depth-range",
    "depth_outside": "reading[s] of depth [lies|lie] outside --depth-range and [was|were] cut to it",
    "depth_unread": "image[s] of depth [holds|hold] no reading",
    "dropped_steps": "step[s] [was|were] given up: nothing says what was observed after [it|them]",
    "ends_of_unknown_kind":
        "[end is|ends are] read as [a cut recording|cut recordings]: the file "
        "does not say whether the MDP ended",
    "flags_before_the_end":
        "termination or truncation [flag stands|flags stand] before the last "
        "step of an episode",
    "frame_gaps": "place[s] inside an episode [lacks|lack] frames; the episode was cut there",
    "frames_off_time":
        "frame[s] of video [lies|lie] up to half a frame from [its time stamp|their time stamps], more than "
        "LeRobot's own loader admits",
    "ignored_timeouts": "timeout[s] out of step with the resets [was|were] ignored",
    "images_left_out": "image[s] of the observations [was|were] not read; --obs-keys names what is",
    "index_gaps": "frame[s] [has|have] an `index` that does not follow the one before (it is not used)",
    "inferred_ends": "end[s] [was|were] inferred: the file has no flag for [it|them]",
    "joined_cuts": "timeout[s] in the middle of a demonstration [was|were] joined",
    "last_rewards": "reward[s] other than 0 of a last step, where RLDS defines none, [was|were] given up",
    "left_frames":
        "feature[s] of images or video [was|were] left where [it is|they are]: nothing of [it|them] was "
        "read; --obs-keys names those that are decoded",
    "length_mismatches": "episode[s] [has|have] another length than the set's list says (kept as found)",
    "lost_episodes": "[EPISODE WAS|EPISODES WERE] LOST: one action and no observation after it",
    "misplaced_episodes": "episode[s] [begins|begin] at another frame than the set's list says (not used)",
    "missing_attributes": "attribute[s] [is|are] missing",
    "no_rewards": "step[s] [has|have] no reward in the file; [it holds|they hold] 0",
    "outdated_ledger":
        "table[s] of episodes that trajrl left in the file no longer "
        "[fits|fit] it and [was|were] ignored",
    "repeated_last_obs":
        "terminated [episode repeats its|episodes repeat their] last "
        "observation (never bootstrapped from)",
    "repeated_numbers": "episode[s] [has|have] the number of another (and both stay)",
    "reshaped_columns": "column[s] gained or lost an axis of length 1",
    "rows_out_of_order":
        "row[s] [goes|go] back in an episode, or on with it behind another one: the rows seem to be out of "
        "order; sort them by `episode_index` and `frame_index`",
    "skipped_members": "member[s] [was|were] not read",
    "terminal_and_timeout": "row[s] [is|are] terminal and timed out; terminal wins",
    "terminal_marks": "step[s] [is|are] marked as solved while the recording continues",
    "terminals_at_limit":
        "terminated episode[s] [is|are all] as long as the longest: [it|they] "
        "may be [a time limit|time limits]",
    "time_gaps": "step[s] [takes|take] another time than 1 / fps",
    "trusted_pickles":
        "pickle[s] [was|were] loaded with --trust-pickle: it could run any "
        "code while it was read",
    "unconfirmed_terminals":
        "[terminal stands|terminals stand] where the episode continues; [it "
        "marks a step, not an end|they mark steps, not ends]",
    "unfinished_tails":
        "[recording stops|recordings stop] in the middle of an episode; it is "
        "kept as truncated",
    "unflagged_resets": "reset[s] [is|are] not flagged; the episode was cut there",
    "unlisted_episodes": "episode[s] of the data [is|are] not in the set's list (kept)",
    "unknown_rate":
        "`fps` of info.json [is|are] no number above 0: how long steps take was not looked at",
    "unnamed_tasks":
        "episode[s] [has|have] a task that no list of tasks names; [its|their] source is the name of the set",
    "unreadable_metadata": "description[s] of the set could not be read and [was|were] passed over",
    "wrong_totals": "total[s] in info.json [is|are] not what the data hold",
}  # fmt: skip
CHOICE = re.compile(r"\[(?:([^|\]]*)\|)?([^\]]*)\]")


def sentence(name: str, count: int) -> str:
    """Return what happened, with how often."""
    return counted(SENTENCES[name], count)


def one(value: object) -> str:
    """Return the type of a value with its article: an int, a list."""
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"


def counted(text: str, count: int) -> str:
    """Put a number before a text, in which [one|many] and [many] stand for the singular and the plural."""
    return f"{count} {CHOICE.sub(lambda found: (found[1] or '') if count == 1 else found[2], text)}"


def amount(found: Mapping[str, Any], unit: str = "transition") -> str:
    """Say how many episodes and transitions an answer holds."""
    steps = counted(f"{unit}[s]", found["transitions"])
    return f"{counted('episode[s]', found['episodes'])}, {steps}"


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
            sentence(name, count) + (f" (first: {self.first[name]})" if name in self.first else "")
            for name, count in sorted(self.counts.items())
        ]

    def because(self) -> str:
        """Return the notes as the end of a message."""
        return f": {'; '.join(self.lines())}" if self.counts else ""
