"""Words before pictures: how long a page waits, and that it does so when it is opened only."""

from __future__ import annotations

import pytest

from pages.shared import pace


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for; zeros are no wait."""
    waits: list[float] = []
    monkeypatch.setattr(pace.st, "session_state", {})
    monkeypatch.setattr(pace, "style", lambda: None)
    monkeypatch.setattr(pace.time, "sleep", lambda seconds: waits.append(seconds) if seconds else None)
    return waits


def test_the_first_page_gives_its_sentence_its_words_and_its_table_time(slept: list[float]) -> None:
    pace.opened("overview")
    pace.sentence_is_out()
    for _ in range(4):
        pace.words_are_out()
    assert slept == [pace.LOADING, *pace.FIRST]


def test_a_later_page_waits_once_and_one_drawn_again_does_not(slept: list[float]) -> None:
    pace.opened("overview")
    slept.clear()
    pace.opened("drift")
    pace.sentence_is_out()
    pace.words_are_out()
    pace.words_are_out()
    assert slept == list(pace.LATER)
    pace.opened("drift")
    pace.words_are_out()
    assert slept == list(pace.LATER)


def test_a_page_left_before_its_words_were_out_makes_no_other_wait_longer(slept: list[float]) -> None:
    for page in ("overview", "drift", "probes"):
        pace.opened(page)
    pace.words_are_out()
    pace.words_are_out()
    assert slept == list(pace.LATER)
