"""Collection: episodes on their way to a store file, each durable as soon as it is whole.

They wait in a journal beside the file, OUT.collecting/, with what was asked for.  An episode is a function of
(seed, part, number), so a collection that was broken off continues where it stood and ends as the same
data, which its fingerprint says; the bytes of the file, which tells how it was made, may differ.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajrl.core.atomic_files import write_text
from trajrl.core.json_file import read_object
from trajrl.core.out_paths import refuse_links_out, refuse_no_folder
from trajrl.store.journal import Journal

if TYPE_CHECKING:
    from trajrl.store.action_box import ActionBox
    from trajrl.store.episode import Episode
    from trajrl.store.file.writer import StoreWriter
    from trajrl.store.table import Table


class Collection:
    """The episodes of one `collect`; use as a context manager, so that the journal is closed."""

    def __init__(self, out: Path, asked: Mapping[str, Any], resume: bool) -> None:
        """Begin in OUT.collecting, or with `resume` continue what is there, if the same was asked for."""
        self.out, self.folder = out, folder_of(out)
        open_or_resume(self.folder, asked, resume)
        self.journal = Journal(self.folder)
        self.episodes: Counter[int] = Counter()  # by part
        self.steps: Counter[int] = Counter()
        for episode, meta in self.journal.replay():
            self._count(int(meta["part"]), episode)

    def add(self, part: int, episode: Episode) -> None:
        """Take in the next episode of a part; it is on disk when this returns."""
        self.journal.append(episode, "offline", {"part": part})
        self._count(part, episode)

    def finish(self, writer: StoreWriter, box: ActionBox) -> None:
        """Write all episodes, part by part, with their actions in the environment's own units."""
        for part in sorted(self.episodes):
            for episode in self._of(part):
                writer.append(replace(episode, actions=box.from_unit(episode.actions)))

    def remove(self) -> None:
        """Remove the folder: the store file holds everything."""
        self.journal.close()
        shutil.rmtree(self.folder)

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()
        if not self.episodes and self.folder.exists() and {p.name for p in self.folder.iterdir()} <= OWN:
            shutil.rmtree(self.folder)  # nothing was collected: nothing is left to resume

    def _of(self, part: int) -> Iterator[Episode]:
        return (episode for episode, meta in self.journal.replay() if int(meta["part"]) == part)

    def _count(self, part: int, episode: Episode) -> None:
        self.episodes[part] += 1
        self.steps[part] += len(episode)


def open_or_resume(folder: Path, asked: Mapping[str, Any], resume: bool) -> None:
    """Begin a folder for what is asked, or with `resume` take one that was begun for the very same."""
    said = folder / "collect.json"
    refuse_no_folder(folder, "a collection")
    if is_begun(folder) and not resume:
        raise FileExistsError(
            f"{folder} holds a collection that was broken off; --resume continues it, "
            "--overwrite begins again"
        )
    if said.exists():
        before = read_object(said)
        wrong = sorted(name for name in {**before, **asked} if before.get(name) != asked.get(name))
        if wrong:
            raise ValueError(
                f"{folder} was begun with another {', '.join(wrong)} ({before.get(wrong[0])!r}); give "
                "the same, or --overwrite"
            )
    folder.mkdir(parents=True, exist_ok=True)
    refuse_links_out(folder)
    write_text(said, json.dumps(dict(asked), indent=2) + "\n")


def is_begun(folder: Path) -> bool:
    """Say whether a folder holds a collection, as far as it came; a kill may leave it empty."""
    return any(folder.glob("[!.]*"))


def require_collection(out: Path) -> None:
    """Refuse to resume where no collection was broken off, naming one beside it that may have been meant."""
    if is_begun(folder_of(out)):
        return
    beside = {folder.name.removesuffix(ENDING) for folder in out.absolute().parent.glob(f"*{ENDING}")}
    near = get_close_matches(out.name, beside - {out.name}, n=1, cutoff=0.5)
    what = f"did you mean {out.with_name(near[0])}?" if near else f"there is nothing in {folder_of(out)}"
    if out.exists():
        what = "the store is written"
    raise FileNotFoundError(
        f"{out} has no collection to resume: {what}   (without --resume a new one begins; "
        "--resume-or-start does whichever fits)"
    )


OWN = {"collect.json", "episodes.journal"}
OF_REPLAY = {"run", "start.h5"}
ENDING = ".collecting"


def folder_of(out: Path) -> Path:
    """Return the folder in which a store's episodes wait."""
    return out.with_name(out.name + ENDING)


def remove(folder: Path) -> None:
    """Remove what an earlier collection left, and nothing else."""
    others = {path.name for path in folder.glob("[!.]*")} - OWN - OF_REPLAY
    if others and not (folder / "config.json").exists():  # of medium-replay it is a run
        raise FileExistsError(
            f"{folder} holds {min(others)}, which no collection wrote; move it or choose another --out"
        )
    shutil.rmtree(folder, ignore_errors=True)


def summary(table: Table) -> dict[str, Any]:
    """Say what was recorded."""
    known = bool((table.success >= 0).all())
    return {
        "episodes": len(table), "transitions": int(table.length.sum()),
        "return_mean": float(table.returns.mean()), "return_std": float(table.returns.std()),
        "length_mean": float(table.length.mean()), "terminated": int(table.terminated.sum()),
        "truncated": int((~table.terminated).sum()),
        "success_mean": float((table.success > 0).mean()) if known else None,
    }  # fmt: skip
