"""Hidden states of several subjects as maps side by side on one scale, with the same items marked in all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.figures.crowd import Box, Layer, picture
from audit.figures.style import GREY, INK, SPLIT_LOOKS, Look, escape, faded, finish

if TYPE_CHECKING:
    import plotly.graph_objects as go

IN_A_ROW = 4
MAP_HEIGHT = 380
MAX_TEXTS = 2000
"""Above this many points in all no map carries text, which would be megabytes; a selection lists the items."""
CROWD = 0.12
"""How much one point of a crowd hides of what lies behind it."""
LONGEST = 120
PICTURE = 0.1
"""Size of a picture as a share of the map's width and height."""
FEW = 40
"""Up to so many picked items have a bold ring; more would cover the map."""


def maps(
    points: pd.DataFrame,
    order: Sequence[str],
    looks: Mapping[str, Look],
    picked: Collection[str] = (),
    mode: str = "light",
    pictures: Mapping[str, str] | None = None,
    crowd: pd.DataFrame | None = None,
) -> go.Figure:
    """One map for each subject in `order`; `points` has columns subject, split, item, x, y, trustworthiness.

    Forgotten items have the subject's colour, the others are grey. Picked items are ringed in every map and the rest
    fades. Each point carries its item's id as customdata, so that a selection can be joined to the tables.
    Up to FEW picked items that have a picture (an address that holds it, by item) show it. A `crowd`, with the same
    columns, lies behind as a picture: all points, of which `points` are some.
    """
    from plotly.subplots import make_subplots

    every = points if crowd is None else crowd
    columns = max(1, len(order) if len(order) <= IN_A_ROW else IN_A_ROW - 1)
    rows = max(1, -(-len(order) // columns))
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_xaxes="all",
        shared_yaxes="all",
        subplot_titles=[_title(every[every["subject"] == name], name) for name in order],
        horizontal_spacing=0.025,
        vertical_spacing=0.24 / rows,
    )
    told = len(points) <= MAX_TEXTS
    box = None if crowd is None else Box.around(crowd["x"].to_numpy(), crowd["y"].to_numpy())
    for place, name in enumerate(order):
        cell = {"row": place // columns + 1, "col": place % columns + 1}
        part = points[points["subject"] == name]
        if crowd is not None and box is not None:
            own = crowd[crowd["subject"] == name]
            figure.add_layout_image(_crowd(own, looks[name], box, bool(picked)), **cell)
        for split in [s for s in ("retain", "holdout", "forget") if s in set(part["split"])]:
            trace = _points(part[part["split"] == split], split, looks[name], bool(picked), place == 0)
            figure.add_trace({"type": "scatter", **trace, **_texts(part[part["split"] == split], told)}, **cell)
        ringed = part[part["item"].isin(set(picked))]
        if len(ringed):
            figure.add_trace(
                {
                    "type": "scatter",
                    **_rings(ringed, INK["dark" if mode == "dark" else "light"]),
                    **_texts(ringed, told),
                },
                **cell,
            )
        if pictures and len(ringed) <= FEW:
            for image in _images(ringed, pictures, points):
                figure.add_layout_image(image, **cell)
    figure.update_annotations(yshift=6)
    finish(figure, height=106 + MAP_HEIGHT * rows)
    figure.update_layout(
        dragmode="select", newselection={"line": {"color": GREY}}, margin={"l": 16, "r": 16, "b": 24, "t": 112}
    )
    if box is not None:
        figure.update_xaxes(range=[box.left, box.right])
        figure.update_yaxes(range=[box.low, box.high])
    figure.update_xaxes(showticklabels=False, ticks="", showgrid=False, mirror=True)
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False, showline=True, linecolor=GREY, mirror=True)
    return figure


def _title(part: pd.DataFrame, name: str) -> str:
    if part.empty:
        return f"{escape(name)}: no map"
    trust = part["trustworthiness"].dropna()
    quality = f"trustworthiness {trust.iloc[0]:.2f}" if len(trust) else "trustworthiness not known"
    return f"<b>{escape(name)}</b><br><span style='font-size:0.8em'>{len(part)} items<br>{quality}</span>"


def _crowd(part: pd.DataFrame, look: Look, box: Box, dim: bool) -> dict[str, Any]:
    """All points of a map as a picture below its traces, on the map's own axes: it is zoomed and moved with them."""
    layers = [
        Layer(own["x"].to_numpy(), own["y"].to_numpy(), colour, CROWD)
        for own, colour in (
            (part[part["split"] != "forget"], GREY),
            (part[part["split"] == "forget"], look.colour),
        )
    ]
    return {
        "source": picture(layers, box), "x": box.left, "y": box.high, "sizex": box.right - box.left,
        "sizey": box.high - box.low, "xanchor": "left", "yanchor": "top", "sizing": "stretch", "layer": "below",
        "opacity": 0.35 if dim else 1,
    }  # fmt: skip


def _points(part: pd.DataFrame, split: str, look: Look, dim: bool, legend: bool) -> dict[str, Any]:
    forget = split == "forget"
    colour = look.colour if forget else GREY
    return {
        **_markers(part, split),
        "legendgroup": split,
        "showlegend": legend,
        "marker": {
            "symbol": SPLIT_LOOKS[split].symbol,
            "size": 8 if forget else 6,
            "color": faded(colour, 0.3 if dim else (0.9 if forget else 0.55)),
            "line": {"width": 1, "color": faded(colour, 0.3 if dim else 0.7)},
        },
    }


def _rings(part: pd.DataFrame, ink: str) -> dict[str, Any]:
    few = len(part) <= FEW
    return {
        **_markers(part, "picked"),
        "showlegend": False,
        "marker": {
            "symbol": "circle-open",
            "size": 14 if few else 10,
            "color": ink,
            "line": {"width": 2.5 if few else 1.2, "color": ink},
        },
    }


def _images(part: pd.DataFrame, pictures: Mapping[str, str], points: pd.DataFrame) -> list[dict[str, Any]]:
    """The pictures of some points, each above its point, at a share of the map's width and height."""
    wide, high = (max(float(points[axis].max() - points[axis].min()), 1e-9) for axis in ("x", "y"))
    return [
        {
            "source": pictures[row["item"]], "x": row["x"], "y": row["y"] + 0.02 * high, "sizex": PICTURE * wide,
            "sizey": PICTURE * high, "xanchor": "center", "yanchor": "bottom", "layer": "above", "sizing": "contain",
        }
        for row in part.to_dict("records")
        if row["item"] in pictures
    ]  # fmt: skip


def _markers(part: pd.DataFrame, name: str) -> dict[str, Any]:
    return {
        "x": part["x"].to_numpy("float32"),
        "y": part["y"].to_numpy("float32"),
        "mode": "markers",
        "name": name,
        "customdata": part["item"].to_numpy(),
    }


def _texts(part: pd.DataFrame, told: bool) -> dict[str, Any]:
    if not told:
        return {"hovertemplate": "%{customdata}<extra></extra>"}
    texts = [
        f"<b>{_cut(row['prompt'])}</b><br>{_cut(row['answer'])}<br>{_cut(row['entity'])}, {escape(row['split'])}"
        for row in part.to_dict("records")
    ]
    return {"text": texts, "hovertemplate": "%{text}<extra></extra>"}


def _cut(text: object) -> str:
    """Cut first, escape then: an entity cut in half would be shown as rubbish."""
    plain = str(text)
    return escape(plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…")
