"""Where each model ranks the true answer, block by block: the head projection of one question as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from audit.figures.style import escape, finish, ink_on, percent

if TYPE_CHECKING:
    import plotly.graph_objects as go

ROW = 40


def lens(table: pd.DataFrame, names: Sequence[str]) -> go.Figure:
    """`table` as `audit.views.playground.lens` makes it; `names` is the order of the rows.

    The number in a cell is the rank, 1 is the first of all tokens; the colour says the same on a logarithmic scale. A
    pointer shows the token that the block itself puts first. Both axes count places, so that no name is sorted anew.
    """
    import plotly.graph_objects as go

    rows = [name for name in names if name in set(table["subject"])]
    blocks = sorted(table["block"].unique().tolist())
    part = table.assign(y=table["subject"].map(rows.index), x=table["block"].map(blocks.index))
    worst = max(float(np.log(part["rank"].max())), 1e-9)
    part = part.assign(near=1.0 - np.log(part["rank"]) / worst)
    figure = go.Figure(
        go.Heatmap(
            z=part.pivot(index="y", columns="x", values="near").to_numpy(float), x=list(range(len(blocks))),
            y=list(range(len(rows))), colorscale="Cividis", zmin=0, zmax=1, showscale=False, xgap=2, ygap=2,
            customdata=part.assign(text=[_hover(row) for row in part.itertuples()])
            .pivot(index="y", columns="x", values="text").to_numpy().tolist(),
            hovertemplate="%{customdata}<extra></extra>",
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=part["x"].tolist(), y=part["y"].tolist(), mode="text", hoverinfo="skip", showlegend=False,
            text=[f"{int(rank)}" for rank in part["rank"]],
            textfont={"size": 13, "color": [ink_on(near) for near in part["near"]]},
        )
    )  # fmt: skip
    finish(figure, height=90 + ROW * len(rows), legend=False, titles=False)
    figure.update_layout(margin={"t": 16, "b": 48, "l": 8, "r": 8}, dragmode=False)
    figure.update_xaxes(
        title_text="block", tickvals=list(range(len(blocks))), ticktext=[str(block) for block in blocks],
        fixedrange=True, showgrid=False,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=[escape(name) for name in rows], range=[len(rows) - 0.5, -0.5],
        automargin=True, fixedrange=True, showgrid=False, ticks="",
    )  # fmt: skip
    return figure


def _hover(row: object) -> str:
    rank, token, share = row.rank, row.token, row.share  # type: ignore[attr-defined]
    return (
        f"<b>{escape(row.subject)}</b>, block {row.block}<br>"  # type: ignore[attr-defined]
        f"the true answer's first token: rank {int(rank)}<br>first here: “{escape(token)}” ({percent(share)})"
    )
