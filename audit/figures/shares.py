"""Layer by measure, one panel per candidate, on one scale: 1 as in the original, 0 as in the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from audit.figures.style import escape, finish, ink_on, percent

if TYPE_CHECKING:
    import plotly.graph_objects as go

IN_A_ROW = 4
ROW = 26


def shares(table: pd.DataFrame, order: Sequence[str]) -> go.Figure:
    """`table` as `audit.views.shares.shares` makes it; each cell says its share in percent, an empty one nothing."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    measures = list(dict.fromkeys(table["measure"]))
    layers = sorted(set(table["layer"]))
    columns = max(1, min(IN_A_ROW, len(order)))
    rows = max(1, -(-len(order) // columns))
    figure = make_subplots(
        rows=rows, cols=columns, shared_xaxes="all", shared_yaxes="all", horizontal_spacing=0.02,
        vertical_spacing=0.16 / rows, subplot_titles=[escape(name) for name in order],
    )  # fmt: skip
    for place, name in enumerate(order):
        part = table[table["candidate"] == name]
        grid = part.pivot_table(index="measure", columns="layer", values="left", aggfunc="first", dropna=False)
        grid = grid.reindex(index=measures, columns=layers).astype(float)
        cell = {"row": place // columns + 1, "col": place % columns + 1}
        texts = [["" if pd.isna(v) else percent(v) for v in line] for line in grid.to_numpy()]
        figure.add_trace(
            go.Heatmap(
                z=grid.to_numpy(), x=[str(layer) for layer in layers], y=[escape(m) for m in measures], text=texts,
                coloraxis="coloraxis", xgap=1, ygap=1,
                hovertemplate="%{y}, layer %{x}: %{text} of the original is left<extra>" + escape(name) + "</extra>",
            ),
            **cell,
        )  # fmt: skip
        _add_texts(figure, grid, texts, cell)
    finish(figure, height=110 + rows * (60 + ROW * len(measures)), legend=False)
    figure.update_layout(
        coloraxis={
            "colorscale": "Cividis", "cmin": 0, "cmax": 1,
            "colorbar": {"title": {"text": "left"}, "tickformat": ".0%", "thickness": 12},
        }
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    for column in range(1, columns + 1):
        figure.update_xaxes(title_text="layer", row=rows, col=column)
    return figure


def _add_texts(figure: go.Figure, grid: pd.DataFrame, texts: list[list[str]], cell: dict[str, int]) -> None:
    """The shares as words on their colours, in an ink that can be read on each."""
    import plotly.graph_objects as go

    spots = [(x, y) for y in range(grid.shape[0]) for x in range(grid.shape[1])]
    figure.add_trace(
        go.Scatter(
            x=[str(grid.columns[x]) for x, _ in spots], y=[escape(grid.index[y]) for _, y in spots], mode="text",
            text=[texts[y][x] for x, y in spots], hoverinfo="skip", showlegend=False,
            textfont={"size": 10, "color": [ink_on(grid.iat[y, x]) for x, y in spots]},
        ),
        **cell,
    )  # fmt: skip
