"""What the readers' notes mean: every sentence of trajrl.store.notes, its level and effect on learning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from trajrl.formats.base.source import Source
from trajrl.formats.doctor.finding import ERROR, INFORMATION, WARNING, Finding
from trajrl.store.notes import sentence

IMPORT = "nothing: any import does this already"
PERSON = "nothing: the source has to be completed"


class Meaning(NamedTuple):
    """Level, effect on learning, and what becomes of it."""

    level: str
    effect: str
    fix: str = IMPORT


MEANINGS = {
    "absent_chunks": Meaning(WARNING, "rows that were never written look like rows of that value"),
    "absent_demos": Meaning(WARNING, "a filter gives fewer demonstrations than its name promises", PERSON),
    "absent_episodes": Meaning(ERROR, "the policy is trained on a part of the set", PERSON),
    "absent_listing": Meaning(
        WARNING, "episodes may be missing; success and last observations of a set by trajrl are lost", PERSON
    ),
    "absent_shards": Meaning(
        ERROR, "the policy is trained on a part of the set, results do not compare", PERSON
    ),
    "actions_outside_box": Meaning(WARNING, "a policy with tanh outputs cannot imitate them"),
    "cast_columns": Meaning(INFORMATION, "none; float64 or float flags are read as float32 and bool"),
    "constant_dones": Meaning(INFORMATION, "none; read as terminals they would stop the bootstrap at a cut"),
    "cuts_without_reset": Meaning(
        WARNING, "episodes are pieces of one run: returns depend on where it was cut"
    ),
    "depth_made_bytes": Meaning(INFORMATION, "what is finer than 1/254 of the range is lost"),
    "depth_of_other_range": Meaning(WARNING, "such an image says near or far, and nothing between"),
    "depth_outside": Meaning(INFORMATION, "none, where what is nearer or farther does not matter"),
    "depth_unread": Meaning(WARNING, "such an image says nothing"),
    "dropped_steps": Meaning(WARNING, "the last action of those episodes is not learned from"),
    "ends_of_unknown_kind": Meaning(
        WARNING, "a termination read as a cut bootstraps from a state that has no future"
    ),
    "flags_before_the_end": Meaning(ERROR, "the recording continued after its end, or its flags are wrong"),
    "frame_gaps": Meaning(WARNING, "read as one, a window would cross frames that were never recorded"),
    "frames_off_time": Meaning(WARNING, "frames and numbers of a step may not belong together"),
    "ignored_timeouts": Meaning(ERROR, "read as they are, windows would cross from one episode into another"),
    "index_gaps": Meaning(WARNING, "none here; its own loader would fetch other frames than are meant"),
    "inferred_ends": Meaning(WARNING, "a wrong guess cuts episodes in two or glues two together"),
    "joined_cuts": Meaning(WARNING, "read as they are, demonstrations would end in the middle"),
    "last_rewards": Meaning(WARNING, "if they were earned, success is never seen: --ends flags keeps them"),
    "left_frames": Meaning(INFORMATION, "the policy does not see them; provenance names what was left"),
    "length_mismatches": Meaning(
        ERROR, "the list or the data lost frames; its own loader reads into the next episode", PERSON
    ),
    "lost_episodes": Meaning(ERROR, "nothing of those episodes is learned from"),
    "misplaced_episodes": Meaning(WARNING, "none here; its own loader reads frames of other episodes"),
    "missing_attributes": Meaning(WARNING, "lengths or the environment are not stated and cannot be checked"),
    "no_rewards": Meaning(WARNING, "a critic learns nothing; give a suite that relabels, or imitate", PERSON),
    "outdated_ledger": Meaning(
        WARNING, "success and source of the episodes are lost: the file was edited after export"
    ),
    "repeated_last_obs": Meaning(INFORMATION, "none; no value is ever taken of that observation"),
    "repeated_numbers": Meaning(WARNING, "an episode that was written twice is learned from twice"),
    "reshaped_columns": Meaning(INFORMATION, "none; (N, 1) against (N,) would broadcast to (N, N)"),
    "images_left_out": Meaning(INFORMATION, "none, where the rest of an observation says enough"),
    "rows_out_of_order": Meaning(ERROR, "episodes fall into pieces, and those of one frame are lost", PERSON),
    "skipped_members": Meaning(INFORMATION, "none; they hold no numbers for each step"),
    "terminal_and_timeout": Meaning(WARNING, "a reader that prefers the timeout bootstraps through the end"),
    "terminal_marks": Meaning(
        INFORMATION, "a horizon with a mark takes no value; --after-success says if later steps are used"
    ),
    "terminals_at_limit": Meaning(WARNING, "the value of the state at a time limit is learned as 0"),
    "time_gaps": Meaning(WARNING, "there the robot moves farther in a step than it can: frames were dropped"),
    "trusted_pickles": Meaning(WARNING, "none; whoever wrote the file could run any code here", PERSON),
    "unconfirmed_terminals": Meaning(WARNING, "read as ends they would cut episodes that continue"),
    "unfinished_tails": Meaning(
        INFORMATION, "none; the tail is kept and bootstraps from its last observation"
    ),
    "unflagged_resets": Meaning(ERROR, "read as they are, windows would cross from one episode into another"),
    "unlisted_episodes": Meaning(WARNING, "none here; its own loader does not see them"),
    "unknown_rate": Meaning(WARNING, "frames that were dropped are not seen by their time", PERSON),
    "unnamed_tasks": Meaning(
        WARNING, "several tasks become one source: no sampler, split or question tells them apart", PERSON
    ),
    "unreadable_metadata": Meaning(WARNING, "tasks are unknown, or how many episodes there were"),
    "wrong_totals": Meaning(WARNING, "none here; other tools trust them, and read past the end"),
}


def noted(source: Source) -> Iterator[Finding]:
    """Yield a finding for every note of the reader."""
    for name, count in sorted(source.notes.counts.items()):
        level, effect, fix = MEANINGS[name]
        yield Finding(
            level, name, sentence(name, count), effect, fix, count, source.notes.first.get(name, ""),
            fixed=fix == IMPORT and name not in ("lost_episodes", "flags_before_the_end"),
        )  # fmt: skip
