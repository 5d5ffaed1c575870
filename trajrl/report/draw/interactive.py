"""Charts, clouds and heat maps as plotly figures, all in one style."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from trajrl.report.charts import style
from trajrl.report.charts.chart import Chart, Cloud, Figure, Heat, Series, in_order

if TYPE_CHECKING:
    import plotly.graph_objects as go


def draw(figure: Figure) -> go.Figure:
    """Return a figure as plotly draws it."""
    if isinstance(figure, Cloud):
        return _cloud(figure)
    return _heat(figure) if isinstance(figure, Heat) else _chart(figure)


def _chart(chart: Chart) -> go.Figure:
    import plotly.graph_objects as go

    traces: list[Any] = []
    for one in chart.series:
        traces += DRAW[chart.kind](one)
    fig = go.Figure(traces)
    fig.update_layout(style.layout())
    fig.update_xaxes(title_text=chart.x_label)
    fig.update_yaxes(title_text=chart.y_label, range=chart.y_range)
    if chart.kind in ("bars", "dots"):
        fig.update_xaxes(type="category")
    if chart.kind == "lines" and (alone := only_step(chart)) is not None:
        fig.update_xaxes(range=[0, 1.1 * alone])  # else plotly shows the steps between 499 and 501
    if chart.kind == "bars":
        fig.update_layout(barmode="group", bargap=0.25)
    if chart.kind == "dots":
        fig.update_layout(scattermode="group", hovermode="closest")
    if chart.kind == "points":
        fig.update_layout(hovermode="closest")
    fig.update_layout(showlegend=[one.name for one in chart.series] != [chart.y_label])
    if chart.diagonal:
        ends = diagonal(chart)
        line = {"color": style.INK["light"], "width": 1, "dash": "dot"}
        fig.add_scatter(x=ends, y=ends, mode="lines", name=chart.diagonal, line=line, hoverinfo="skip")
    for name, value in chart.marks.items():  # named in the legend: a label would lie on a curve
        line = {"color": style.INK["light"], "width": 1, "dash": "dot"}
        fig.add_hline(y=value, line=line)
        fig.add_scatter(x=[None], y=[None], mode="lines", name=f"{name}: {value:.4g}", line=line)
    if chart.marks:
        fig.update_layout(showlegend=True)
    return fig


def only_step(chart: Chart) -> float | None:
    """Return the step that all points of a chart of lines lie at; None: there are more, or it is 0."""
    steps = np.unique(np.concatenate([one.x for one in chart.series]))
    return float(steps[0]) if len(steps) == 1 and steps[0] > 0 else None


def diagonal(chart: Chart) -> np.ndarray:
    """Return where a line of equal x and y begins and ends (2,)."""
    values = np.concatenate([part for one in chart.series for part in (one.x, one.y)])
    return np.array([values.min(), values.max()])


def interval(one: Series) -> dict[str, Any] | None:
    """Return the bars that show an interval around every point; None: there is none."""
    if one.low is None or one.high is None:
        return None
    return {"type": "data", "symmetric": False, "array": one.high - one.y, "arrayminus": one.y - one.low}


def _lines(one: Series) -> list[Any]:
    import plotly.graph_objects as go

    colour = style.colour(one.place)
    if one.faint:
        line = {"color": style.faded(colour, style.FAINT), "width": 1}
        return [go.Scatter(x=one.x, y=one.y, mode="lines", line=line, showlegend=False, hoverinfo="skip")]
    traces = []
    if one.low is not None and one.high is not None:
        edge = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
        traces.append(go.Scatter(x=one.x, y=one.low, legendgroup=one.name, **edge))
        fill = {"fill": "tonexty", "fillcolor": style.faded(colour, style.BAND)}
        traces.append(go.Scatter(x=one.x, y=one.high, legendgroup=one.name, **edge, **fill))
    mode = "lines+markers" if len(one.x) <= 30 else "lines"
    alone = interval(one) if len(one.x) == 1 else None  # a band of one point has no width
    traces.append(go.Scatter(
        x=one.x, y=one.y, name=legend(one.name), mode=mode, legendgroup=one.name, hovertemplate="%{y:.4g}",
        error_y=alone,
        line={"color": colour, "width": 2, "dash": style.dash(one.place)},
        marker={"symbol": style.marker(one.place), "size": 6},
    ))  # fmt: skip
    return traces


def _dots(one: Series) -> list[Any]:
    import plotly.graph_objects as go

    error = interval(one)
    marker = {"color": style.colour(one.place), "symbol": style.marker(one.place), "size": 9}
    return [go.Scatter(
        x=_wrapped(one.x), y=one.y, name=legend(one.name), mode="markers", marker=marker, error_y=error,
        offsetgroup=one.name, hovertemplate="%{x}: %{y:.4g}",
    )]  # fmt: skip


def _bars(one: Series) -> list[Any]:
    import plotly.graph_objects as go

    pattern = {"shape": ("", "/", ".", "x", "-", "|")[one.place % 6], "solidity": 0.25}
    marker = {"color": style.colour(one.place), "pattern": pattern}
    return [
        go.Bar(x=_wrapped(one.x), y=one.y, name=legend(one.name), marker=marker, hovertemplate="%{y:.4g}")
    ]


def _bins(one: Series) -> list[Any]:
    import plotly.graph_objects as go

    colour = style.colour(one.place)
    line = {"color": colour, "width": 2, "shape": "hvh", "dash": style.dash(one.place)}
    fill = style.faded(colour, style.BAND)
    return [
        go.Scatter(
            x=one.x, y=one.y, name=legend(one.name), mode="lines", line=line, fill="tozeroy", fillcolor=fill
        )
    ]


def _shares(one: Series) -> list[Any]:
    import plotly.graph_objects as go

    return [go.Scatter(
        x=one.x, y=one.y, name=legend(one.name), mode="lines", stackgroup="all", hovertemplate="%{y:.1%}",
        line={"width": 1, "color": style.colour(one.place)},
        fillpattern={"shape": ("", "/", ".", "x", "-", "|")[one.place // style.ROUND % 6]},
    )]  # fmt: skip


def _points(one: Series) -> list[Any]:
    import plotly.graph_objects as go

    marker = {"color": style.colour(one.place), "symbol": style.marker(one.place), "size": 6, "opacity": 0.8}
    return [go.Scatter(x=one.x, y=one.y, name=legend(one.name), mode="markers", marker=marker)]


DRAW: dict[str, Callable[[Series], list[Any]]] = {
    "bars": _bars, "bins": _bins, "dots": _dots, "lines": _lines, "points": _points, "shares": _shares,
}  # fmt: skip


def _cloud(cloud: Cloud) -> go.Figure:
    """Draw a cloud coloured by its first column."""
    import plotly.graph_objects as go

    name, values = next(iter(cloud.columns.items()))
    fig = go.Figure()
    hover = {"text": cloud.labels, "hovertemplate": "%{text}<extra></extra>"}
    if values.dtype.kind in "OUT":
        for place, group in enumerate(in_order(values)):
            own = values == group
            marker = {
                "size": 4,
                "color": style.colour(place),
                "symbol": style.ROUNDS[place // style.ROUND % len(style.ROUNDS)],
            }
            x, y, z = cloud.points[own].T
            text = {**hover, "text": [label for label, mine in zip(cloud.labels, own) if mine]}
            fig.add_scatter3d(x=x, y=y, z=z, mode="markers", name=str(group), marker=marker, **text)
    else:
        marker = {
            "size": 4,
            "color": values,
            "colorscale": style.SCALE,
            "colorbar": {"title": {"text": name}},
        }
        x, y, z = cloud.points.T
        fig.add_scatter3d(x=x, y=y, z=z, mode="markers", name=name, marker=marker, **hover)
    fig.update_layout({**style.layout(), "height": 520, "hovermode": "closest"})
    titles = axis_titles(cloud.explained)
    fig.update_scenes({f"{axis}axis_title_text": title for axis, title in zip("xyz", titles)})
    return fig


def axis_titles(explained: np.ndarray) -> list[str]:
    """Return the names of the principal components with the share of the variance each explains."""
    return [f"component {i + 1} ({share:.0%})" for i, share in enumerate(explained)]


def _heat(heat: Heat) -> go.Figure:
    import plotly.graph_objects as go

    bar = {"title": {"text": heat.z_label}}
    fig = go.Figure(go.Heatmap(x=heat.x, y=heat.y, z=heat.z, colorscale=style.SCALE, colorbar=bar))
    for place, (name, (x, y)) in enumerate(heat.points.items()):
        marker = {
            "size": 12,
            "symbol": style.marker(place),
            "color": "#ffffff",
            "line": {"color": "#000000", "width": 1.5},
        }
        fig.add_scatter(x=[x], y=[y], mode="markers", name=name, marker=marker)
    fig.update_layout({**style.layout(), "height": 460, "hovermode": "closest"})
    fig.update_xaxes(title_text=heat.x_label)
    fig.update_yaxes(title_text=heat.y_label)
    return fig


def legend(name: str) -> str:
    """Break a long name into lines."""
    return "<br>".join(wrap(name, 46))


def _wrapped(names: np.ndarray, width: int = 18) -> list[str]:
    """Break long names of categories into lines."""
    return ["<br>".join(wrap(str(name), width)) for name in names]
