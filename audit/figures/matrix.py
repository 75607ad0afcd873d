"""Every attack on every candidate as one heat table with the original and the floor beside it; a click picks a cell."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.figures.style import GREY, escape, finish, percent
from audit.views.words import MARKS

if TYPE_CHECKING:
    import plotly.graph_objects as go

ROW = 46
ORIGINAL, FLOOR = "original", "floor"
CLEAR = "rgba(0,0,0,0)"


def matrix(cells: pd.DataFrame, candidates: Sequence[str], chosen: tuple[str, str] | None = None) -> go.Figure:
    """`cells` as `audit.views.attacks.matrix` makes them; `chosen` (evidence, candidate) is ringed.

    Colour and percentage are the residual, the smaller number is the evidence's own score. Each cell carries evidence
    and candidate as customdata.
    """
    import plotly.graph_objects as go

    attacks = list(dict.fromkeys(cells["title"]))
    columns = [ORIGINAL, FLOOR, *candidates]
    part = cells[cells["candidate"].isin(candidates)]
    grid = part.pivot(index="title", columns="candidate", values="value").reindex(index=attacks, columns=candidates)
    texts = part.assign(text=[_text(row) for row in part.to_dict("records")])
    words = texts.pivot(index="title", columns="candidate", values="text").reindex(index=attacks, columns=candidates)
    figure = go.Figure(
        go.Heatmap(
            z=grid.astype(float).clip(0, 1).to_numpy(), x=[_wrapped(name) for name in candidates],
            y=[escape(title) for title in attacks], text=words.fillna("").to_numpy(), texttemplate="%{text}",
            textfont={"size": 12}, colorscale="Cividis", zmin=0, zmax=1, showscale=False, xgap=2, ygap=2,
            hoverinfo="skip",
        )
    )  # fmt: skip
    _add_words(figure, cells, part, attacks)
    _add_clicks(figure, part)
    if chosen:
        _ring(figure, part, chosen, columns, attacks)
    finish(figure, height=70 + ROW * len(attacks), legend=False, titles=False)
    figure.update_layout(margin={"t": 56, "b": 8, "l": 8, "r": 8}, clickmode="event+select", dragmode=False)
    figure.update_xaxes(
        type="category", categoryorder="array", categoryarray=[_wrapped(name) for name in columns], side="top",
        showline=False, ticks="", tickangle=0, range=[-0.5, len(columns) - 0.5], fixedrange=True, automargin=True,
    )  # fmt: skip
    figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=[escape(title) for title in attacks],
        range=[len(attacks) - 0.5, -0.5], showgrid=False, ticks="", automargin=True, fixedrange=True,
    )  # fmt: skip
    return figure


def _add_words(figure: go.Figure, cells: pd.DataFrame, part: pd.DataFrame, attacks: Sequence[str]) -> None:
    """Original and floor on the evidence's own scale, and what stands where there is no number."""
    import plotly.graph_objects as go

    first = cells.drop_duplicates("title").set_index("title").loc[list(attacks)]
    spots = [(ORIGINAL, title, _number(first.loc[title, "original"])) for title in attacks]
    spots += [(FLOOR, title, _number(first.loc[title, "floor"])) for title in attacks]
    spots += [
        (row["candidate"], row["title"], f"{MARKS['none']}<br><sup>{escape(row['state'])}</sup>")
        for row in part.to_dict("records")
        if pd.isna(row["value"])
    ]
    figure.add_trace(
        go.Scatter(
            x=[_wrapped(name) for name, _, _ in spots], y=[escape(title) for _, title, _ in spots], mode="text",
            text=[text for _, _, text in spots], hoverinfo="skip", showlegend=False,
        )
    )  # fmt: skip


def _add_clicks(figure: go.Figure, part: pd.DataFrame) -> None:
    """An invisible point on every cell: heat maps themselves cannot be selected in."""
    import plotly.graph_objects as go

    rows = part.to_dict("records")
    still = {"marker": {"opacity": 1}}
    figure.add_trace(
        go.Scatter(
            x=[_wrapped(row["candidate"]) for row in rows], y=[escape(row["title"]) for row in rows], mode="markers",
            customdata=[[row["id"], row["candidate"]] for row in rows], text=[_hover(row) for row in rows],
            marker={"symbol": "square", "size": 38, "color": CLEAR, "line": {"width": 0}}, showlegend=False,
            hovertemplate="%{text}<extra></extra>", selected=still, unselected=still, name="cells",
        )
    )  # fmt: skip


def _ring(
    figure: go.Figure, part: pd.DataFrame, chosen: tuple[str, str], columns: Sequence[str], attacks: Sequence[str]
) -> None:
    row = part[(part["id"] == chosen[0]) & (part["candidate"] == chosen[1])]
    if row.empty:
        return
    x, y = columns.index(chosen[1]), attacks.index(row.iloc[0]["title"])
    figure.add_shape(
        type="rect", x0=x - 0.48, x1=x + 0.48, y0=y - 0.46, y1=y + 0.46, line={"color": "#D55E00", "width": 3}
    )


def _text(row: Mapping[str, Any]) -> str:
    if pd.isna(row["value"]):
        return ""
    return f"{MARKS[row['state']]} {percent(row['value'])}<br><sup>{_number(row['score'])}</sup>"


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
