"""The three places on one line: how far it moved, what can be read inside, what comes back under attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from audit.figures.curves import add_curve, add_null, drawn_order, whole_ticks
from audit.figures.style import Look, escape, finish

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEIGHT = 360


@dataclass(frozen=True)
class Panel:
    """One of several small multiples: a table whose `subject` column holds names, and which columns are drawn."""

    title: str
    table: pd.DataFrame
    x: str
    y: str
    x_title: str
    y_title: str
    low: str | None = "low"
    high: str | None = "high"
    null: str | None = None
    empty: str = "no number"
    """What the panel says when its table is empty."""


def panels(parts: Sequence[Panel], looks: Mapping[str, Look]) -> go.Figure:
    """Small multiples of curves with one legend: each subject looks the same in all of them."""
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=1, cols=len(parts), subplot_titles=[escape(part.title) for part in parts], horizontal_spacing=0.07
    )
    shown: set[str] = set()
    for column, part in enumerate(parts, start=1):
        cell = (1, column)
        if part.table.empty:
            _say(figure, part.empty, column)
            continue
        if part.null and part.null in part.table:
            add_null(figure, part.table, part.x, part.null, cell=cell, legend=part.null not in shown)
            shown.add(part.null)
        for name, rank in drawn_order(part.table["subject"].tolist(), looks):
            rows = part.table[part.table["subject"] == name]
            add_curve(
                figure,
                rows,
                name,
                looks[name],
                x=part.x,
                y=part.y,
                low=part.low,
                high=part.high,
                cell=cell,
                legend=name not in shown,
                rank=rank,
            )
            shown.add(name)
        figure.update_xaxes(title_text=escape(part.x_title), row=1, col=column)
        whole_ticks(figure, part.table[part.x], row=1, col=column)
        figure.update_yaxes(title_text=escape(part.y_title), range=[-0.03, 1.05], row=1, col=column)
    return finish(figure, height=HEIGHT)


def _say(figure: go.Figure, text: str, column: int) -> None:
    """An empty panel says why."""
    import plotly.graph_objects as go

    said = go.Scatter(x=[0.5], y=[0.5], mode="text", text=[escape(text)], showlegend=False, hoverinfo="skip")
    figure.add_trace(said, row=1, col=column)
    figure.update_xaxes(visible=False, range=[0, 1], row=1, col=column)
    figure.update_yaxes(visible=False, range=[0, 1], row=1, col=column)
