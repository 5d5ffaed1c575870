"""`report`: what runs learned, from what, as one page or as figures for a paper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from trajrl.cli.common import Common, UsageError, refuse_existing, say
from trajrl.cli.option import silent
from trajrl.core.out_paths import refuse_no_folder


@dataclass(frozen=True, kw_only=True)
class Report(Common):
    """Compare runs and look inside them: one self-contained page, or figures for a paper."""

    runs: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...", help_behavior_hint="")
    ]
    """Folders of runs, a folder that holds runs, or quoted patterns such as 'runs/*'."""
    out: Annotated[Path | None, silent("FILE|DIR", "report.html, or figures/ for other formats")] = None
    """Where to write the page, or the folder for figures."""
    format: Literal["html", "pdf", "svg", "png"] = "html"
    """html: one page.  pdf, svg or png: every figure as a file of its own, for a paper."""
    detail: int = 3
    """Runs that are looked into: one of each group of settings first."""
    videos: int = 3
    """Of these, runs whose best, median and worst episode are filmed; 0: none."""
    checkpoint: str = "last"
    """The policy that is looked into: last, best, selected, distilled, or the step of an evaluation."""

    overwrite: bool = False
    """Replace a file that is no report; an older report is replaced without it."""

    def run(self) -> dict[str, Any]:
        """Read the runs, put the report together and write it."""
        from trajrl.report.page.compose import Options, compose

        if not self.runs:
            raise UsageError("name at least one run folder, such as runs/*")
        out = self.out or Path("report.html" if self.format == "html" else "figures")
        self._check(out)
        videos = self.videos if self.format == "html" else 0
        contents = compose(self.runs, Options(self.seed, self.detail, videos, self.checkpoint))
        for note in contents.notes:
            say(f"note: {note}")
        written, left_out = self._write(contents, out)
        for line in left_out:
            say(f"note: {line}")
        panels = [panel for section in contents.sections for panel in section.panels]
        inside = [f"{panel.run}: {note}" for panel in panels for note in panel.notes]
        for line in inside:
            say(f"note: {line}")
        size = sum(path.stat().st_size for path in written)
        say(
            f"wrote {out}, {size / 1e6:.1f} MB"
            if len(written) == 1
            else f"wrote {len(written)} figures to {out}"
        )
        return {
            "report": str(out), "format": self.format, "bytes": size,
            "files": [str(path) for path in written],
            "notes": contents.notes + left_out + inside, "title": contents.title,
        }  # fmt: skip

    def _check(self, out: Path) -> None:
        """Refuse what cannot be written, before the work begins."""
        if self.detail < 0 or self.videos < 0:
            raise ValueError("--detail and --videos must not be negative")
        if self.checkpoint not in ("last", "best", "selected", "distilled") and not self.checkpoint.isdigit():
            raise ValueError(
                f"a checkpoint is last, best, selected, distilled or a step; got '{self.checkpoint}'"
            )
        if self.format == "html" and out.is_dir():
            raise ValueError(f"--out {out} is a folder; name a file such as {out / 'report.html'}")
        if self.format != "html":
            refuse_no_folder(out, f"one {self.format} file per figure")
        if self.format == "html":
            from trajrl.report.page.html import is_report

            refuse_existing(out, self.overwrite, is_report)
        if self.format != "html" and out.suffix == ".html":
            raise ValueError(
                f"--format {self.format} writes one file per figure; --out must be a folder, got {out}"
            )

    def _write(self, contents: Any, out: Path) -> tuple[list[Path], list[str]]:
        """Write the page or the figures; returns the paths, and what was left out."""
        from trajrl.report.draw import paper
        from trajrl.report.page import html

        if self.format == "html":
            left_out = html.write_page(contents, out)
            return [out], left_out
        return paper.save(paper.printable(contents.items()), out, self.format, self.overwrite), []
