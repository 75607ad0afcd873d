"""Checkpoints over their steps: one panel for each place that knowledge can be in, one for what was to be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from audit.figures.style import GREY, HUES, escape, faded, finish

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEIGHT = 380
DASHES = ("solid", "dash", "dot", "dashdot")
MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "cross")


def series(table: pd.DataFrame, limit: float | None) -> go.Figure:
    """`table` as `audit.views.series.trajectory` makes it; a colour and marker for each measurement, a dash a series.

    0 is as if never learned and 1 as in the original; the limit, where a verdict rests on this, is dotted.
    """
    from plotly.subplots import make_subplots

    places = list(dict.fromkeys(table["place"]))
    measures, names = list(dict.fromkeys(table["measure"])), list(dict.fromkeys(table["series"]))
    figure = make_subplots(
        rows=1, cols=max(1, len(places)), shared_yaxes=True, subplot_titles=[escape(place) for place in places],
        horizontal_spacing=0.03,
    )  # fmt: skip
    for column, place in enumerate(places, start=1):
        part = table[table["place"] == place].dropna(subset=["left"])
        for (measure, name), rows in part.groupby(["measure", "series"], sort=False):
            label = measure if len(names) == 1 else f"{measure}, {name}"
            _add(figure, rows, label, measures.index(measure), names.index(name), column)
        for at in (0, 1):
            figure.add_hline(y=at, line={"color": GREY, "width": 1}, row=1, col=column)
        if limit is not None and place != "kept":
            figure.add_hline(y=limit, line={"color": GREY, "width": 1.4, "dash": "dot"}, row=1, col=column)
        figure.update_xaxes(title_text="step", row=1, col=column)
    figure.update_yaxes(title_text="left of the original", tickformat=".0%", row=1, col=1)
    return finish(figure, height=HEIGHT)


def _add(figure: go.Figure, rows: pd.DataFrame, label: str, measure: int, name: int, column: int) -> None:
    """The band and the curve of one measurement."""
    import plotly.graph_objects as go

    colour = HUES[measure % len(HUES)]
    steps = rows["step"].tolist()
    figure.add_trace(
        go.Scatter(
            x=[*steps, *reversed(steps)], y=[*rows["high"], *reversed(rows["low"].tolist())], fill="toself",
            fillcolor=faded(colour, 0.14), line={"width": 0}, hoverinfo="skip", showlegend=False,
            legendgroup=escape(label),
        ),
        row=1,
        col=column,
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=steps, y=rows["left"], name=escape(label), legendgroup=escape(label), mode="lines+markers",
            line={"color": colour, "width": 2, "dash": DASHES[name % len(DASHES)]},
            marker={"symbol": MARKERS[measure % len(MARKERS)], "size": 8, "color": colour},
            text=[escape(candidate) for candidate in rows["candidate"]],
            hovertemplate="%{text}, step %{x}<br>%{y:.0%} of the original is left<extra>" + escape(label) + "</extra>",
        ),
        row=1,
        col=column,
    )  # fmt: skip
