"""Maps side by side: one scale, the same items ringed in all of them, texts that stay texts."""

from __future__ import annotations

import pandas as pd
import pytest

from audit.figures.maps import IN_A_ROW, MAX_TEXTS, crowd_of, maps
from audit.figures.style import looks

LOOKS = looks(["a", "b", "c", "d"])


def points(names: list[str], number: int = 3, **changes: object) -> pd.DataFrame:
    rows = [
        (name, split, f"{split}:{i}", float(i), -float(i), 0.9, f"prompt {i}", f"answer {i}", "entity")
        for name in names
        for split in ("forget", "retain")
        for i in range(number)
    ]
    columns = ["subject", "split", "item", "x", "y", "trustworthiness", "prompt", "answer", "entity"]
    return pd.DataFrame(rows, columns=columns).assign(**changes)


def test_all_maps_share_one_scale() -> None:
    figure = maps(points(["original", "reference", "a"]), ["original", "reference", "a"], LOOKS)
    assert figure.layout.xaxis2.matches == figure.layout.xaxis3.matches == "x"
    assert figure.layout.yaxis2.matches == figure.layout.yaxis3.matches == "y"


def test_forgotten_items_have_the_subjects_colour_and_lie_above_the_others() -> None:
    figure = maps(points(["a"]), ["a"], LOOKS)
    retain, forget = figure.data
    assert (retain.name, forget.name) == ("retain", "forget")
    assert forget.marker.color.startswith("rgba(213,94,0")
    assert list(forget.customdata) == ["forget:0", "forget:1", "forget:2"]


def test_picked_items_are_ringed_in_every_map_and_the_rest_fades() -> None:
    names = ["original", "a"]
    plain = maps(points(names), names, LOOKS)
    figure = maps(points(names), names, LOOKS, picked=["forget:1", "no such item"])
    rings = [trace for trace in figure.data if trace.name == "picked"]
    assert [list(ring.customdata) for ring in rings] == [["forget:1"], ["forget:1"]]
    assert {ring.xaxis for ring in rings} == {"x", "x2"}
    assert plain.data[1].marker.color.endswith("0.9)") and figure.data[1].marker.color.endswith("0.3)")


def test_titles_say_how_many_and_how_far_to_trust() -> None:
    title = maps(points(["a"]), ["a"], LOOKS).layout.annotations[0].text
    assert "6 items" in title and "trustworthiness 0.90" in title
    assert "no map" in maps(points(["a"]), ["b"], LOOKS).layout.annotations[0].text


def test_four_maps_lie_in_one_row_and_five_in_two() -> None:
    four, five = ["original", "reference", "a", "b"], ["original", "reference", "a", "b", "c"]
    assert len(four) == IN_A_ROW
    assert {axis.domain for axis in maps(points(four), four, LOOKS).select_yaxes()} == {(0.0, 1.0)}
    assert len({axis.domain for axis in maps(points(five), five, LOOKS).select_yaxes()}) == 2


def test_hover_texts_are_escaped_after_they_are_cut() -> None:
    figure = maps(points(["a"], prompt="&" * 200, answer="<script>"), ["a"], LOOKS)
    text = figure.data[0].text[0]
    assert "&lt;script&gt;" in text
    assert text.count("&amp;") == 119 and "…" in text


def test_a_crowded_map_sends_no_texts() -> None:
    figure = maps(points(["a"], number=MAX_TEXTS + 1), ["a"], LOOKS)
    assert figure.data[0].text is None
    assert figure.data[0].x.dtype == "float32"


def test_a_crowd_lies_behind_as_a_picture_of_all_points_on_one_scale() -> None:
    every, few = points(["a", "b"], number=50), points(["a", "b"], number=2)
    crowd = crowd_of(every, ["a", "b"], LOOKS)
    figure = maps(few, ["a", "b"], LOOKS, crowd=crowd)
    images = figure.layout.images
    assert [(image.xref, image.yref, image.layer) for image in images] == [("x", "y", "below"), ("x2", "y2", "below")]
    less = maps(few, ["a"], LOOKS, crowd=crowd_of(few, ["a"], LOOKS))
    assert len({image.source for image in images} | {less.layout.images[0].source}) == 3
    low, high = figure.layout.xaxis.range
    assert (images[0].x, images[0].x + images[0].sizex) == (low, pytest.approx(high)) and low < 0 and high > 49
    assert "100 items" in figure.layout.annotations[0].text
    assert sum(len(trace.x) for trace in figure.data) == len(few)
    assert maps(few, ["a"], LOOKS, ["forget:1"], crowd=crowd).layout.images[0].opacity < 1


def test_every_map_lies_below_its_title_with_its_own_points() -> None:
    names = ["original", "reference", "a", "b", "c"]
    layout = maps(points(names), names, LOOKS).layout
    for number, (name, title) in enumerate(zip(names, layout.annotations, strict=True), 1):
        own = "" if number == 1 else number
        across, up = layout[f"xaxis{own}"].domain, layout[f"yaxis{own}"].domain
        assert f"<b>{name}</b>" in title.text
        assert title.x == pytest.approx(sum(across) / 2) and title.y == up[1]
    # three beside each other with gaps of 0.025: each (1 - 0.05) / 3 wide; of the second row the first lies below it
    assert layout.xaxis2.domain == pytest.approx((0.95 / 3 + 0.025, 2 * 0.95 / 3 + 0.025))
    assert layout.xaxis4.domain == layout.xaxis.domain and layout.yaxis4.domain[1] < layout.yaxis.domain[0]
