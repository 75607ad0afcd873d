"""Chart specs drawn as figures, with traces worked out by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from audit.figures.chart import draw
from audit.figures.style import looks
from audit.types import Chart

LOOKS = looks(["a", "b"])
LINE = Chart("line", "layer", "accuracy", low="low", high="high", null="chance", x_title="layer", y_title="share")
HOSTILE = "<img src=x onerror=alert(1)>"


def table(**changes: object) -> pd.DataFrame:
    """Two layers of original, candidate a and reference: accuracy 0.5 and 0.9 with ± 0.1, chance 0.2 and 0.4."""
    rows = [
        {"layer": layer, "subject": name, "accuracy": value, "low": value - 0.1, "high": value + 0.1, "chance": chance}
        for name in ("reference", "a", "original")
        for layer, value, chance in ((1, 0.9, 0.4), (0, 0.5, 0.2))
    ]
    return pd.DataFrame(rows).assign(**changes)


def named(figure: object, name: str) -> list[object]:
    return [trace for trace in figure.data if trace.name == name]  # type: ignore[attr-defined]


def test_a_line_has_its_band_and_is_sorted_along_x() -> None:
    figure = draw(LINE, table(), LOOKS)
    band, line = named(figure, "a")
    # there and back again: high at layers 0 and 1, then low at 1 and 0
    assert list(band.x) == [0, 1, 1, 0]
    assert list(band.y) == pytest.approx([0.6, 1.0, 0.8, 0.4])
    assert band.fill == "toself" and band.mode == "lines"
    assert list(line.x) == [0, 1]
    assert list(line.y) == [0.5, 0.9]
    assert line.line.color == LOOKS["a"].colour
    assert line.marker.symbol == LOOKS["a"].symbol


def test_a_second_reference_is_a_thin_dashed_line_with_its_name_in_the_legend() -> None:
    more = pd.concat([table(), table().query("subject == 'reference'").assign(subject="second reference")])
    figure = draw(LINE, more, LOOKS)
    _, line = named(figure, "second reference")
    assert (line.line.dash, line.showlegend) == ("dash", True)
    assert line.line.width < named(figure, "reference")[1].line.width


def test_the_null_is_a_dotted_line_of_its_mean_at_each_x() -> None:
    (null,) = named(draw(LINE, table(), LOOKS), "chance")
    assert list(null.x) == [0, 1]
    assert list(null.y) == pytest.approx([0.2, 0.4])
    assert null.line.dash == "dot"


def test_legend_order_is_original_reference_candidates_and_the_reference_is_drawn_last() -> None:
    figure = draw(LINE, table(), LOOKS)
    lines = [trace for trace in figure.data if trace.showlegend and trace.name != "chance"]
    assert [t.name for t in sorted(lines, key=lambda t: t.legendrank)] == ["original", "reference", "a"]
    assert lines[-1].name == "reference"
    assert lines[-1].line.dash == "dash"


def test_a_missing_value_is_a_gap_and_never_zero() -> None:
    frame = table()
    frame.loc[(frame["subject"] == "a") & (frame["layer"] == 0), "accuracy"] = None
    _, line = named(draw(LINE, frame, LOOKS), "a")
    assert list(line.x) == [1]


def test_without_an_interval_there_is_no_band() -> None:
    frame = table(low=None, high=None)
    assert len(named(draw(LINE, frame, LOOKS), "a")) == 1


def test_each_facet_has_a_panel_on_one_scale_and_one_legend() -> None:
    frame = pd.concat([table(split="forget"), table(split="retain")])
    chart = Chart("line", "layer", "accuracy", low="low", high="high", facet="split")
    figure = draw(chart, frame, LOOKS)
    assert [note.text for note in figure.layout.annotations] == ["forget", "retain"]
    lines = [trace for trace in figure.data if trace.name == "a" and trace.mode == "lines+markers"]
    assert [line.xaxis for line in lines] == ["x", "x2"]
    assert [line.showlegend for line in lines] == [True, False]
    assert figure.layout.yaxis2.matches == "y"


def test_shares_are_drawn_on_the_scale_of_shares() -> None:
    assert tuple(draw(LINE, table(), LOOKS).layout.yaxis.range) == (-0.03, 1.05)
    assert draw(LINE, table(accuracy=7.0), LOOKS).layout.yaxis.range is None


@pytest.mark.parametrize("column", ["subject", "split"])
def test_names_and_facets_are_escaped(column: str) -> None:
    chart = Chart("line", "layer", "accuracy", facet="split", hover=("split",))
    text = draw(chart, table(split="forget").assign(**{column: HOSTILE}), LOOKS).to_json()
    assert "<img" not in text and "\\u003cimg" not in text
    assert "&lt;img" in text or "\\u0026lt;img" in text


def test_bars_have_asymmetric_errors_and_a_pattern() -> None:
    frame = pd.DataFrame(
        [("int8", "original", 0.8, 0.5, 0.9), ("int8", "reference", 0.1, 0.0, 0.4)],
        columns=["format", "subject", "recall", "low", "high"],
    )
    figure = draw(Chart("bar", "format", "recall", low="low", high="high"), frame, LOOKS)
    original, reference = figure.data
    assert original.error_y.array[0] == pytest.approx(0.1)
    assert original.error_y.arrayminus[0] == pytest.approx(0.3)
    assert original.marker.pattern.shape == "" and reference.marker.pattern.shape == "/"


def test_the_bar_of_many_items_is_their_mean() -> None:
    frame = pd.DataFrame({"subject": ["a"] * 4, "prob": [0.0, 0.5, 0.5, 1.0]})
    (bar,) = draw(Chart("bar", "subject", "prob"), frame, LOOKS).data
    assert list(bar.y) == [0.5]
    assert "rows: 4" in bar.text[0]


def test_scatter_keeps_the_order_of_a_text_axis() -> None:
    frame = pd.DataFrame({"where": ["embedding", "block 0", "head"], "relative": [0.0, 1.0, 2.0], "subject": "a"})
    figure = draw(Chart("scatter", "where", "relative"), frame, LOOKS)
    assert list(figure.layout.xaxis.categoryarray) == ["embedding", "block 0", "head"]
    assert figure.layout.scattermode == "group"


def test_scatter_of_numbers_is_drawn_with_webgl() -> None:
    frame = pd.DataFrame({"x": [0.0, 1.0], "y": [1.0, 2.0], "subject": "a"})
    assert draw(Chart("scatter", "x", "y"), frame, LOOKS).data[0].type == "scattergl"


def test_a_heat_map_has_a_panel_for_each_subject() -> None:
    frame = pd.DataFrame(
        [("a", 0, "q", 1.0), ("a", 1, "q", 2.0), ("original", 0, "q", 3.0)], columns=["subject", "layer", "module", "v"]
    )
    figure = draw(Chart("heat", "layer", "module", hover=("v",)), frame, LOOKS)
    assert [note.text for note in figure.layout.annotations] == ["original", "a"]
    assert [list(trace.z[0]) for trace in figure.data] == [[3.0], [1.0, 2.0]]
    # One number alone in the original's panel: its own scale would reach from 2.5 to 3.5.
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (1.0, 3.0)
    alone = draw(Chart("heat", "layer", "module", hover=("v",)), frame[2:], LOOKS)
    assert alone.layout.coloraxis.cmin is None


def test_a_wrong_column_is_named() -> None:
    with pytest.raises(KeyError, match="nothing"):
        draw(Chart("line", "layer", "nothing"), table(), LOOKS)


def test_titles_of_panels_do_not_touch_on_paper() -> None:
    """A report is 680 pixels wide on paper; a letter is about half as wide as high, and lines of a title are even."""
    names = ["holdout, against the reference", "retain, along a direction of the original alone", "a" * 70]
    for count in (1, 2, 3):
        some = names[:count]
        table = pd.DataFrame([(name, x, 0.5, "a") for name in some for x in (1, 2)], columns=["f", "x", "y", "subject"])
        figure = draw(Chart("line", "x", "y", facet="f"), table, LOOKS)
        titles = [note for note in figure.layout.annotations if note.text]
        assert [note.text.replace("<br>", "").replace(" ", "") for note in titles] == [n.replace(" ", "") for n in some]
        inner = 680 - figure.layout.margin.l - figure.layout.margin.r
        for number, note in enumerate(titles, start=1):
            begin, end = figure.layout["xaxis" if number == 1 else f"xaxis{number}"].domain
            longest = max(len(line) for line in note.text.split("<br>"))
            assert longest * 0.5 * note.font.size <= (end - begin + 0.05) * inner, note.text
    one = draw(Chart("line", "x", "y", facet="f"), table[table["f"] == names[0]], LOOKS)
    assert figure.layout.margin.t > one.layout.margin.t, "lines of a title take room from above, not from the legend"
