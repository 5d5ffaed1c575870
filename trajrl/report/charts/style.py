"""How every figure looks, on a screen in light and dark and on paper.

Six colours that stay apart for the three common kinds of colour blindness and stand out at least 3 to 1 from
their background; a second cue (dash, marker) goes with each, so that no figure is read by colour alone.
"""

from __future__ import annotations

from typing import Any

ROUND = 6  # colours that every kind of sight tells apart; those after them, for many clusters, most do
LIGHT = (
    "#0e6baa", "#f56200", "#595922", "#ba52ff", "#c76b7d", "#6200f5",
    "#001e87", "#e100a5", "#4b1e3c", "#ff3c5a", "#965a00", "#00694b",
    "#871e78", "#b478e1", "#3c69ff", "#000fb4", "#1e2d69", "#3c2d1e",
)  # fmt: skip
DARK = (
    "#5fb7f2", "#f08a2c", "#cdee8a", "#9a5cff", "#dd4f8a", "#a07850",
    "#ffe100", "#1effc3", "#785a96", "#ffc3ff", "#d20f1e", "#ff3cc3",
    "#3cc34b", "#9600ff", "#d20fe1", "#00784b", "#ff8787", "#2d7878",
)  # fmt: skip
PAPER = {"light": "#ffffff", "dark": "#14171b"}
INK = {"light": "#1b1f24", "dark": "#e8eaed"}
RULE = {"light": "#d5d9de", "dark": "#3a4048"}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKERS = ("circle", "square", "diamond", "cross", "triangle-up", "x")
ROUNDS = ("circle", "square", "diamond")  # markers in three dimensions, by round of the colours
SCALE = "Cividis"  # of numbers: even in lightness, the same for every kind of sight
BAND = 0.18  # opacity of an interval
FAINT = 0.35  # opacity of a single run behind its group
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def colour(place: int, theme: str = "light") -> str:
    """Return the colour of the place-th series; they come round again after eighteen."""
    return (LIGHT if theme == "light" else DARK)[place % len(LIGHT)]


def dash(place: int) -> str:
    """Return the dash of the place-th series: another one in the second round of colours."""
    return DASHES[place % len(DASHES)]


def marker(place: int) -> str:
    """Return the marker of the place-th series."""
    return MARKERS[place % len(MARKERS)]


def faded(hex_colour: str, opacity: float) -> str:
    """Return a colour as rgba, so that bands and faint lines need no second palette."""
    red, green, blue = (int(hex_colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def dark_of() -> dict[str, str]:
    """Return what each colour of a light figure becomes in the dark."""
    pairs = dict(zip(LIGHT, DARK))
    for table in (PAPER, INK, RULE):
        pairs[table["light"]] = table["dark"]
    for opacity in (BAND, FAINT):
        pairs.update({faded(light, opacity): faded(dark, opacity) for light, dark in zip(LIGHT, DARK)})
    return pairs


def layout() -> dict[str, Any]:
    """Return the plotly layout that all figures share."""
    axis = {
        "gridcolor": RULE["light"], "zerolinecolor": RULE["light"], "linecolor": RULE["light"],
        "automargin": True, "title": {"standoff": 8},
    }  # fmt: skip
    return {
        "template": "none", "font": {"family": FONT, "size": 13, "color": INK["light"]},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8}, "height": 400, "xaxis": axis, "yaxis": axis,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0}, "showlegend": True,
        "hovermode": "x unified", "colorway": list(LIGHT),
    }  # fmt: skip
