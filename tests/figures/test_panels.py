"""Small multiples: one legend, and an empty panel that says why it is empty."""

from __future__ import annotations

import pandas as pd

from audit.figures.panels import Panel, panels
from audit.figures.style import looks

TABLE = pd.DataFrame({"subject": ["original", "a"] * 2, "x": [0, 0, 1, 1], "y": [1.0, 0.5, 1.0, 0.25], "chance": 0.1})


def panel(table: pd.DataFrame, **changes: object) -> Panel:
    settings = {"low": None, "high": None, **changes}
    return Panel("Title & more", table, "x", "y", "x title", "y title", **settings)  # type: ignore[arg-type]


def test_each_subject_is_in_the_legend_once() -> None:
    figure = panels([panel(TABLE, null="chance"), panel(TABLE, null="chance")], looks(["a"]))
    assert sorted(trace.name for trace in figure.data if trace.showlegend) == ["a", "chance", "original"]
    assert len(figure.data) == 6


def test_an_empty_panel_says_why_in_its_own_place() -> None:
    figure = panels([panel(TABLE.iloc[:0], empty="no number: <failed>"), panel(TABLE)], looks(["a"]))
    said = figure.data[0]
    assert said.text[0] == "no number: &lt;failed&gt;"
    assert said.xaxis == "x" and figure.layout.xaxis.visible is False
    assert figure.data[1].xaxis == "x2"


def test_titles_are_escaped() -> None:
    assert panels([panel(TABLE)], looks(["a"])).layout.annotations[0].text == "Title &amp; more"
