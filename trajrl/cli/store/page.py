"""`store page`: a data set as one self-contained page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from trajrl.cli.common import Common, refuse_existing, say
from trajrl.cli.option import silent


@dataclass(frozen=True, kw_only=True)
class Page(Common):
    """Show a store as one self-contained page: counts, returns, samples, groups, findings, origin."""

    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="X.h5")]
    """The store file."""
    out: Annotated[Path | None, silent("FILE", "the store's name with .html")] = None
    """The page to write."""
    doctor: bool = True
    """Look for what is known to go wrong, which reads every row; else only what charts need is read."""
    overwrite: bool = False
    """Replace a file that is no page of trajrl; an older page is replaced without it."""

    def run(self) -> dict[str, Any]:
        """Read, compose and write."""
        from trajrl.report.page.dataset import compose_dataset
        from trajrl.report.page.html import is_report, write_page

        path = self.store.expanduser()
        out = self.out or path.with_suffix(".html").absolute()
        refuse_existing(out, self.overwrite, is_report)
        contents = compose_dataset(path, self.seed, self.doctor)
        left_out = write_page(contents, out)
        for note in [*contents.notes, *left_out]:
            say(f"note: {note}")
        for finding in contents.findings:
            say(finding.text)
        say(f"wrote {out}, {out.stat().st_size / 1e6:.1f} MB")
        return {
            "page": str(out), "bytes": out.stat().st_size, "notes": contents.notes + left_out,
            "findings": [finding.text for finding in contents.findings], "title": contents.title,
        }  # fmt: skip
