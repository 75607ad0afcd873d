"""ROC curves: how well forgotten items can be told from items that no model saw, subject by subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from audit.figures.curves import BAND, drawn_order
from audit.figures.style import GREY, Look, escape, faded, finish

if TYPE_CHECKING:
    import plotly.graph_objects as go

LEAST = 0.001
"""Left end of a logarithmic axis: a rate of 0 is not on it."""


def roc(points: pd.DataFrame, looks: Mapping[str, Look], *, logarithmic: bool = False) -> go.Figure:
    """One line per subject through its columns false_positive_rate and true_positive_rate; guessing is dotted."""
    import plotly.graph_objects as go

    figure = go.Figure()
    start = LEAST if logarithmic else 0.0
    ends = [start + (1 - start) * k / 200 for k in range(201)] if logarithmic else [0.0, 1.0]
    figure.add_trace(
        go.Scatter(
            x=ends, y=ends, mode="lines", name="guessing", hoverinfo="skip",
            line={"color": GREY, "dash": "dot", "width": 1.6}, legendrank=2000,
        )
    )  # fmt: skip
    for name, rank in drawn_order(points["subject"].tolist(), looks):
        rows = points[points["subject"] == name]
        look = looks.get(name, Look(GREY, "solid", "circle"))
        _add_band(figure, rows, name, look, start)
        figure.add_trace(
            go.Scatter(
                x=rows["false_positive_rate"].clip(lower=start),
                y=rows["true_positive_rate"],
                mode="lines",
                name=escape(name),
                legendrank=rank,
                line={"color": look.colour, "dash": look.dash, "width": 2.2},
                legendgroup=escape(name),
                hovertemplate=f"<b>{escape(name)}</b><br>%{{y:.0%}} of the forgotten items at %{{x:.1%}} false "
                "alarms<extra></extra>",
            )
        )
    finish(figure, height=440, titles=False)
    figure.update_xaxes(title_text="false alarms among unseen items", tickformat=".0%", range=[-0.02, 1.02])
    if logarithmic:
        figure.update_xaxes(type="log", range=[-3, 0.02], dtick=1, tickformat=".1%")
    figure.update_yaxes(title_text="forgotten items recognised", tickformat=".0%", range=[-0.02, 1.02])
    return figure


def _add_band(figure: go.Figure, rows: pd.DataFrame, name: str, look: Look, start: float) -> None:
    """The interval below a curve, where the table has one."""
    import plotly.graph_objects as go

    banded = rows.dropna(subset=["low", "high"]) if {"low", "high"} <= set(rows.columns) else rows.iloc[:0]
    if banded.empty:
        return
    rates = banded["false_positive_rate"].clip(lower=start)
    figure.add_trace(
        go.Scatter(
            x=[*rates, *rates[::-1]], y=[*banded["high"], *banded["low"][::-1]], mode="lines", fill="toself",
            fillcolor=faded(look.colour, BAND), line={"width": 0}, hoverinfo="skip", showlegend=False,
            legendgroup=escape(name), name=escape(name),
        )
    )  # fmt: skip
