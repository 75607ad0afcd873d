"""Features of a dictionary: activity against activity, contexts with shaded tokens, histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from audit.figures.style import GREY, INK, Look, escape, faded, finish

if TYPE_CHECKING:
    import plotly.graph_objects as go

CELL = 30
LONGEST = 40


def activity(points: pd.DataFrame, name: str, look: Look, chosen: int | None = None) -> go.Figure:
    """Each feature's activity in the original (x) against the candidate's (y); on the dashed line nothing changed.

    Features with a card are drawn in the candidate's colour, the others grey; each point carries its feature's number
    as customdata.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    end = float(max(points["original"].max(), points["candidate"].max(), 1e-6)) * 1.05
    figure.add_trace(
        go.Scatter(
            x=[0, end], y=[0, end], mode="lines", name="as in the original", hoverinfo="skip",
            line={"dash": "dash", "color": GREY, "width": 1.2},
        )
    )  # fmt: skip
    for kept, label, colour, size in ((False, "others", faded(GREY, 0.6), 6), (True, "with a card", look.colour, 9)):
        part = points[points["card"] == kept]
        figure.add_trace(
            go.Scatter(
                x=part["original"].to_numpy("float32"),
                y=part["candidate"].to_numpy("float32"),
                mode="markers",
                name=label,
                customdata=part["feature"].to_numpy(),
                marker={"color": colour, "size": size, "symbol": look.symbol if kept else "circle"},
                text=[f"carries {value:+.2f} to the answers" for value in part["carries"]],
                hovertemplate="feature %{customdata}<br>original %{x:.2f}, "
                + escape(name)
                + " %{y:.2f}<br>%{text}<extra></extra>",
            )
        )
    ring = points[points["feature"] == chosen] if chosen is not None else points.iloc[:0]
    if len(ring):
        figure.add_trace(
            go.Scatter(
                x=ring["original"], y=ring["candidate"], mode="markers", name="chosen", hoverinfo="skip",
                marker={"symbol": "circle-open", "size": 16, "color": GREY, "line": {"width": 2.5}},
            )
        )  # fmt: skip
    finish(figure, height=430, titles=False)
    figure.update_layout(clickmode="event+select", dragmode="zoom")
    figure.update_xaxes(title_text="activation in the original")
    figure.update_yaxes(title_text=f"activation in {escape(name)}")
    return figure


def context(tokens: Sequence[str], rows: Mapping[str, Sequence[float]], top: float, mode: str = "light") -> go.Figure:
    """One context: a line per model, a cell per token, stronger in colour the more it fires, on one scale up to `top`.

    The colour lies over the page's own, which Plotly does not know: the ink is given for the page's `mode`.
    """
    import plotly.graph_objects as go

    names = list(rows)
    texts = [escape(token.replace("\n", "⏎")[:LONGEST]) for token in tokens]
    figure = go.Figure(
        go.Heatmap(
            z=[list(rows[name]) for name in names],
            y=[escape(name) for name in names],
            x=list(range(len(tokens))),
            text=[texts for _ in names],
            texttemplate="%{text}",
            textfont={"size": 11, "color": INK["dark" if mode == "dark" else "light"]},
            colorscale=[[0, "rgba(213,94,0,0.04)"], [1, "rgba(213,94,0,0.75)"]],
            zmin=0,
            zmax=top or 1.0,
            showscale=False,
            xgap=1,
            ygap=2,
            hovertemplate="%{y}: %{text} %{z:.2f}<extra></extra>",
        )
    )
    finish(figure, height=50 + CELL * len(names), legend=False, titles=False)
    figure.update_layout(margin={"t": 6, "b": 6})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def histogram(counts: Mapping[str, Sequence[int]], top: float, looks: Mapping[str, Look]) -> go.Figure:
    """How often a feature fires how strongly, a line per model; counts on a logarithmic scale, nothing at zero."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, values in counts.items():
        width = (top or 1.0) / len(values)
        look = looks[name]
        figure.add_trace(
            go.Scatter(
                x=[width * (k + 0.5) for k in range(len(values))],
                y=[value or None for value in values],
                mode="lines+markers",
                name=escape(name),
                line={"color": look.colour, "dash": look.dash, "shape": "hvh"},
                marker={"symbol": look.symbol, "size": 7},
                hovertemplate=f"{escape(name)}: %{{y}} tokens near %{{x:.2f}}<extra></extra>",
            )
        )
    finish(figure, height=260, titles=False)
    figure.update_yaxes(type="log", title_text="tokens")
    figure.update_xaxes(title_text="activation")
    return figure
