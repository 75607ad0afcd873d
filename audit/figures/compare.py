"""What is left of the forgotten against what was kept, a panel for each measure; and one run against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.figures.style import GREY, Look, escape, faded, finish

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEIGHT = 430


def tradeoff(
    points: pd.DataFrame,
    looks: Mapping[str, Look],
    limits: Mapping[str, float],
    utility_limit: float | None,
    titles: tuple[str, str] = ("share of utility kept", "share of the forgotten that is left"),
) -> go.Figure:
    """A panel for each measure; `points` has columns run, candidate, source, panel, value, low, high, x, x_low, x_high.

    The first run's points are filled, later runs' are open, imported ones carry a cross; limits are dotted. Points
    without a number on either axis are not drawn: the table says why.
    """
    from plotly.subplots import make_subplots

    names = list(dict.fromkeys(points["panel"]))
    figure = make_subplots(
        rows=1, cols=max(1, len(names)), shared_yaxes="all", shared_xaxes="all", horizontal_spacing=0.03,
        subplot_titles=[escape(name) for name in names],
    )  # fmt: skip
    runs = list(dict.fromkeys(points["run"]))
    drawn = points.dropna(subset=["value", "x"])
    for row in drawn.to_dict("records"):
        figure.add_trace(_point(row, looks[row["candidate"]], runs, first=row["panel"] == names[0]),
                         row=1, col=names.index(row["panel"]) + 1)  # fmt: skip
    rule = {"color": GREY, "width": 1.6, "dash": "dot"}
    for place, name in enumerate(names, start=1):
        if name in limits:
            figure.add_hline(y=limits[name], line=rule, row=1, col=place)
        if utility_limit is not None:
            figure.add_vline(x=utility_limit, line=rule, row=1, col=place)
        figure.update_xaxes(title_text=escape(titles[0]), row=1, col=place)
    figure.update_yaxes(title_text=escape(titles[1]), row=1, col=1)
    return _named_aside(finish(figure, height=HEIGHT))


def _point(row: Mapping[str, Any], look: Look, runs: Sequence[str], *, first: bool) -> dict[str, Any]:
    label = row["candidate"] if len(runs) == 1 else f"{row['candidate']} ({row['run']})"
    imported = row["source"] == "imported"
    symbol = "x-thin-open" if imported else look.symbol if runs.index(row["run"]) == 0 else f"{look.symbol}-open"
    hover = f"<b>{escape(label)}</b><br>{escape(row['panel'])}: {row['value']:.3g}{_interval(row['low'], row['high'])}"
    across = f"<br>utility: {row['x']:.3g}{_interval(row['x_low'], row['x_high'])}"
    return {
        "type": "scatter",
        "x": [row["x"]],
        "y": [row["value"]],
        "mode": "markers",
        "name": escape(_short(label)),
        "legendgroup": escape(f"{row['run']}/{row['candidate']}"),
        "showlegend": first,
        "marker": {"symbol": symbol, "size": 11, "color": look.colour, "line": {"width": 2, "color": look.colour}},
        "error_x": _error(row["x"], row["x_low"], row["x_high"], look.colour),
        "error_y": _error(row["value"], row["low"], row["high"], look.colour),
        "hovertemplate": f"{hover}{across}{'<br>imported, in no verdict' if imported else ''}<extra></extra>",
    }


def _short(label: str) -> str:
    return label if len(label) <= 28 else label[:27] + "…"


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f" ({low:.3g} to {high:.3g})"


def _error(value: float, low: float, high: float, colour: str) -> dict[str, Any] | None:
    if pd.isna(low) or pd.isna(high):
        return None
    return {
        "type": "data", "symmetric": False, "array": [max(0.0, high - value)], "arrayminus": [max(0.0, value - low)],
        "color": faded(colour, 0.55), "thickness": 1.5, "width": 3,
    }  # fmt: skip


def before_after(table: pd.DataFrame, looks: Mapping[str, Look], titles: tuple[str, str]) -> go.Figure:
    """Every residual of both runs, before across and after up; on the diagonal nothing changed.

    `table` has the columns of `audit.views.changes.FINDINGS`. Filled where the two intervals lie apart, with both
    intervals drawn; faint and open where they overlap.
    """
    import plotly.graph_objects as go

    from audit.views.changes import APART

    drawn = table.dropna(subset=["before", "after", "before_low", "after_low"])
    figure = go.Figure()
    ends = [min([0.0, *drawn["before"], *drawn["after"]]), max([1.0, *drawn["before"], *drawn["after"]])]
    figure.add_trace(
        {"type": "scatter", "x": ends, "y": ends, "mode": "lines", "line": {"color": GREY, "dash": "dot", "width": 1.6},
         "hoverinfo": "skip", "showlegend": False}
    )  # fmt: skip
    for name, own in drawn.groupby("candidate", sort=False):
        for apart in (False, True):
            part = own[(own["change"] == APART) == apart]
            if len(part):
                figure.add_trace(_changes(part, str(name), looks[str(name)], apart))
    figure.update_xaxes(title_text=escape(titles[0]))
    figure.update_yaxes(title_text=escape(titles[1]))
    return _named_aside(finish(figure, height=HEIGHT, titles=False))


def _named_aside(figure: go.Figure) -> go.Figure:
    """Names in a column at the right, which scrolls: twenty would take half of the picture above it."""
    figure.update_layout(
        legend={"orientation": "v", "x": 1.02, "xanchor": "left", "y": 1, "yref": "paper"}, margin={"t": 40}
    )
    return figure


def _changes(part: pd.DataFrame, name: str, look: Look, apart: bool) -> dict[str, Any]:
    def errors(what: str) -> dict[str, Any]:
        return {
            "type": "data", "symmetric": False, "visible": apart,
            "array": (part[f"{what}_high"] - part[what]).clip(lower=0).to_numpy("float32"),
            "arrayminus": (part[what] - part[f"{what}_low"]).clip(lower=0).to_numpy("float32"),
            "color": faded(look.colour, 0.5), "thickness": 1.5, "width": 3,
        }  # fmt: skip

    return {
        "type": "scatter",
        "x": part["before"].to_numpy("float32"),
        "y": part["after"].to_numpy("float32"),
        "mode": "markers",
        "name": escape(_short(name)) + (", apart" if apart else ""),
        "marker": {
            "symbol": look.symbol if apart else f"{look.symbol}-open",
            "size": 11 if apart else 7,
            "color": look.colour if apart else faded(look.colour, 0.5),
        },
        "error_x": errors("before"),
        "error_y": errors("after"),
        "customdata": [escape(title) for title in part["evidence"]],
        "hovertemplate": (
            f"<b>{escape(name)}</b><br>%{{customdata}}<br>before %{{x:.3g}}, after %{{y:.3g}}<extra></extra>"
        ),
    }
