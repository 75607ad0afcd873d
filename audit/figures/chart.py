"""A chart spec and a table as a figure: line, bar, scatter or heat, one panel for each value of the facet column."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.figures import bars
from audit.figures.curves import add_curve, add_null, drawn_order, hover_texts, order_of, whole_ticks
from audit.figures.style import SPLIT_LOOKS, Look, escape, finish, visible
from audit.types import Chart

if TYPE_CHECKING:
    import plotly.graph_objects as go

MAX_COLUMNS = 3
ROW_HEIGHT = 300
TITLE_SIZE = 12
ACROSS = 96
"""Letters of this size that fit beside each other over all panels of a row, on paper too."""


def draw(chart: Chart, table: pd.DataFrame, looks: Mapping[str, Look]) -> go.Figure:
    """Draw a chart spec; the colour column of the table holds the names that `looks` knows.

    Every value of the facet column gets a panel, on one scale. A heat map has a panel for each subject instead.
    Raises KeyError when the table lacks a column that the spec names.
    """
    from plotly.subplots import make_subplots

    looks = {**SPLIT_LOOKS, **looks}
    by = chart.color if chart.kind == "heat" else chart.facet
    facets: list[Any] = list(dict.fromkeys(table[by])) if by else [None]
    if chart.kind == "heat":
        facets = order_of([str(facet) for facet in facets], looks)
    kind: str = chart.kind
    columns = max(1, min(MAX_COLUMNS, len(facets)))
    if kind == "bar" and bars.too_long(table, chart, ACROSS // columns):
        kind, columns = "lying", min(2, columns)
    rows = max(1, -(-len(facets) // columns))
    titles = [_title(facet, ACROSS // columns) for facet in facets] if by else []
    lines = max((title.count("<br>") for title in titles), default=0)
    row_height = bars.height(table, chart) if kind == "lying" else ROW_HEIGHT
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_xaxes="all" if kind != "bar" else False,
        shared_yaxes="all",
        subplot_titles=titles or None,
        horizontal_spacing=0.05,
        # Standing bars keep the ticks of every row.
        vertical_spacing=((0.36 if kind == "bar" else 0.16) * ROW_HEIGHT / row_height + 0.06 * lines) / rows,
    )
    figure.update_annotations(font={"size": TITLE_SIZE})
    for place, facet in enumerate(facets):
        part = table if facet is None else table[table[by].astype(str) == str(facet)]
        cell = (place // columns + 1, place % columns + 1)
        DRAWERS[kind](figure, part, chart, looks, cell, place == 0)
    across, up = (
        (chart.y_title or chart.y, "") if kind == "lying" else (chart.x_title or chart.x, chart.y_title or chart.y)
    )
    for column in range(1, columns + 1):
        figure.update_xaxes(title_text=escape(across), row=rows, col=column)
    for row in range(1, rows + 1):
        figure.update_yaxes(title_text=escape(up), row=row, col=1)
    if chart.kind == "heat":
        figure.update_layout(coloraxis=_colours(figure, chart.hover[0]))
    if chart.kind == "line" and len(table) and table[chart.y].dropna().between(0, 1).all():
        figure.update_yaxes(range=[-0.03, 1.05])  # a share is drawn on the scale of shares
    height = (110 if by else 80) + row_height * rows
    finished = finish(figure, height=height, legend=chart.kind != "heat", titles=bool(by))
    return finished.update_layout(margin_t=finished.layout.margin.t + 16 * lines)


def _title(facet: object, letters: int) -> str:
    """A panel's title, in lines that end before the next panel's begin."""
    return "<br>".join(escape(line) for line in wrap(visible(facet), letters)) or escape(facet)


def _line(
    figure: go.Figure, part: pd.DataFrame, chart: Chart, looks: Mapping[str, Look], cell: tuple[int, int], first: bool
) -> None:
    whole_ticks(figure, part[chart.x], row=cell[0], col=cell[1])
    if chart.null:
        add_null(figure, part, chart.x, chart.null, cell=cell, legend=first)
    for name, rank in drawn_order(part[chart.color].tolist(), looks):
        add_curve(
            figure,
            part[part[chart.color] == name],
            name,
            looks.get(name, bars.UNKNOWN),
            x=chart.x,
            y=chart.y,
            low=chart.low,
            high=chart.high,
            hover=chart.hover,
            cell=cell,
            legend=first,
            rank=rank,
        )


def _scatter(
    figure: go.Figure, part: pd.DataFrame, chart: Chart, looks: Mapping[str, Look], cell: tuple[int, int], first: bool
) -> None:
    import plotly.graph_objects as go

    number = pd.api.types.is_numeric_dtype(part[chart.x])
    if pd.api.types.is_integer_dtype(part[chart.x]):
        whole_ticks(figure, part[chart.x], row=cell[0], col=cell[1])
    if not number:
        order = [escape(value) for value in dict.fromkeys(part[chart.x])]
        figure.update_xaxes(categoryorder="array", categoryarray=order, row=cell[0], col=cell[1])
        figure.update_layout(scattermode="group", scattergap=0.5)  # subjects beside each other, not on top
    for name in order_of(part[chart.color].tolist(), looks):
        frame = part[part[chart.color] == name].dropna(subset=[chart.x, chart.y])
        look = looks.get(name, bars.UNKNOWN)
        kind = go.Scattergl if number else go.Scatter
        figure.add_trace(
            kind(
                x=frame[chart.x].to_numpy() if number else [escape(value) for value in frame[chart.x]],
                y=frame[chart.y].to_numpy(),
                mode="markers",
                name=escape(name),
                legendgroup=escape(name),
                showlegend=first,
                marker={"color": look.colour, "symbol": look.symbol, "size": 7, "opacity": 0.8},
                text=hover_texts(frame, name, chart.x, chart.y, None, None, chart.hover),
                hovertemplate="%{text}<extra></extra>",
            ),
            row=cell[0],
            col=cell[1],
        )


def _heat(
    figure: go.Figure, part: pd.DataFrame, chart: Chart, looks: Mapping[str, Look], cell: tuple[int, int], first: bool
) -> None:
    """Here `y` names the rows and the first hover column holds the value that is coloured."""
    import plotly.graph_objects as go

    value = chart.hover[0]
    grid = part.pivot_table(index=chart.y, columns=chart.x, values=value, sort=False)
    figure.add_trace(
        go.Heatmap(
            x=[escape(column) for column in grid.columns],
            y=[escape(index) for index in grid.index],
            z=grid.to_numpy(),
            coloraxis="coloraxis",
            hovertemplate=f"%{{y}}, %{{x}}<br>{escape(value)}: %{{z:.3g}}<extra></extra>",
        ),
        row=cell[0],
        col=cell[1],
    )
    figure.update_yaxes(showgrid=False, ticks="", row=cell[0], col=cell[1])


def _colours(figure: go.Figure, title: str) -> dict[str, Any]:
    """One scale for all panels, from the least to the greatest number in them.

    Left to itself the scale of a panel that holds one number alone reaches half beyond it, and so do all.
    """
    import numpy as np

    numbers = np.concatenate([np.ravel(trace.z).astype(float) for trace in figure.data] or [np.empty(0)])
    numbers = numbers[np.isfinite(numbers)]
    ends = {"cmin": numbers.min(), "cmax": numbers.max()} if len(set(numbers)) > 1 else {}
    return {"colorscale": "Cividis", "colorbar": {"title": {"text": escape(title)}}, **ends}


DRAWERS = {"line": _line, "bar": bars.stand, "lying": bars.lie, "scatter": _scatter, "heat": _heat}
