"""Residuals side by side: order, intervals, limit, and words where there is no number."""

from __future__ import annotations

import pandas as pd
import pytest

from audit.figures.forest import SIGNS, forest
from audit.figures.style import looks

LOOKS = looks(["a", "b"])
COLUMNS = ["column", "subject", "value", "low", "high", "state", "reason"]


def rows(*given: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(given, columns=COLUMNS).astype({"value": float, "low": float, "high": float})


def test_an_interval_reaches_from_low_to_high() -> None:
    figure = forest(rows(("Probe", "a", 0.8, 0.6, 0.9, "found", "")), ["a"], ["Probe"], LOOKS, {"Probe": 0.25})
    (point,) = figure.data
    assert point.error_x.array[0] == pytest.approx(0.1)
    assert point.error_x.arrayminus[0] == pytest.approx(0.2)
    assert point.marker.symbol == SIGNS["found"] == "circle"


def test_null_original_and_limit_are_drawn_in_every_panel() -> None:
    given = rows(("Probe", "a", 0.8, 0.6, 0.9, "found", ""), ("Attack", "a", None, None, None, "failed", "no luck"))
    figure = forest(given, ["a"], ["Probe", "Attack"], LOOKS, {"Probe": 0.25, "Attack": 0.25})
    lines = {(shape.x0, shape.xref, shape.line.dash) for shape in figure.layout.shapes}
    assert lines == {(x, ref, dash) for ref in ("x", "x2") for x, dash in ((0, None), (1, None), (0.25, "dot"))}


def test_a_missing_number_is_a_word_and_no_point() -> None:
    given = rows(("Attack", "a", None, None, None, "not identifiable", "<b>why</b>"))
    (said,) = forest(given, ["a"], ["Attack"], LOOKS, {}).data
    assert said.mode == "text"
    assert said.text[0] == "<i>not identifiable</i>"
    assert said.hovertext[0] == "&lt;b&gt;why&lt;/b&gt;"


def test_the_first_candidate_is_on_top() -> None:
    given = rows(("Probe", "a", 0.1, 0.0, 0.2, "clear", ""), ("Probe", "b", 0.5, 0.1, 0.9, "unclear", ""))
    figure = forest(given, ["a", "b"], ["Probe"], LOOKS, {})
    assert list(figure.layout.yaxis.categoryarray) == ["b", "a"]
    assert [trace.marker.symbol for trace in figure.data] == ["circle-open", "diamond-open"]


def test_zero_and_one_are_always_in_sight() -> None:
    figure = forest(rows(("Probe", "a", 0.5, 0.4, 0.6, "found", "")), ["a"], ["Probe"], LOOKS, {})
    low, high = figure.layout.xaxis.range
    assert low < 0 < 1 < high
