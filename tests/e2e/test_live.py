"""The tour, a question to all models, and live attacks, on the demo in a browser."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_person import settle

pytestmark = pytest.mark.e2e
STEPS = (("The claim", "overview"), ("What it says", "behaviour"), ("What it still holds", "probes"),
         ("What can be brought back", "attacks"), ("The verdict", "overview"))  # fmt: skip


def main(page: Any) -> str:
    return str(page.get_by_test_id("stMain").inner_text())


def wait_for(page: Any, words: str, seconds: float = 240) -> str:
    """The page's text once it holds some words."""
    deadline = time.monotonic() + seconds
    while words not in (text := main(page)):
        assert time.monotonic() < deadline, text
        time.sleep(0.5)
    return text


def test_the_tour(page: Any) -> None:
    page.goto("/?run=demo")
    settle(page)
    page.get_by_role("link", name=re.compile("Take the tour")).click()
    card = page.locator(".st-key-tour-card")
    for number, (title, _) in enumerate(STEPS, start=1):
        card.get_by_text(f"step {number} of 5").wait_for()
        settle(page)
        assert title in card.inner_text()
        assert re.search(r"\d", card.inner_text().replace(f"step {number} of 5", ""))
        if number < len(STEPS):
            card.get_by_role("link", name=re.compile("Next")).click()
    card.get_by_role("link", name=re.compile("Back")).click()
    card.get_by_text("step 4 of 5").wait_for()
    address = page.url
    page.goto(address)  # a link restores the step
    card.get_by_text("step 4 of 5").wait_for()
    card.get_by_role("link", name=re.compile("Leave")).click()
    page.wait_for_url(lambda url: "tour" not in url)
    settle(page)
    assert card.count() == 0


def test_a_question_to_all_models(page: Any) -> None:
    page.goto("/playground?run=demo&candidates=last-block&item=forget%3A0")
    settle(page)
    page.get_by_role("button", name="Ask").click()
    text = wait_for(page, "ranks it")
    settle(page)
    for name in ("original", "reference", "last-block"):
        assert name in text
    assert "✓ says the true answer" in text and "✗ does not say the true answer" in text
    page.locator(".st-key-lens .main-svg").first.wait_for()
    page.goto(page.url)  # the link asks again
    assert "ranks it" in wait_for(page, "ranks it")


def test_a_live_attack_to_its_end_and_its_link(page: Any) -> None:
    page.goto("/live_attack?run=demo&candidates=last-block&attack-steps=4&attack-every=2")
    settle(page)
    page.get_by_role("button", name="Start the attack").click()
    text = wait_for(page, "After 4 steps last-block gives")
    assert "reference, which never knew them, gives" in text
    assert "attack=" in page.url
    page.goto(page.url)
    wait_for(page, "After 4 steps last-block gives")
    settle(page)
    page.locator(".st-key-attack-curves .main-svg").first.wait_for()


def test_a_cancelled_attack_keeps_its_curve(page: Any, runs: Path) -> None:
    page.goto("/live_attack?run=demo&candidates=last-block&attack-steps=400&attack-every=1")
    settle(page)
    page.get_by_role("button", name="Start the attack").click()
    wait_for(page, "last-block gives")
    page.goto(page.url)  # it survives a reload
    page.get_by_role("button", name="Cancel").click()
    text = wait_for(page, "Cancelled. What was heard until then is kept.")
    assert "last-block gives" in text
    assert re.search(r"cancelled after", text)
    assert not list(runs.glob(".attacks/*/cancel"))
