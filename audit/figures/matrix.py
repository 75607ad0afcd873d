"""Every attack on every candidate as one heat table with the original and the floor beside it; a click picks a cell."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.figures.style import GREY, escape, finish, ink_on, percent
from audit.views.words import MARKS

if TYPE_CHECKING:
    import plotly.graph_objects as go

ROW = 46
ORIGINAL, FLOOR = "original", "floor"
CLEAR = "rgba(0,0,0,0)"
RING = "#D55E00"


def matrix(cells: pd.DataFrame, candidates: Sequence[str], chosen: tuple[str, str] | None = None) -> go.Figure:
    """`cells` as `audit.views.attacks.matrix` makes them; `chosen` (evidence, candidate) is ringed.

    Colour and percentage are the residual, the smaller number is the evidence's own score. Each cell carries evidence
    and candidate as customdata. Both axes count places, because names would be sorted anew by each trace.
    """
    import plotly.graph_objects as go

    titles = dict(zip(cells["id"], cells["title"], strict=True))
    columns = [ORIGINAL, FLOOR, *candidates]
    part = cells[cells["candidate"].isin(list(candidates))]
    part = part.assign(x=part["candidate"].map(columns.index), y=part["id"].map(list(titles).index))
    figure = go.Figure()
    _add_colours(figure, part)
    _add_words(figure, cells, part)
    _add_clicks(figure, part)
    ring = part[(part["id"] == chosen[0]) & (part["candidate"] == chosen[1])] if chosen else part.iloc[:0]
    for x, y in zip(ring["x"], ring["y"], strict=True):
        edge = {"color": RING, "width": 3}
        figure.add_shape(type="rect", x0=x - 0.49, x1=x + 0.49, y0=y - 0.47, y1=y + 0.47, line=edge)
    finish(figure, height=70 + ROW * len(titles), legend=False, titles=False)
    figure.update_layout(margin={"t": 56, "b": 8, "l": 8, "r": 8}, clickmode="event+select", dragmode=False)
    figure.update_xaxes(
        tickvals=list(range(len(columns))), ticktext=[_wrapped(name) for name in columns], side="top", showline=False,
        ticks="", tickangle=0, range=[-0.5, len(columns) - 0.5], fixedrange=True, showgrid=False,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(titles))), ticktext=[escape(title) for title in titles.values()], showgrid=False,
        range=[len(titles) - 0.5, -0.5], ticks="", automargin=True, fixedrange=True,
    )  # fmt: skip
    return figure


def _add_colours(figure: go.Figure, part: pd.DataFrame) -> None:
    """A coloured cell with its words for every residual; nothing where there is none."""
    import plotly.graph_objects as go

    known = part.dropna(subset=["value"])
    if known.empty:
        return
    colours = known.assign(value=known["value"].clip(0, 1)).pivot(index="y", columns="x", values="value")
    figure.add_trace(
        go.Heatmap(
            z=colours.to_numpy(float), x=colours.columns.tolist(), y=colours.index.tolist(), colorscale="Cividis",
            zmin=0, zmax=1, showscale=False, xgap=2, ygap=2, hoverinfo="skip",
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=known["x"].tolist(), y=known["y"].tolist(), mode="text", hoverinfo="skip", showlegend=False,
            text=[_text(row) for row in known.to_dict("records")],
            textfont={"size": 13, "color": [ink_on(value) for value in known["value"]]},
        )
    )  # fmt: skip


def _add_words(figure: go.Figure, cells: pd.DataFrame, part: pd.DataFrame) -> None:
    """Original and floor on the evidence's own scale, and what stands where there is no number."""
    import plotly.graph_objects as go

    first = cells.drop_duplicates("id")
    spots = [(x, y, _number(value)) for x, name in enumerate((ORIGINAL, FLOOR)) for y, value in enumerate(first[name])]
    missing = part[part["value"].isna()]
    spots += [
        (x, y, f"{MARKS['none']}<br>{_small(escape(state))}")
        for x, y, state in zip(missing["x"], missing["y"], missing["state"], strict=True)
    ]
    figure.add_trace(
        go.Scatter(
            x=[x for x, _, _ in spots], y=[y for _, y, _ in spots], text=[text for _, _, text in spots], mode="text",
            hoverinfo="skip", showlegend=False,
        )
    )  # fmt: skip


def _add_clicks(figure: go.Figure, part: pd.DataFrame) -> None:
    """An invisible point on every cell: heat maps themselves cannot be selected in."""
    import plotly.graph_objects as go

    still = {"marker": {"opacity": 1}}
    figure.add_trace(
        go.Scatter(
            x=part["x"].tolist(), y=part["y"].tolist(), mode="markers", name="cells", showlegend=False,
            customdata=part[["id", "candidate"]].to_numpy().tolist(),
            text=[_hover(row) for row in part.to_dict("records")], hovertemplate="%{text}<extra></extra>",
            marker={"symbol": "square", "size": 38, "color": CLEAR, "line": {"width": 0}}, selected=still,
            unselected=still,
        )
    )  # fmt: skip


def _text(row: Mapping[str, Any]) -> str:
    return f"{MARKS[row['state']]} {percent(row['value'])}<br>{_small(_number(row['score']))}"


def _small(text: str) -> str:
    return f"<span style='font-size:10px'>{text}</span>"


def _hover(row: Mapping[str, Any]) -> str:
    head = f"<b>{escape(row['title'])}</b> on <b>{escape(row['candidate'])}</b><br>"
    if pd.isna(row["value"]):
        return head + escape(row["state"]) + "<br>" + "<br>".join(escape(line) for line in _folded(row["reason"]))
    return (
        f"{head}{percent(row['value'])} of what the original held<br>95 % interval {percent(row['low'])} to "
        f"{percent(row['high'])}<br>score {_number(row['score'])}, original {_number(row['original'])}, "
        f"floor {_number(row['floor'])}"
    )


def _folded(text: str, width: int = 70) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)[:8]


def _wrapped(name: str) -> str:
    """A name that may break after a hyphen, an underscore or a space; escaped piece by piece."""
    pieces = re.split(r"(?<=[-_ ])", name)
    lines, line = [], ""
    for piece in pieces:
        if line and len(line) + len(piece) > 11:
            lines.append(line)
            line = ""
        line += piece
    return "<br>".join(html.escape(part.strip(), quote=False) for part in [*lines, line])


def _number(value: Any) -> str:
    return f"<span style='color:{GREY}'>–</span>" if value is None or pd.isna(value) else f"{value:.2f}"
