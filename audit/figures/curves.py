"""Lines with their interval bands and their null: the parts from which every curve is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from audit.figures.style import GREY, REFERENCE, SECOND, Look, escape, faded

if TYPE_CHECKING:
    import plotly.graph_objects as go

BAND = 0.16
MOST_TICKS = 16


def add_curve(
    figure: go.Figure,
    frame: pd.DataFrame,
    name: str,
    look: Look,
    *,
    x: str,
    y: str,
    low: str | None = None,
    high: str | None = None,
    hover: Sequence[str] = (),
    cell: tuple[int, int] = (1, 1),
    legend: bool = True,
    rank: int = 1000,
) -> None:
    """One subject's line, with its interval as a band below it and its marker on every point; `cell` is row, column.

    Rows without a value are left out, so that a missing number is a gap and never a zero.
    """
    import plotly.graph_objects as go

    frame = frame.dropna(subset=[y]).sort_values(x)
    if frame.empty:
        return
    row, column = cell
    banded = frame.dropna(subset=[low, high]) if low and high else frame.iloc[:0]
    if len(banded) and low and high:
        figure.add_trace(
            go.Scatter(
                x=[*banded[x], *banded[x][::-1]],
                y=[*banded[high], *banded[low][::-1]],
                mode="lines",
                fill="toself",
                fillcolor=faded(look.colour, BAND),
                line={"width": 0},
                hoverinfo="skip",
                legendgroup=escape(name),
                showlegend=False,
                name=escape(name),
            ),
            row=row,
            col=column,
        )
    figure.add_trace(
        go.Scatter(
            x=frame[x],
            y=frame[y],
            mode="lines+markers",
            name=escape(name),
            legendgroup=escape(name),
            showlegend=legend,
            legendrank=rank,
            line={"color": look.colour, "dash": look.dash, "width": look.width},
            marker={"symbol": look.symbol, "size": 7, "color": look.colour},
            text=hover_texts(frame, name, x, y, low, high, hover),
            hovertemplate="%{text}<extra></extra>",
        ),
        row=row,
        col=column,
    )


def hover_texts(
    frame: pd.DataFrame, name: str, x: str, y: str, low: str | None, high: str | None, extra: Sequence[str] = ()
) -> list[str]:
    """What a pointer shows on each row; every word of it escaped."""
    texts = []
    for row in frame.to_dict("records"):
        interval = f" ({row[low]:.2f} to {row[high]:.2f})" if low and high and pd.notna(row[low]) else ""
        more = [f"{escape(key)}: {escape(_short(row[key]))}" for key in extra if key in row]
        head = f"<b>{escape(name)}</b><br>{escape(x)} {escape(_short(row[x]))}: {row[y]:.2f}{interval}"
        texts.append("<br>".join([head, *more]))
    return texts


def add_null(
    figure: go.Figure, frame: pd.DataFrame, x: str, null: str, *, cell: tuple[int, int] = (1, 1), legend: bool = True
) -> None:
    """The null (chance) as a dotted grey line: its mean at each place of the x axis."""
    import plotly.graph_objects as go

    values = frame.dropna(subset=[null]).groupby(x)[null].mean()
    if values.empty:
        return
    figure.add_trace(
        go.Scatter(
            x=values.index.to_numpy(),
            y=values.to_numpy(),
            mode="lines",
            name=escape(null),
            legendgroup=f"null:{null}",
            showlegend=legend,
            legendrank=2000,
            line={"color": GREY, "dash": "dot", "width": 1.6},
            hovertemplate=f"{escape(null)}: %{{y:.2f}}<extra></extra>",
        ),
        row=cell[0],
        col=cell[1],
    )


def order_of(names: Sequence[str], looks: Mapping[str, Look]) -> list[str]:
    """The subjects of a table in the order in which every figure shows them; unknown names last."""
    present = list(dict.fromkeys(names))
    return [name for name in looks if name in present] + [name for name in present if name not in looks]


def whole_ticks(figure: go.Figure, values: pd.Series, **cell: int) -> None:
    """Ticks at whole numbers only where the axis counts layers, blocks or steps."""
    if len(values) and pd.api.types.is_integer_dtype(values) and values.max() - values.min() <= MOST_TICKS:
        figure.update_xaxes(dtick=1, **cell)


def add_level(figure: go.Figure, value: float, look: Look, words: str) -> None:
    """A subject that was measured once only, as a line across every panel with its name on it."""
    figure.add_hline(
        y=value,
        line={"color": look.colour, "width": 1.6, "dash": "longdash"},
        annotation={"text": escape(words), "font": {"color": look.colour}},
        annotation_position="top right",
    )


def drawn_order(names: Sequence[str], looks: Mapping[str, Look]) -> list[tuple[str, int]]:
    """Names with their place in the legend, in the order of drawing: dashed references last, over what they hide."""
    ranked = [(name, 1000 + place) for place, name in enumerate(order_of(names, looks))]
    return sorted(ranked, key=lambda pair: pair[0] in (REFERENCE, SECOND))


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
