"""What the page of concept vectors shows, from tables made by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd

from audit.figures.chart import draw
from audit.figures.style import looks
from audit.views import concepts


def table() -> pd.DataFrame:
    """Two vectors in four models; 0:5 writes more of the answers than 1:7."""
    rows: list[dict[str, Any]] = []
    for layer, dim, share in ((1, 7, 0.2), (0, 5, 0.6)):
        models = (("original", 1.0, 0.0), ("same", 1.0, 0.0), ("npo", 0.4, 2.0), ("reference", 0.0, 3.0))
        for subject, cosine, l2 in models:
            rows.append(
                {
                    "subject": subject, "layer": layer, "dim": dim, "share": share, "cosine": cosine, "l2": l2,
                    "length": 1.0, "jaccard": cosine, "jaccard_own": cosine, "tokens": "a, b",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_the_vectors_that_write_most_come_first() -> None:
    assert concepts.vectors(table()) == ["0:5", "1:7"]


def test_a_card_says_what_became_of_the_vector_in_each_candidate() -> None:
    card = concepts.vector_card(table(), "1:7")
    assert card.sentence == "same: exactly the original's; npo: at a cosine of 0.40 to the original's."
    assert card.models["subject"].tolist() == ["original", "same", "npo", "reference"]


def test_the_map_of_weights_has_a_panel_for_every_model_but_the_original() -> None:
    rows = pd.DataFrame(
        [(s, f"block {b}", "mlp", 0.1 * b, 0.5, 0.2) for s in ("original", "npo", "reference") for b in range(3)],
        columns=["subject", "where", "module", "relative", "identical", "largest"],
    )
    figure = draw(concepts.WEIGHT_MAP, concepts.weight_rows(rows), looks(["npo"]))
    assert {a.text for a in figure.layout.annotations} == {"npo", "reference"}
    assert len(figure.data) == 2
