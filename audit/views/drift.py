"""Maps and drift curves: which rows of which table a chart of the drift page shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from audit.figures.style import ORIGINAL, REFERENCE, SECOND
from audit.types import Chart
from audit.views.tables import values_of, where

METHODS = {"pca": "PCA (the original's axes)", "umap": "AlignedUMAP"}
LISTED = ["item", "split", "entity", "attribute", "prompt", "answer"]
BUDGET = 20_000
"""Points in one figure; a browser stays quick well above that, a slow one does not."""


def methods(table: pd.DataFrame) -> dict[str, str]:
    """The kinds of map that a table holds, with their names."""
    return {method: METHODS.get(method, method) for method in values_of(table, "method")}


def layers(table: pd.DataFrame, method: str) -> list[int]:
    """The layers that were mapped by a method, in order."""
    return sorted(int(layer) for layer in values_of(where(table, method=method), "layer"))


def points(table: pd.DataFrame, method: str, layer: int) -> tuple[pd.DataFrame, int]:
    """The points of one layer's maps and how many there are; over the budget every n-th item, the same in every map."""
    found = where(table, method=method, layer=layer)
    total = len(found)
    if total > BUDGET:
        ids = values_of(found, "item")
        found = where(found, item=set(ids[:: -(-total // BUDGET)]))
    return found, total


def subjects(table: pd.DataFrame, shown: Collection[str]) -> list[str]:
    """The maps from left to right: original, references, then the candidates that are shown."""
    present = set(values_of(table, "subject"))
    return [name for name in (ORIGINAL, REFERENCE, SECOND, *shown) if name in present]


def picked_ids(selection: Mapping[str, Any]) -> list[str]:
    """The items that a box or a lasso caught, each once: ids travel with the points as customdata."""
    ids: dict[str, None] = {}
    for point in selection.get("points", []):
        value = point.get("customdata")
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, str):
            ids[value] = None
    return list(ids)


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
