"""Hidden states of several subjects as maps side by side on one scale, with the same items marked in all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.figures.crowd import Box, Layer, picture
from audit.figures.style import GREY, INK, SPLIT_LOOKS, X_AXIS, Y_AXIS, Look, escape, faded, layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

IN_A_ROW = 4
MAP_HEIGHT = 380
MAX_TEXTS = 2000
"""Above this many points in all no map carries text, which would be megabytes; a selection lists the items."""
GAP = 0.025
"""Between maps beside each other, as a share of the figure."""
CROWD = 0.12
"""How much one point of a crowd hides of what lies behind it."""
LONGEST = 120
PICTURE = 0.1
"""Size of a picture as a share of the map's width and height."""
FEW = 40
"""Up to so many picked items have a bold ring; more would cover the map."""


@dataclass(frozen=True)
class Crowd:
    """Every point of some maps, as a picture for each subject, and what their titles say."""

    box: Box
    pictures: Mapping[str, str]
    titles: Mapping[str, str]


def crowd_of(table: pd.DataFrame, order: Sequence[str], looks: Mapping[str, Look]) -> Crowd:
    """The pictures of all points of `table`, with columns as `maps` reads them, for each subject in `order`."""
    box = Box.around(table["x"].to_numpy(), table["y"].to_numpy())
    parts = {name: table[table["subject"] == name] for name in order}
    with ThreadPoolExecutor() as pool:  # most of a picture is arithmetic and compression, which run beside each other
        drawn = pool.map(lambda name: _crowded(parts[name], looks[name], box), parts)
        pictures = dict(zip(parts, drawn, strict=True))
    return Crowd(box, pictures, {name: _title(part, name) for name, part in parts.items()})


def maps(
    points: pd.DataFrame,
    order: Sequence[str],
    looks: Mapping[str, Look],
    picked: Collection[str] = (),
    mode: str = "light",
    pictures: Mapping[str, str] | None = None,
    crowd: Crowd | None = None,
) -> go.Figure:
    """One map for each subject in `order`; `points` has columns subject, split, item, x, y, trustworthiness.

    Forgotten items have the subject's colour, the others are grey. Picked items are ringed in every map and the rest
    fades. Each point carries its item's id as customdata, so that a selection can be joined to the tables.
    Up to FEW picked items that have a picture (an address that holds it, by item) show it. A `crowd` lies behind as a
    picture: all points, of which `points` are some.
    """
    import plotly.graph_objects as go

    parts = {name: points[points["subject"] == name] for name in order}
    titles = {name: _title(part, name) for name, part in parts.items()} if crowd is None else crowd.titles
    told = len(points) <= MAX_TEXTS
    ink = INK["dark" if mode == "dark" else "light"]
    traces, images = [], []
    for number, (name, part) in enumerate(parts.items(), 1):
        axes = _axes(number)
        if crowd is not None:
            images.append({**_behind(crowd, name, bool(picked)), **_refs(axes)})
        for split in [s for s in ("retain", "holdout", "forget") if s in set(part["split"])]:
            own = part[part["split"] == split]
            traces.append({**_points(own, split, looks[name], bool(picked), number == 1), **_texts(own, told), **axes})
        ringed = part[part["item"].isin(set(picked))] if picked else part.iloc[:0]
        if len(ringed):
            traces.append({**_rings(ringed, ink), **_texts(ringed, told), **axes})
        if pictures and len(ringed) <= FEW:
            images += [{**image, **_refs(axes)} for image in _images(ringed, pictures, points)]
    return go.Figure({"data": traces, "layout": {**_layout([titles[name] for name in order], crowd), "images": images}})


def _axes(number: int) -> dict[str, str]:
    """The axes of a map by its number, as a trace names them."""
    return {"xaxis": f"x{number}", "yaxis": f"y{number}"} if number > 1 else {"xaxis": "x", "yaxis": "y"}


def _refs(axes: Mapping[str, str]) -> dict[str, str]:
    return {"xref": axes["xaxis"], "yref": axes["yaxis"]}


def _layout(titles: Sequence[str], crowd: Crowd | None) -> dict[str, Any]:
    """Maps in a grid with their titles, on one scale. Put together in one go: step by step takes plotly ten times it.

    The scale is the crowd's, where there is one, else what the points need.
    """
    columns = max(1, len(titles) if len(titles) <= IN_A_ROW else IN_A_ROW - 1)
    rows = max(1, -(-len(titles) // columns))
    across, down = _domains(columns, GAP), _domains(rows, 0.24 / rows)[::-1]
    plain = {"showticklabels": False, "ticks": "", "showgrid": False, "mirror": True}
    upright = {"showline": True, "linecolor": GREY}
    box = crowd.box if crowd is not None else None
    axes: dict[str, Any] = {}
    for place in range(len(titles)):
        number = place + 1 if place else ""
        x = {**X_AXIS, **plain, "domain": across[place % columns], "anchor": f"y{number}"}
        y = {**Y_AXIS, **plain, **upright, "domain": down[place // columns], "anchor": f"x{number}"}
        axes[f"xaxis{number}"] = x | ({"matches": "x"} if place else {})
        axes[f"yaxis{number}"] = y | ({"matches": "y"} if place else {})
        if box is not None:
            axes[f"xaxis{number}"]["range"] = [box.left, box.right]
            axes[f"yaxis{number}"]["range"] = [box.low, box.high]
    return {
        **layout(height=106 + MAP_HEIGHT * rows),
        **axes,
        "annotations": [
            {"text": title, "x": sum(across[place % columns]) / 2, "y": down[place // columns][1], "xref": "paper",
             "yref": "paper", "xanchor": "center", "yanchor": "bottom", "yshift": 6, "showarrow": False,
             "font": {"size": 16}}
            for place, title in enumerate(titles)
        ],
        "dragmode": "select", "newselection": {"line": {"color": GREY}},
        "margin": {"l": 16, "r": 16, "b": 24, "t": 112},
    }  # fmt: skip


def _domains(number: int, gap: float) -> list[tuple[float, float]]:
    """Where so many maps beside each other begin and end, as shares of the figure."""
    size = (1 - gap * (number - 1)) / number
    return [(place * (size + gap), min(1.0, place * (size + gap) + size)) for place in range(number)]


def _title(part: pd.DataFrame, name: str) -> str:
    if part.empty:
        return f"{escape(name)}: no map"
    trust = part["trustworthiness"].dropna()
    quality = f"trustworthiness {trust.iloc[0]:.2f}" if len(trust) else "trustworthiness not known"
    return f"<b>{escape(name)}</b><br><span style='font-size:0.8em'>{len(part)} items<br>{quality}</span>"


def _crowded(part: pd.DataFrame, look: Look, box: Box) -> str:
    """All points of a map as a picture, the forgotten in the subject's colour above the others."""
    forget = (part["split"] == "forget").to_numpy()
    x, y = part["x"].to_numpy(), part["y"].to_numpy()
    sides = ((~forget, GREY), (forget, look.colour))
    return picture([Layer(x[own], y[own], colour, CROWD) for own, colour in sides], box)


def _behind(crowd: Crowd, name: str, dim: bool) -> dict[str, Any]:
    """A subject's crowd below its traces, on the map's own axes: it is zoomed and moved with them."""
    box = crowd.box
    return {
        "source": crowd.pictures[name], "x": box.left, "y": box.high, "sizex": box.right - box.left,
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
        "type": "scatter",
        "x": part["x"].to_numpy("float32"),
        "y": part["y"].to_numpy("float32"),
        "mode": "markers",
        "name": name,
        "customdata": part["item"].to_numpy(),
    }


def _texts(part: pd.DataFrame, told: bool) -> dict[str, Any]:
    if not told:
        return {"hovertemplate": "%{customdata}<extra></extra>"}
    told_of = zip(*(part[name] for name in ("prompt", "answer", "entity", "split")), strict=True)
    texts = [
        f"<b>{_cut(prompt)}</b><br>{_cut(answer)}<br>{_cut(entity)}, {escape(split)}"
        for prompt, answer, entity, split in told_of
    ]
    return {"text": texts, "hovertemplate": "%{text}<extra></extra>"}


def _cut(text: object) -> str:
    """Cut first, escape then: an entity cut in half would be shown as rubbish."""
    plain = str(text)
    return escape(plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…")
