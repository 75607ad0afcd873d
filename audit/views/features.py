"""Features of a dictionary: what the plot, the card and its contexts show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from audit.figures.style import ORIGINAL, REFERENCE
from audit.views.tables import values_of, where

ROLES = ("original", "candidate", "reference")


@dataclass(frozen=True)
class Card:
    """Everything that is known about one feature, with names of models instead of roles."""

    feature: int
    layer: int
    activity: pd.DataFrame
    """One row per model: forget, retain, rate."""
    carries: float
    promotes: list[str]
    suppresses: list[str]
    contexts: list[dict[str, Any]]
    """Each with `item`, `tokens` and `rows`, the activations per token of each model."""
    histogram: dict[str, list[int]]
    top: float

    @property
    def sentence(self) -> str:
        """What became of it, in words."""
        values = dict(zip(self.activity["subject"], self.activity["forget"], strict=True))
        before = values.pop(ORIGINAL)
        after = next(value for name, value in values.items() if name != REFERENCE)
        if before <= 0:
            return "It does not fire on the questions about forgotten items in the original."
        share = after / before
        where = "at the last token of the questions about forgotten items"
        if share == 1.0:
            return f"It fires exactly as in the original {where}."
        if share < 0.1:
            return f"It has fallen silent {where}: {share:.0%} of its activity in the original is left."
        return f"It fires with {share:.0%} of its activity in the original {where}."


def layers(table: pd.DataFrame) -> list[int]:
    """The blocks that have a dictionary."""
    return sorted(int(layer) for layer in values_of(table, "layer"))


def activity(table: pd.DataFrame, layer: int) -> pd.DataFrame:
    """One row per feature of a block: original, candidate, reference (where there is one), rate, carries, card."""
    found = where(table, layer=layer)
    wide = found.pivot(index="feature", columns="subject", values="forget")
    own = where(found, subject="original").set_index("feature")
    wide = wide.assign(rate=own["rate"], carries=own["carries"], card=own["contexts"] != "")
    return wide.reset_index().rename_axis(columns=None)


def with_cards(table: pd.DataFrame, layer: int) -> list[int]:
    """The features of a block whose contexts were kept, those that carry the answers most first."""
    found = where(table, layer=layer, subject="original")
    found = found[found["contexts"] != ""].sort_values("carries", ascending=False)
    return [int(feature) for feature in found["feature"]]


def picked_feature(selection: Mapping[str, Any]) -> int | None:
    """The feature that was clicked in the plot: its number travels with the point as customdata."""
    for point in selection.get("points", []):
        value = point.get("customdata")
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, (int, float)):
            return int(value)
    return None


def card(table: pd.DataFrame, layer: int, feature: int, name: str) -> Card:
    """The card of one feature; `name` is the candidate's."""
    rows = where(table, layer=layer, feature=feature).set_index("subject")
    named = {role: name if role == "candidate" else role for role in ROLES if role in rows.index}
    first = rows.loc["original"]
    contexts = [
        {"item": line["item"], "tokens": line["tokens"], "rows": {named[r]: line[r] for r in named if r in line}}
        for line in _list(first["contexts"])
    ]
    activity = pd.DataFrame(
        [(named[r], rows.loc[r, "forget"], rows.loc[r, "retain"], rows.loc[r, "rate"]) for r in named],
        columns=["subject", "forget", "retain", "rate"],
    )
    return Card(
        feature, layer, activity, float(first["carries"]), _list(first["promotes"]), _list(first["suppresses"]),
        contexts, {named[role]: _list(rows.loc[role, "histogram"]) for role in named}, float(first["top"]),
    )  # fmt: skip


def items_first(card: Card, items: list[str]) -> list[str]:
    """All items, those in which the feature fires most first."""
    shown = [line["item"] for line in card.contexts if line["item"] in items]
    return shown + [item for item in items if item not in set(shown)]


def tokens_line(tokens: list[str]) -> str:
    """Tokens one after the other, with a visible space."""
    return " · ".join(token.replace(" ", "␣").replace("\n", "⏎") or "∅" for token in tokens) or "not kept"


def _list(text: Any) -> list[Any]:
    return list(json.loads(text)) if isinstance(text, str) and text else []
