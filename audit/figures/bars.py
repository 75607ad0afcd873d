"""Bars: standing beside each other, or lying below each other where their names are too long to stand under them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.figures.curves import hover_texts, order_of
from audit.figures.style import GREY, Look, escape, visible
from audit.types import Chart

if TYPE_CHECKING:
    import plotly.graph_objects as go

UNKNOWN = Look(GREY, "solid", "circle")
STRIPES = "rgba(255,255,255,0.75)"
SLANTED = 1.6
"""How much more than the width of a panel its names may take: a little slanted they can still be read."""
THICK, GAP = 9, 14
"""Pixels of one lying bar, and between the bars of two names."""
LEAST = 160


def too_long(table: pd.DataFrame, chart: Chart, letters: int) -> bool:
    """Whether the names under the bars of the fullest panel need more than so many letters beside each other."""
    panels = [part for _, part in table.groupby(chart.facet, sort=False)] if chart.facet else [table]
    needed = [sum(len(visible(name)) + 2 for name in part[chart.x].unique()) for part in panels]
    return max(needed, default=0) > SLANTED * letters


def height(table: pd.DataFrame, chart: Chart) -> int:
    """Pixels of a panel of lying bars."""
    return max(LEAST, table[chart.x].nunique() * (THICK * table[chart.color].nunique() + GAP))


def stand(
    figure: go.Figure, part: pd.DataFrame, chart: Chart, looks: Mapping[str, Look], cell: tuple[int, int], first: bool
) -> None:
    """One panel of standing bars."""
    _bars(figure, part, chart, looks, cell, first, lying=False)


def lie(
    figure: go.Figure, part: pd.DataFrame, chart: Chart, looks: Mapping[str, Look], cell: tuple[int, int], first: bool
) -> None:
    """One panel of lying bars, the first name at the top; panels beside each other share their names."""
    _bars(figure, part, chart, looks, cell, first, lying=True)
    figure.update_yaxes(
        autorange="reversed", showgrid=False, ticksuffix="  ", automargin=True, row=cell[0], col=cell[1]
    )
    figure.update_xaxes(rangemode="tozero", row=cell[0], col=cell[1])


def _bars(
    figure: go.Figure, part: pd.DataFrame, chart: Chart, looks: Mapping[str, Look], cell: tuple[int, int], first: bool,
    *, lying: bool,
) -> None:  # fmt: skip
    import plotly.graph_objects as go

    for name in order_of(part[chart.color].tolist(), looks):
        frame = _one_bar_each(part[part[chart.color] == name].dropna(subset=[chart.y]), chart)
        look = looks.get(name, UNKNOWN)
        names, values = [escape(value) for value in frame[chart.x]], frame[chart.y]
        figure.add_trace(
            go.Bar(
                x=values if lying else names,
                y=names if lying else values,
                orientation="h" if lying else "v",
                name=escape(name),
                legendgroup=escape(name),
                showlegend=first,
                marker={
                    "color": look.colour,
                    "pattern": {
                        "shape": look.pattern,
                        "fillmode": "overlay",
                        "fgcolor": STRIPES,
                        "size": 7,
                        "solidity": 0.3,
                    },
                },
                text=hover_texts(frame, name, chart.x, chart.y, chart.low, chart.high, [*chart.hover, "rows"]),
                textposition="none",
                hovertemplate="%{text}<extra></extra>",
                **{"error_x" if lying else "error_y": _errors(frame, chart)},
            ),
            row=cell[0],
            col=cell[1],
        )
    if chart.null and part[chart.null].notna().any():
        mean = float(part[chart.null].mean())
        line = {"color": GREY, "dash": "dot", "width": 1.6}
        (figure.add_vline if lying else figure.add_hline)(mean, line=line, row=cell[0], col=cell[1])


def _one_bar_each(frame: pd.DataFrame, chart: Chart) -> pd.DataFrame:
    """A table of items has many rows at one place of the axis; its bar is their mean."""
    if not frame[chart.x].duplicated().any():
        return frame
    numbers = [chart.y, *(c for c in (chart.low, chart.high, chart.null) if c)]
    means = frame.groupby(chart.x, sort=False)[numbers].mean()
    return means.assign(rows=frame.groupby(chart.x, sort=False).size()).reset_index()


def _errors(frame: pd.DataFrame, chart: Chart) -> dict[str, Any] | None:
    if not (chart.low and chart.high):
        return None
    value = frame[chart.y]
    return {
        "type": "data",
        "symmetric": False,
        "array": (frame[chart.high] - value).to_numpy(),
        "arrayminus": (value - frame[chart.low]).to_numpy(),
        "color": GREY,
        "thickness": 1.5,
    }
