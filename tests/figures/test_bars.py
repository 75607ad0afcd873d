"""Bars stand while their names fit under them, and lie when they do not; both say the same."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from audit.figures import bars
from audit.figures.chart import draw
from audit.figures.style import looks
from audit.types import Chart

CHART = Chart("bar", "way", "share", color="subject", low="low", high="high", facet="split", null="chance")
LONG = ["as it is", "retain to forget, last half", "random direction 1, all blocks", "original to subject, all blocks"]


def table(ways: Sequence[str], splits: Sequence[str] = ("forget", "retain")) -> pd.DataFrame:
    rows = [
        (way, 0.1 * (place + 1), 0.1 * place, 0.1 * place + 0.3, subject, split, 0.25)
        for split in splits
        for place, way in enumerate(ways)
        for subject in ("original", "a")
    ]
    return pd.DataFrame(rows, columns=["way", "share", "low", "high", "subject", "split", "chance"])


def test_names_are_too_long_when_the_fullest_panel_cannot_hold_them() -> None:
    # "ab" and "cdef" need (2 + 2) + (4 + 2) = 10 letters; 1.6 * 6 = 9.6 are too few for them and 1.6 * 7 = 11.2 enough
    assert bars.too_long(table(["ab", "cdef"]), CHART, 6)
    assert not bars.too_long(table(["ab", "cdef"]), CHART, 7)
    # each panel holds its own names: two panels with one name each need no more than the longer of them
    apart = pd.concat([table(["ab"], ["forget"]), table(["cdef"], ["retain"])])
    assert not bars.too_long(apart, CHART, 4)
    assert not bars.too_long(apart.iloc[:0], CHART, 4)


@pytest.mark.parametrize(("ways", "lying"), [(["as it is", "half"], False), (LONG, True)])
def test_lying_and_standing_bars_hold_the_same_numbers(ways: list[str], lying: bool) -> None:
    figure = draw(CHART, table(ways), looks(["a"]))
    for bar in figure.data:
        names, values, errors = (bar.y, bar.x, bar.error_x) if lying else (bar.x, bar.y, bar.error_y)
        assert bar.orientation == ("h" if lying else "v")
        assert list(names) == ways
        assert list(values) == pytest.approx([0.1 * (k + 1) for k in range(len(ways))])
        assert list(errors.array) == pytest.approx([0.2] * len(ways))  # to 0.1 k + 0.3 from 0.1 (k + 1)
        assert list(errors.arrayminus) == pytest.approx([0.1] * len(ways))
    null = [shape for shape in figure.layout.shapes if 0.25 in ((shape.x0, shape.x1) if lying else (shape.y0,))]
    assert len(null) == 2  # in each of the two panels


def test_the_first_of_lying_bars_is_at_the_top_and_every_name_has_room() -> None:
    few, many = (
        draw(CHART, table(ways), looks(["a"])) for ways in (LONG, [f"{way}, {k}" for way in LONG for k in "ab"])
    )
    for axis in (few.layout.yaxis, few.layout.yaxis2):
        assert axis.autorange == "reversed" and axis.automargin
    assert few.layout.xaxis.title.text == "share" and not few.layout.yaxis.title.text
    # 8 names of 2 bars: 8 * (2 * 9 + 14) = 256 pixels, where 4 have the least height
    assert many.layout.height - few.layout.height == 256 - bars.LEAST


def test_a_hostile_name_stays_a_text() -> None:
    figure = draw(CHART, table([f"<b>{way}</b>" for way in LONG]), looks(["a"]))
    assert figure.data[0].orientation == "h"
    assert all("<b>" not in name and "&lt;b&gt;" in name for name in figure.data[0].y)
