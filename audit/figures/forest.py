"""Residuals with their intervals, one row for each candidate: the picture of a ladder, and of all attacks at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.figures.style import GREY, Look, escape, faded, finish, percent

if TYPE_CHECKING:
    import plotly.graph_objects as go

ROW_HEIGHT = 34
SIGNS = {"found": "circle", "unclear": "diamond-open", "clear": "circle-open", "described": "line-ns-open"}
"""What a residual says by shape: filled above the limit, open below it, a diamond across it."""


def forest(
    residuals: pd.DataFrame,
    candidates: Sequence[str],
    columns: Sequence[str],
    looks: Mapping[str, Look],
    limits: Mapping[str, float],
) -> go.Figure:
    """A panel for each column; `residuals` has columns column, subject, value, low, high, state, reason.

    0 is the null (as if never learned) and 1 the original, both drawn; the policy's limit is dotted. A candidate
    without a number has its reason in words in the place of a point.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=1,
        cols=max(1, len(columns)),
        shared_yaxes=True,
        shared_xaxes="all",
        subplot_titles=[escape(column) for column in columns],
        horizontal_spacing=0.03,
    )
    for place, column in enumerate(columns, start=1):
        part = residuals[residuals["column"] == column]
        for row in part.to_dict("records"):
            if pd.isna(row["value"]):
                _add_reason(figure, row, place)
            else:
                _add_interval(figure, row, looks[row["subject"]], place)
        _add_rules(figure, place, limits.get(column))  # Plotly draws no line in a panel that is still empty
    figure.update_yaxes(categoryorder="array", categoryarray=[escape(n) for n in reversed(candidates)], automargin=True)
    finish(figure, height=92 + ROW_HEIGHT * max(1, len(candidates)), legend=False)
    figure.update_xaxes(
        range=_range(residuals), tickvals=[0, 0.5, 1], ticktext=["0 never<br>learned", "0.5", "1 as<br>original"]
    )
    figure.update_yaxes(showgrid=False, range=[-0.6, len(candidates) - 0.4], type="category")
    figure.update_layout(margin={"t": 34, "b": 48, "l": 16})
    return figure


def _range(residuals: pd.DataFrame) -> list[float]:
    """Room for 0 and 1 always; a wild interval is cut off rather than squeezing the rest."""
    lows, highs = residuals["low"].dropna(), residuals["high"].dropna()
    low = min(0.0, float(lows.min())) if len(lows) else 0.0
    high = max(1.0, float(highs.max())) if len(highs) else 1.0
    return [max(low, -0.75) - 0.08, min(high, 1.75) + 0.08]


def _add_rules(figure: go.Figure, column: int, limit: float | None) -> None:
    for at in (0, 1):
        figure.add_vline(x=at, line={"color": GREY, "width": 1.2}, row=1, col=column)
    if limit is not None:
        figure.add_vline(x=limit, line={"color": GREY, "width": 1.6, "dash": "dot"}, row=1, col=column)


def _add_interval(figure: go.Figure, row: Mapping[str, Any], look: Look, column: int) -> None:
    import plotly.graph_objects as go

    value = float(row["value"])
    figure.add_trace(
        go.Scatter(
            x=[value],
            y=[escape(row["subject"])],
            mode="markers",
            name=escape(row["subject"]),
            showlegend=False,
            marker={
                "symbol": SIGNS[row["state"]],
                "size": 11,
                "color": look.colour,
                "line": {"width": 2, "color": look.colour},
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [float(row["high"]) - value],
                "arrayminus": [value - float(row["low"])],
                "color": faded(look.colour, 0.75),
                "thickness": 2.5,
                "width": 5,
            },
            hovertemplate=(
                f"<b>{escape(row['subject'])}</b>, {escape(row['column'])}<br>{percent(value)} of what the original "
                f"held<br>95 % interval {percent(row['low'])} to {percent(row['high'])}<extra></extra>"
            ),
        ),
        row=1,
        col=column,
    )


def _add_reason(figure: go.Figure, row: Mapping[str, Any], column: int) -> None:
    import plotly.graph_objects as go

    figure.add_trace(
        go.Scatter(
            x=[0.5],
            y=[escape(row["subject"])],
            mode="text",
            text=[f"<i>{escape(row['state'])}</i>"],
            textfont={"color": GREY},
            showlegend=False,
            hovertext=[escape(row["reason"])],
            hoverinfo="text",
        ),
        row=1,
        col=column,
    )
