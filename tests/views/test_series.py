"""Checkpoints as a trajectory, by hand."""

from __future__ import annotations

import math

import pandas as pd

from audit.figures.series import series as draw_series
from audit.views import series


def rows(*values: tuple[int, str, float, float, float]) -> pd.DataFrame:
    """Step, place, left, low, high of one measurement a place."""
    table = [("run", step, f"c{step}", place, place, place.title(), v, lo, hi, "") for step, place, v, lo, hi in values]
    return pd.DataFrame(table, columns=series.COLUMNS)


def test_from_when_on_the_forgotten_stays_below_the_limit() -> None:
    # Step 10 is below the limit but step 20 is back above it, so only from 30 on does it stay below.
    table = rows(
        (0, "said", 1.0, 1.0, 1.0), (10, "said", 0.02, 0.0, 0.05), (20, "said", 0.3, 0.2, 0.4),
        (30, "said", 0.0, -0.02, 0.04), (40, "said", 0.01, -0.01, 0.05),
        (0, "kept", 1.0, 0.99, 1.0), (30, "kept", 0.62, 0.5, 0.7), (40, "kept", 0.7, 0.6, 0.8),
    )  # fmt: skip
    [sentence] = series.sentences(table, 0.1)
    assert "from step 30 on every measurement lies below the limit of 10" in sentence
    assert "62" in sentence and "step 30" in sentence.split(";")[1]


def test_a_trajectory_that_ends_above_the_limit_says_where() -> None:
    table = rows((0, "said", 1.0, 1.0, 1.0), (5, "said", 0.4, 0.3, 0.5))
    assert "last checkpoint (step 5) said still finds 40" in series.sentences(table, 0.1)[0]


def test_without_a_limit_nothing_is_said_to_be_below_it() -> None:
    assert "limit" not in series.sentences(rows((0, "stored", 0.0, 0.0, 0.0)), None)[0]


def test_a_checkpoint_without_a_number_is_a_gap_and_says_why() -> None:
    table = series.trajectory({}, {"npo": {"npo-1": 1}}, ["behaviour.recall", "utility.retain"])
    assert list(table["place"]) == ["said", series.KEPT]
    assert table["left"].isna().all()
    assert set(table["reason"]) == {"not measured"}
    assert series.sentences(table, 0.1) == ["npo: no checkpoint has a number here."]
    assert all(math.isnan(value) for value in table["low"])


def test_what_was_to_be_kept_has_no_limit_line() -> None:
    table = rows((0, "said", 1.0, 0.9, 1.0), (0, "kept", 1.0, 0.9, 1.0))
    figure = draw_series(table, 0.1)
    dotted = [shape for shape in figure.layout.shapes if shape.line.dash == "dot"]
    assert [shape.y0 for shape in dotted] == [0.1]
