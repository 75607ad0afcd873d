"""What the page of features shows, from a table made by hand."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from audit.figures import features as figures
from audit.figures.style import looks
from audit.views import features


def table(candidate: float = 0.5, reference: bool = True) -> pd.DataFrame:
    """Features 4 and 7 of block 2; only 7 has a card."""
    rows: list[dict[str, Any]] = []
    for feature, carries in ((4, 0.1), (7, 0.9)):
        for role, value in (("original", 2.0), ("candidate", candidate), ("reference", 0.0)):
            if role == "reference" and not reference:
                continue
            card = feature == 7 and role == "original"
            line = {"item": "forget:3", "tokens": ["<b>", " x"], "original": [0, 2], "candidate": [0, 1]}
            rows.append(
                {
                    "layer": 2, "feature": feature, "subject": role, "forget": value, "retain": 1.0, "rate": 0.5,
                    "carries": carries, "histogram": "[3, 1]", "top": 2.5,
                    "promotes": json.dumps([" a", "\n"]) if card else "", "suppresses": json.dumps([]) if card else "",
                    "contexts": json.dumps([line]) if card else "",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_one_row_per_feature_with_every_model_beside_it() -> None:
    found = features.activity(table(), 2).set_index("feature")
    assert found.loc[7, ["original", "candidate", "reference", "carries"]].tolist() == [2.0, 0.5, 0.0, 0.9]
    assert found["card"].tolist() == [False, True]
    assert "reference" not in features.activity(table(reference=False), 2)


def test_only_features_with_contexts_have_cards_the_heaviest_first() -> None:
    assert features.with_cards(table(), 2) == [7]
    assert features.with_cards(table(), 3) == []
    assert features.layers(table()) == [2]


@pytest.mark.parametrize(
    ("candidate", "words"),
    [(2.0, "exactly as in the original"), (0.1, "fallen silent"), (1.0, "50% of its activity"), (3.0, "150%")],
)
def test_the_sentence_says_what_became_of_it(candidate: float, words: str) -> None:
    assert words in features.card(table(candidate), 2, 7, "npo").sentence


def test_a_card_names_models_and_keeps_tokens_as_they_are() -> None:
    card = features.card(table(), 2, 7, "npo")
    assert card.contexts[0]["rows"] == {"original": [0, 2], "npo": [0, 1]}
    assert card.histogram == {"original": [3, 1], "npo": [3, 1], "reference": [3, 1]}
    assert features.tokens_line(card.promotes) == "␣a · ⏎"
    assert features.tokens_line([]) == "not kept"


def test_the_items_in_which_it_fires_most_come_first() -> None:
    card = features.card(table(), 2, 7, "npo")
    assert features.items_first(card, ["forget:0", "forget:3", "forget:4"]) == ["forget:3", "forget:0", "forget:4"]
    assert features.items_first(card, ["forget:0"]) == ["forget:0"]


def test_a_click_gives_the_number_of_the_feature() -> None:
    assert features.picked_feature({"points": [{"customdata": 7}]}) == 7
    assert features.picked_feature({"points": [{"customdata": [7]}]}) == 7
    assert features.picked_feature({"points": []}) is None


def test_figures_escape_tokens_and_carry_the_feature() -> None:
    card = features.card(table(), 2, 7, "npo")
    line = figures.context(card.contexts[0]["tokens"], card.contexts[0]["rows"], card.top)
    assert line.data[0].text[0][0] == "&lt;b&gt;"
    assert line.data[0].zmax == 2.5
    dark = figures.context(["a"], {"original": [1.0]}, 1.0, "dark")
    assert line.data[0].textfont.color != dark.data[0].textfont.color
    plot = figures.activity(features.activity(table(), 2), "npo", looks(["npo"])["npo"], 7)
    assert [list(t.customdata) for t in plot.data if t.customdata is not None] == [[4], [7]]
    assert any(t.name == "chosen" for t in plot.data)
    bars = figures.histogram(card.histogram, card.top, looks(["npo"]))
    assert {t.name for t in bars.data} == {"original", "npo", "reference"}
