"""`store show`: one episode of a store, as lines in the terminal, as a picture or as a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from trajrl.cli.common import Common, refuse_existing, say
from trajrl.cli.option import silent
from trajrl.cli.store.sparkline import sparkline
from trajrl.cli.text_table import as_text, show_table, terminal_width
from trajrl.store.images import described
from trajrl.store.table import PHASES

if TYPE_CHECKING:
    from trajrl.store.episode import Episode
    from trajrl.store.store import TrajectoryStore

TAKEN = 62  # columns of a line that the names and numbers beside a sparkline take, at most
NARROWEST, WIDEST = 16, 60  # a sparkline


@dataclass(frozen=True, kw_only=True)
class Show(Common):
    """Show one episode: what the table says of it, and how every column goes over its steps."""

    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="X.h5")]
    """The store file."""
    episode: int
    """Its id."""
    dims: int = 12
    """Dimensions of each column that are shown."""
    out: Annotated[Path | None, silent("FILE", "none")] = None
    """Also draw it: a page (.html) or a picture (.png, .svg, .pdf)."""
    overwrite: bool = False
    """Replace a file that trajrl did not draw."""

    COUNTS = ("dims",)

    def run(self) -> dict[str, Any]:
        """Print, and draw where asked."""
        from trajrl.store.edit.rewrite import open_to_edit

        self._refuse_out()
        store = open_to_edit(self.store.expanduser())
        episode = store.episode(self.episode)
        facts = facts_of(store, self.episode)
        if store.image_shapes:
            facts["observation"] = described(store.obs_dim, store.image_shapes)
        show_table(
            ("", ""), [(name, as_text(value)) for name, value in facts.items()], width=terminal_width()
        )
        rows = list(column_rows(episode, self.dims))
        self._print(rows)
        drawn = self._draw(store, episode) if self.out else {}
        columns = {name: numbers for name, numbers, _ in rows}
        return {**facts, "columns": columns, **drawn}

    def _print(self, rows: list[tuple[str, dict[str, float], np.ndarray]]) -> None:
        width = max(NARROWEST, min(WIDEST, terminal_width() - TAKEN))
        show_table(
            ("column", "min", "mean", "max", "over its steps"),
            [
                (name, *(f"{numbers[part]:.4g}" for part in ("min", "mean", "max")), sparkline(values, width))
                for name, numbers, values in rows
            ],
            numbers=("min", "mean", "max"), whole=("column", "over its steps"), width=terminal_width(),
        )  # fmt: skip

    def _refuse_out(self) -> None:
        if self.out is None:
            return
        from trajrl.report.draw.paper import FORMATS, is_figure
        from trajrl.report.page.html import is_report

        kinds = ("html", *FORMATS)
        if self.out.suffix.removeprefix(".") not in kinds:
            raise ValueError(f"--out {self.out} ends in none of .{', .'.join(kinds)}")
        refuse_existing(self.out, self.overwrite, is_report if self.out.suffix == ".html" else is_figure)

    def _draw(self, store: TrajectoryStore, episode: Episode) -> dict[str, Any]:
        """Write the figure, with frames where there are images."""
        from trajrl.report.charts.episode import episode_charts
        from trajrl.report.charts.filmstrips import episode_strips, even_steps, frames_of

        assert self.out is not None
        name = f"episode {self.episode}"
        charts = episode_charts(episode, "episode", name)
        if self.out.suffix == ".html":
            from trajrl.report.page.contents import Contents, Item, Section
            from trajrl.report.page.html import write_page

            title = f"{self.store.name}: {name}"
            source = f" of source {episode.source}" if episode.source else ""
            about = f"{len(episode)} steps{source}, return {episode.episode_return:.6g}."
            frames = episode_strips(store, [self.episode], "episode-frames")
            items: list[Item] = [*([frames] if frames else []), *charts]
            write_page(Contents(title, [], [Section("episode", "Step by step", about, items)]), self.out)
        else:
            from trajrl.report.draw.stacked import save_stacked

            steps = even_steps(store, self.episode)
            frames_by_title = {
                f"Frames of {image}, {name}": frames
                for image, frames in frames_of(store, self.episode, steps).items()
            }
            save_stacked(charts, self.out, self.overwrite, frames_by_title, steps.tolist())
        say(f"wrote {self.out}")
        return {"figure": str(self.out)}


def facts_of(store: TrajectoryStore, e: int) -> dict[str, Any]:
    """Return what the table says of an episode."""
    table = store.table
    success = {1: "yes", 0: "no", -1: "not noted"}[int(table.success[e])]
    labels = {name: getattr(table, name)[e].item() for name in table.extra_names}
    return {
        "episode": e, "of": len(store), "length": int(table.length[e]), "return": float(table.returns[e]),
        "end": "terminated" if table.terminated[e] else "truncated", "success": success,
        "source": str(table.source[e]) or "unnamed", "phase": PHASES[int(table.phase[e])], **labels,
    }  # fmt: skip


def column_rows(episode: Episode, most: int) -> Iterator[tuple[str, dict[str, float], np.ndarray]]:
    """Yield name, range and values over steps of each dimension; a line says how many are left out."""
    from trajrl.report.charts.episode import brightness

    columns = {"reward": episode.rewards, "action": episode.actions, "obs": episode.obs}
    columns |= {f"extras/{name}": column for name, column in episode.extras.items()}
    columns |= {f"brightness of {name}": brightness(frames) for name, frames in episode.images.items()}
    for name, column in columns.items():
        flat = column.reshape(len(column), -1).astype(np.float64)
        for d in range(min(most, flat.shape[1])):
            values = flat[:, d]
            known = values[np.isfinite(values)]
            parts = {
                part: getattr(known, part)() if len(known) else np.nan for part in ("min", "mean", "max")
            }
            yield (
                name if flat.shape[1] == 1 else f"{name} {d}",
                {n: float(v) for n, v in parts.items()},
                values,
            )
        if flat.shape[1] > most:
            say(f"{name}: {flat.shape[1] - most} of {flat.shape[1]} dimensions are not shown (--dims)")
