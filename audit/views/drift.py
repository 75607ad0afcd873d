"""Maps and drift curves: which rows of which table a chart of the drift page shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from audit.figures.style import ORIGINAL, REFERENCE, SECOND
from audit.types import Chart
from audit.views.tables import values_of, where

METHODS = {"pca": "PCA (the original's axes)", "umap": "AlignedUMAP"}
LISTED = ["item", "split", "entity", "attribute", "prompt", "answer"]
CROWD = ["method", "layer", "subject", "split", "trustworthiness", "x", "y"]
MOST, SOME = 2_000, 240
"""Up to MOST points of one figure are points, each with its text; of more all lie behind as a picture, and SOME are
points: a browser needs longer for a thousand of them than for all the rest of a page."""


def methods(table: pd.DataFrame) -> dict[str, str]:
    """The kinds of map that a table holds, with their names."""
    return {method: METHODS.get(method, method) for method in values_of(table, "method")}


def layers(table: pd.DataFrame, method: str) -> list[int]:
    """The layers that were mapped by a method, in order."""
    return sorted(int(layer) for layer in values_of(where(table[["method", "layer"]], method=method), "layer"))


def on_layer(table: pd.DataFrame, method: str, layer: int) -> pd.DataFrame:
    """Every point of one layer's maps."""
    return where(table, method=method, layer=layer)


def points(table: pd.DataFrame, method: str, layer: int) -> tuple[pd.DataFrame, int]:
    """The points of one layer's maps and how many there are; of too many some items, the same in every map.

    Drawn at random, always alike: every n-th would meet the same attribute of each entity.
    """
    there = table["item"].loc[_rows(table, method, layer)]
    total = len(there)
    if total > MOST:
        ids = there.unique()
        some = np.random.default_rng(0).permutation(len(ids))[: len(ids) * SOME // total]
        there = there[there.isin(ids[some])]
    return table.loc[there.index], total


def crowd(table: pd.DataFrame, method: str, layer: int) -> pd.DataFrame:
    """Every point of one layer's maps, without the texts, which would take longer to select than all the rest."""
    return table[[name for name in CROWD if name in table]].loc[_rows(table, method, layer)]


def _rows(table: pd.DataFrame, method: str, layer: int) -> pd.Index:
    """Which rows are of one layer's maps, found in two columns: to select in all takes longer than everything else."""
    return where(table[["method", "layer"]], method=method, layer=layer).index


def drawn(points: pd.DataFrame, total: int) -> str:
    """How many points the maps show, in words."""
    each = f"{len(values_of(points, 'item')):,} items in each map"
    if len(points) == total:
        return f"{total:,} points are drawn, {each}."
    return f"All {total:,} points are drawn, dense places darker; {each} can be pointed at."


def subjects(table: pd.DataFrame, shown: Collection[str]) -> list[str]:
    """The maps from left to right: original, references, then the candidates that are shown."""
    present = set(values_of(table, "subject"))
    return [name for name in (ORIGINAL, REFERENCE, SECOND, *shown) if name in present]


def picked_ids(selection: Mapping[str, Any], points: pd.DataFrame, order: Sequence[str]) -> list[str]:
    """The items that boxes and lassos caught, each once, by their geometry: also items that were thinned out.

    `points` holds every point of the layer, `order` the maps from left to right. Points that were clicked one by one
    name their items themselves.
    """
    ids: dict[str, None] = {}
    shapes = [*selection.get("box", []), *selection.get("lasso", [])]
    for shape in shapes:
        place = int(str(shape.get("xref", "x")).removeprefix("x") or 1) - 1
        if place >= len(order):
            continue
        own = points[points["subject"] == order[place]]
        caught = _inside(own["x"].to_numpy(), own["y"].to_numpy(), shape["x"], shape["y"])
        ids |= dict.fromkeys(own["item"][caught].tolist())
    for point in [] if shapes else selection.get("points", []):
        value = point.get("customdata")
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, str):
            ids[value] = None
    return list(ids)


def _inside(x: Any, y: Any, corners_x: Sequence[float], corners_y: Sequence[float]) -> Any:
    """Which points lie in a box (two corners) or a polygon: a ray to the right crosses an odd number of its edges."""
    if len(corners_x) == 2:
        (left, right), (low, high) = sorted(corners_x), sorted(corners_y)
        return (x >= left) & (x <= right) & (y >= low) & (y <= high)
    inside = np.zeros(len(x), bool)
    for place in range(len(corners_x)):
        x1, y1, x2, y2 = corners_x[place - 1], corners_y[place - 1], corners_x[place], corners_y[place]
        if y1 != y2:
            inside ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside


def listed(table: pd.DataFrame, ids: Collection[str]) -> pd.DataFrame:
    """The items of a selection, one row each."""
    found = where(table, item=set(ids))
    return found.drop_duplicates("item").reindex(columns=LISTED).reset_index(drop=True)


def curve_chart(chart: Chart, column: str, against: str) -> Chart:
    """The chart of likeness over layers for one of its two estimators; only the debiased one has an interval."""
    debiased = column == "debiased"
    return Chart(
        "line",
        chart.x,
        column,
        low=chart.low if debiased else None,
        high=chart.high if debiased else None,
        facet="split",
        hover=("items",),
        x_title="layer",
        y_title=f"{column} CKA to the {against}",
        title=chart.title,
    )


def curves(table: pd.DataFrame, against: str) -> pd.DataFrame:
    """Likeness to one subject, of every other one."""
    return where(table, against=against)
