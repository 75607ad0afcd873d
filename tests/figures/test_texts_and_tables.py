"""Texts beside each other, the scoreboard, the ROC curve and the recovery table: nothing unescaped, nothing missing."""

from __future__ import annotations

from html.parser import HTMLParser

import pandas as pd
import pytest

from audit.figures.board import board_html, number
from audit.figures.matrix import matrix
from audit.figures.roc import roc
from audit.figures.style import INK, ink_on, looks
from audit.figures.texts import Line, said_html
from tests.pages.synthetic import HOSTILE

LOOKS = looks(["a", "b"])
OURS = {"table", "tbody", "thead", "tr", "th", "td", "span", "mark", "small", "em"}


class Tags(HTMLParser):
    """The tags, attributes and words of a piece of HTML, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.marked: list[str] = []
        self.words = ""
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}
        self.inside = tag == "mark"

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.inside:
            self.marked.append(data)


def test_words_that_differ_are_marked() -> None:
    page = Tags(said_html("the city of Lima", [Line("a", "the town of Lima"), Line("b", "", "run 1")], LOOKS))
    assert page.marked == ["town"]
    assert "says nothing" in page.words and "run 1" in page.words and "true answer" in page.words


@pytest.mark.parametrize("place", ["truth", "said", "remark", "subject"])
def test_hostile_texts_are_shown_as_they_are(place: str) -> None:
    line = Line(**{"subject": "a", "said": "x", "remark": "", **({place: HOSTILE} if place != "truth" else {})})
    page = Tags(said_html(HOSTILE if place == "truth" else "x", [line], LOOKS))
    assert page.tags <= OURS and page.names <= {"class", "scope", "style"}
    assert HOSTILE in page.words


def board(**changes: object) -> pd.DataFrame:
    row = {
        "group": "said", "id": "i", "metric": "Recall", "direction": "↑ higher", "subject": "a", "value": 0.5,
        "low": 0.4, "high": 0.6, "n": 3, "residual": 0.3, "state": "found", "words": "",
    }  # fmt: skip
    return pd.DataFrame([row | changes])


def test_the_board_has_a_column_for_each_subject_in_one_order() -> None:
    table = pd.concat([board(subject=name, state="", residual=None) for name in ("b", "reference", "original")])
    words = Tags(board_html(table, LOOKS)).words
    assert words.index("original") < words.index("reference") < words.index("b")
    assert "● 0.50" in Tags(board_html(board(), LOOKS)).words


def test_what_a_score_is_read_against_has_one_column() -> None:
    table = pd.concat([board(subject="reference"), board(id="u", group="utility", subject="null", words="chance")])
    page = Tags(board_html(table, LOOKS))
    assert "floor" not in page.words and "chance" in page.words
    assert "floor" in Tags(board_html(board(subject="null"), LOOKS)).words


def test_a_cell_without_a_number_says_why() -> None:
    page = Tags(board_html(board(value=None, residual=None, state="none", words=HOSTILE, metric=HOSTILE), LOOKS))
    assert page.tags <= OURS and "∅" in page.words and HOSTILE in page.words


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.50"), (0, "0.00"), (0.00123, "0.0012"), (-3.0, "−3.00")])
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_a_curve_for_each_subject_and_guessing_as_its_floor() -> None:
    points = pd.DataFrame(
        {"subject": ["a", "a", "reference"], "false_positive_rate": [0.0, 1.0, 0.5],
         "true_positive_rate": [0.2, 1.0, 0.5], "low": [0.1, 0.9, None], "high": [0.3, 1.0, None]}
    )  # fmt: skip
    figure = roc(points, LOOKS)
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["guessing", "a", "reference"]
    assert sum(trace.fill == "toself" for trace in figure.data) == 1  # the reference has no interval here
    logarithmic = roc(points, LOOKS, logarithmic=True)
    assert min(min(trace.x) for trace in logarithmic.data) > 0


def cells(**changes: object) -> dict[str, object]:
    return {
        "id": "attacks.x", "title": "X", "candidate": "a", "value": 0.8, "low": 0.7, "high": 0.9, "state": "found",
        "reason": "", "score": 0.81, "original": 0.97, "floor": 0.13, "floor_is": "reference", **changes,
    }  # fmt: skip


def test_every_cell_says_its_share_and_can_be_clicked() -> None:
    missing = {"value": None, "low": None, "high": None, "state": "failed", "score": None, "reason": HOSTILE}
    table = pd.DataFrame([cells(), cells(candidate="b", **missing)])
    figure = matrix(table, ["a", "b"], ("attacks.x", "a"))
    clicks = next(trace for trace in figure.data if trace.name == "cells")
    assert [list(point) for point in clicks.customdata] == [["attacks.x", "a"], ["attacks.x", "b"]]
    assert "<img" not in figure.to_json() and "\\u003cimg" not in figure.to_json()
    spoken = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "text"]
    words = [text for trace in spoken for text in trace.text]
    assert any(text.startswith("● 80") and "0.81" in text for text in words)
    assert any(text.startswith("∅") and "failed" in text for text in words)
    assert "0.97" in words and "0.13" in words  # the original and the floor, on the attack's own scale
    assert len(figure.layout.shapes) == 1
    # each word stands over the cell that it belongs to
    shares = next(trace for trace in spoken if trace.text[0].startswith("●"))
    heat = next(trace for trace in figure.data if trace.type == "heatmap")
    assert list(shares.x) == list(heat.x) == [2]


def test_a_matrix_without_any_number_is_still_a_matrix() -> None:
    table = pd.DataFrame([cells(value=None, score=None, original=None, floor=None, state="not measured")])
    assert not [trace for trace in matrix(table, ["a"]).data if trace.type == "heatmap"]


def test_ink_on_a_colour_can_be_read() -> None:
    assert ink_on(1.0) == INK["light"] and ink_on(0.0) == "#FFFFFF"
