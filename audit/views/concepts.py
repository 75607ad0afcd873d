"""Concept vectors and weights: which rows of which table a chart of the page shows."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from audit.figures.style import ORIGINAL, REFERENCE
from audit.types import Chart
from audit.views.tables import values_of, where

WEIGHT_MAP = Chart(
    "heat", "where", "module", hover=("relative", "identical", "largest"), x_title="part of the model",
    y_title="module",
    title="How much each tensor changed",
)  # fmt: skip


@dataclass(frozen=True)
class VectorCard:
    """One value vector in every model."""

    name: str
    sentence: str
    models: pd.DataFrame
    """One row per model: subject, cosine, l2, length, jaccard, jaccard_own, tokens."""


def vectors(table: pd.DataFrame) -> list[str]:
    """The vectors that were looked at as `block:dimension`, those that write most of the answers first."""
    own = where(table, subject=ORIGINAL).groupby(["layer", "dim"], as_index=False)["share"].max()
    own = own.sort_values("share", ascending=False)
    return [f"{int(row.layer)}:{int(row.dim)}" for row in own.itertuples()]


def numbers_of(name: str) -> tuple[int, int]:
    """Block and dimension of a vector, both from 0."""
    block, dim = name.split(":")
    return int(block), int(dim)


def vector_card(table: pd.DataFrame, name: str) -> VectorCard:
    """What one vector is in each model, and what became of it, in words."""
    layer, dim = numbers_of(name)
    rows = where(table, layer=layer, dim=dim).drop_duplicates("subject")
    columns = ["subject", "cosine", "l2", "length", "jaccard", "jaccard_own", "tokens"]
    found = []
    for row in rows.itertuples():
        if row.subject in (ORIGINAL, REFERENCE):
            continue
        same = row.cosine == 1.0 and row.l2 == 0.0
        word = "exactly the original's" if same else f"at a cosine of {row.cosine:.2f} to the original's"
        found.append(f"{row.subject}: {word}")
    return VectorCard(name, "; ".join(found) + ".", rows[columns].reset_index(drop=True))


def weight_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The tensors of every model but the original, which is compared with itself nowhere."""
    order = [name for name in values_of(table, "subject") if name != ORIGINAL]
    return where(table, subject=order)
