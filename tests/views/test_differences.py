"""Which words of a text are the true answer's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.views import differences
from audit.views.differences import Part, parts, share_said


def test_words_are_compared_in_order_without_case_and_punctuation() -> None:
    # truth: the | city | of | Lima;  said: The | town | of | Lima,  -> "town" alone differs
    assert parts("the city of Lima", "The town of Lima,") == [
        Part("The ", True), Part("town ", False), Part("of Lima,", True)
    ]  # fmt: skip
    # the order counts: "Lima" before "city" leaves only one of both
    said = parts("city Lima", "Lima city")
    assert sum(part.same for part in said) == 1 and "".join(part.text for part in said) == "Lima city"


def test_share_said_counts_the_words_of_the_answer() -> None:
    assert share_said("a harp player", "She is a harp maker") == pytest.approx(2 / 3)
    assert share_said("harp", "Harp!") == 1.0
    assert share_said("harp", "") == 0.0
    assert math.isnan(share_said("", "harp"))


def test_a_long_answer_is_compared_whole() -> None:
    truth = " ".join(f"word{k}" for k in range(differences.MOST_WORDS + 100))
    assert share_said(truth, truth) == 1.0
    assert share_said("harp", "no " * differences.MOST_WORDS + "harp") == 1.0


@given(st.text(max_size=80), st.text(max_size=80))
def test_the_parts_are_the_text(truth: str, said: str) -> None:
    found = parts(truth, said)
    assert "".join(part.text for part in found) == said
    assert all(one.same != other.same for one, other in zip(found, found[1:], strict=False))


@given(st.text(max_size=60))
def test_a_text_differs_nowhere_from_itself(text: str) -> None:
    assert all(part.same for part in parts(text, text))


def test_a_long_text_is_cut_and_says_so() -> None:
    found = parts("word", "word " * (differences.MOST_WORDS + 5))
    assert found[-1].text == "…"
