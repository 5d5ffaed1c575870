"""`store`: import, export, look into, verify, pack and mix trajectory stores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from trajrl.cli.common import Common, UsageError, progress, refuse_existing, say
from trajrl.cli.option import silent
from trajrl.cli.store.reading import Reading
from trajrl.cli.text_table import as_text, show_table
from trajrl.formats import export, import_source, recognise
from trajrl.formats.base.options import Options, make_options
from trajrl.store.notes import amount, counted

LEVELS = {"E": "error[s]", "W": "warning[s]", "I": "note[s]"}


@dataclass(frozen=True, kw_only=True)
class Import(Reading):
    """Read any known format into a store; a packed store is unpacked."""

    out: Path
    """The store file to write."""
    overwrite: bool = False
    """Replace a store that has this name."""

    def run(self) -> dict[str, Any]:
        """Write the store and say what was found, changed and dropped."""
        refuse_existing(self.out, self.overwrite)
        packed = Path(self.source).expanduser()
        copied = self.format == "auto" and make_options(self.options()) == Options()  # nothing is changed
        if copied and packed.is_file() and is_store(packed):
            return self._unpack(packed)
        found = import_source(self.open(), self.out, progress, self.overwrite)
        for note in found["notes"]:
            say(f"  {note}")
        say(found["action_box"])
        say(f"{amount(found)} to {self.out}")
        return found

    def _unpack(self, packed: Path) -> dict[str, Any]:
        from trajrl.store.file.describe import describe_store
        from trajrl.store.file.pack import unpack

        unpack(packed, self.out)
        say(f"{packed} is a store; a plain copy of it is {self.out}")
        return {"out": str(self.out), **describe_store(self.out)}


@dataclass(frozen=True, kw_only=True)
class Export(Common):
    """Write a store in another format."""

    store: Positional[Path]
    """The store file."""
    format: Literal["d4rl", "lerobot", "lerobot-v2.1", "minari", "npz", "ogbench", "robomimic"]
    """The format to write."""
    out: Path
    """The file to write; for LeRobot and Minari a folder, of Minari called NAME-vN."""
    video: bool = False
    """Images as videos, for LeRobot: far smaller, and near what they were, not equal."""
    overwrite: bool = False
    """Replace a file that has this name; a folder is never replaced."""

    def run(self) -> dict[str, Any]:
        """Write, and say what the format cannot carry."""
        from trajrl.formats.base.exporter import refuse_place
        from trajrl.store.store import TrajectoryStore

        out = self.out.expanduser()
        refuse_place(out, self.format, self.overwrite)
        found = export(TrajectoryStore.open(self.store), out, self.format, self.overwrite, self.video)
        say(f"{amount(found)} to {found['out']}")
        if self.video:
            say("images are videos, near what they were and not equal; without --video they are equal")
        if found["beside"]:
            say(f"other readers will not see: {', '.join(found['beside'])}")
        return found


@dataclass(frozen=True, kw_only=True)
class Info(Common):
    """Say what a store holds; no column is read."""

    store: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="STORE ...", help_behavior_hint="")]
    """The store file; several, patterns and addresses such as https://host/x.h5 are one store."""

    def run(self) -> dict[str, Any]:
        """Describe the store."""
        from trajrl.store.places import expand
        from trajrl.store.remote.addresses import is_far
        from trajrl.store.shards import describe_places

        if not self.store:
            raise UsageError("name a store file")
        places = expand(self.store)
        for path in (Path(place).expanduser() for place in places if not is_far(place)):
            if path.is_dir() or (path.is_file() and not is_store(path)):
                raise ValueError(foreign(path))
        found = describe_places(places)
        show_table(("", ""), [(key, as_text(found[key])) for key in found if key != "provenance"])
        return found


@dataclass(frozen=True, kw_only=True)
class Doctor(Reading):
    """Find what is wrong with a source or store; exit code 1 on an error that --fix did not mend."""

    fix: bool = False
    """Write a repaired store to --out."""
    out: Path | None = None
    """The repaired store."""
    overwrite: bool = False
    """Replace a store that has this name."""

    def run(self) -> dict[str, Any]:
        """Examine, say every finding and what an import would do, and repair if asked."""
        from trajrl.formats.base.importer import box_line
        from trajrl.formats.doctor import examine, repair

        if self.fix != (self.out is not None):
            raise ValueError(
                "--fix and --out go together: the repaired store needs a name, and the source stays"
            )
        if self.out is not None:
            refuse_existing(self.out, self.overwrite)
        report = examine(self.open, progress)
        for finding in report.findings:
            say(finding.line())
        say(
            ", ".join(counted(name, report.count(level)) for level, name in LEVELS.items())
            + f"; {report.sentence()}"
        )
        if report.source is not None:
            say(box_line(report.source))
        answer = {
            "action_box": box_line(report.source) if report.source is not None else "",
            "source": self.source, "failed": report.failed, "import": report.would(),
            "findings": [finding.plain() for finding in report.findings],
        }  # fmt: skip
        if self.out is None:
            return answer
        mended = repair(report, self.out, progress)
        answer["repaired"] = mended
        answer["failed"] = any(finding.level == "E" and not finding.fixed for finding in report.findings)
        done = ", ".join(f"{count} {what}" for what, count in mended["repaired"].items())
        kept = counted("episode[s]", mended["episodes"])
        say(f"{kept} to {self.out}: {done or 'nothing had to be changed'}")
        return answer


@dataclass(frozen=True, kw_only=True)
class Mix(Common):
    """Mix whole episodes of several stores, shares counted in transitions."""

    parts: Annotated[
        Positional[tuple[str, ...]], tyro.conf.arg(metavar="STORE:SHARE ...", help_behavior_hint="")
    ]
    """STORE:SHARE, for example expert.h5:0.25 medium.h5:0.75; the shares add up to 1."""
    transitions: int
    """Transitions of the mixture; whole episodes come as near as they can."""
    out: Path
    """The store file to write."""
    force: bool = False
    """Mix stores of different action boxes or environments; what they disagree on is left out."""
    overwrite: bool = False
    """Replace a store that has this name."""

    def run(self) -> dict[str, Any]:
        """Choose, write, and say what was wanted and what came."""
        from trajrl.store.mix import choose, parse_share, write_mixture

        refuse_existing(self.out, self.overwrite)
        parts = choose([parse_share(part) for part in self.parts], self.transitions, self.seed, self.force)
        found = write_mixture(
            parts, self.out, self.seed, lambda items: progress(items, "mixing", unit="episodes")
        )
        total = found["transitions"]
        show_table(
            ("source", "episodes", "wanted", "got", "share"),
            [
                (part["source"], str(part["episodes"]), str(part["wanted"]), str(part["got"]),
                 f"{part['got'] / total:.4f}") for part in found["parts"]
            ],
            numbers=("episodes", "wanted", "got", "share"),
        )  # fmt: skip
        if found["left_out"]:
            say(f"left out, because not all parts share them: {', '.join(found['left_out'])}")
        say(f"{counted('episode[s]', found['episodes'])}, {total} transitions to {self.out}")
        return found


@dataclass(frozen=True, kw_only=True)
class Pack(Common):
    """Write a small compressed copy for keeping and sending; `store import` unpacks it."""

    store: Positional[Path]
    """The store file."""
    out: Annotated[Path | None, silent("PATH", "the store's name with .packed.h5")] = None
    """The packed file."""
    overwrite: bool = False
    """Replace a store that has this name."""

    def run(self) -> dict[str, Any]:
        """Write the copy and say how small it is."""
        from trajrl.store.file.pack import pack

        source = self.store.expanduser()
        out = self.out or source.with_suffix(".packed.h5")
        refuse_existing(out, self.overwrite)
        before = source.stat().st_size if source.exists() else 0  # now: --out may be the store itself
        pack(source, out)
        after = out.stat().st_size
        say(f"{out}: {after} bytes, {after / before:.1%} of {before}")
        return {"out": str(out), "bytes": after, "bytes_before": before, "ratio": after / before}


@dataclass(frozen=True, kw_only=True)
class Verify(Common):
    """Recompute every digest of a store; exit code 1 if anything is not what was written."""

    store: Positional[Path]
    """The store file."""

    def run(self) -> dict[str, Any]:
        """Check the file and name what is wrong."""
        from trajrl.store.file.describe import describe_store
        from trajrl.store.file.verify import verify

        path = self.store.expanduser()
        findings = list(verify(path))
        for finding in findings:
            say(f"E  {finding}")
        if findings:
            say(f"{path} is damaged: {len(findings)} findings; import or copy it again")
            return {"path": str(path), "failed": True, "findings": findings}
        fingerprint = describe_store(path)["fingerprint"]
        say(f"{path} is whole; fingerprint {fingerprint}")
        return {"path": str(path), "failed": False, "findings": [], "fingerprint": fingerprint}


def foreign(path: Path) -> str:
    """Say what a file or folder is that is no store, and what to do with it."""
    return (
        f"{path} is data of the format {recognise(path)}, not a trajrl store: `store doctor {path}` looks "
        f"into it, `store import {path} --out X.h5` makes a store of it"
    )


def is_store(path: Path) -> bool:
    """Return whether a file is a trajrl store, by its content."""
    return recognise(path) == "trajrl"
