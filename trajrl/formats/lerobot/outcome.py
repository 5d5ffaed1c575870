"""How an episode of a LeRobot set ended: terminated or cut, solved or not, and at which steps.

terminated = done and not truncated, where next.truncated is there, else done and success, in the last frame.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trajrl.formats.base.options import Options
from trajrl.formats.lerobot.frames import Piece
from trajrl.formats.lerobot.layout import Layout
from trajrl.store.notes import Notes

Outcome = tuple[bool, bool | None, dict[str, np.ndarray]]  # terminated, success, steps that are terminal


def outcome_of(piece: Piece, layout: Layout, options: Options, notes: Notes, folder: Path) -> Outcome:
    """Say whether the MDP ended, whether the task was solved, and at which steps."""
    length, where = len(piece.columns["episode_index"]), f"episode {piece.number}"
    flags = {name: _flag(piece, name, folder) for name in layout.outcomes if name != "next.reward"}
    done, solved = flags.get("next.done"), flags.get("next.success")
    marks = np.zeros(length, bool) if done is None or solved is None else done & solved
    if done is not None:
        early = done[:-1] & ~marks[:-1]
        notes.add("flags_before_the_end", int(early.sum()), f"{where}, frame {int(done.argmax())}")
    notes.add("terminal_marks", int(marks[:-1].sum()), f"{where}, frame {int(marks.argmax())}")
    ended = piece.last and done is not None and bool(done[-1])
    if "next.truncated" in flags:
        terminated = ended and not flags["next.truncated"][-1]
    elif options.ends == "flags":
        terminated = ended
    else:
        terminated = ended and bool(marks[-1])
        known = solved is not None and done is not None and (marks[-1] or not done[-1])
        notes.add("ends_of_unknown_kind", int(piece.last and not known), where)
    extras = {"terminal": marks} if done is not None and solved is not None else {}
    return terminated, None if solved is None else bool(solved.any()), extras


def _flag(piece: Piece, name: str, folder: Path) -> np.ndarray:
    """Return a flag of each frame (T,); anything but 0 and 1 is refused."""
    found = piece.columns[name].reshape(len(piece.columns[name]))
    wrong = (found != 0) & (found != 1)
    if wrong.any():
        row = int(wrong.argmax())
        where = f"frame {piece.frame + row} of episode {piece.number}"
        raise ValueError(f"{folder}: '{name}' is a flag, but {where} holds {found[row]}")
    return found.astype(bool)
