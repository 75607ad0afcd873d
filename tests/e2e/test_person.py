"""What a person does: read the demo, drill from a verdict to an item, run an audit to its verdict."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.browser import link_to

PAGES = (
    "", "behaviour", "drift", "probes", "sae_features", "concept_vectors", "attacks", "examples", "new_audit",
    "report", "review", "methods", "playground", "live_attack", "compare",
)  # fmt: skip
pytestmark = pytest.mark.e2e


def settle(page: Any) -> None:
    """Wait until the script has run to its end, then insist that it raised nothing."""
    page.get_by_test_id("stApp").wait_for()
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'"
    )
    assert page.get_by_test_id("stException").count() == 0, page.get_by_test_id("stException").first.inner_text()


def type_case(page: Any, path: str) -> None:
    """Give a case file on the page New audit."""
    page.goto("/new_audit")
    settle(page)
    page.get_by_role("button", name="From a case file").or_(page.get_by_role("radio", name="From a case file")).click()
    box = page.get_by_label("Case file", exact=True)
    box.fill(path)
    box.press("Enter")


def choose(page: Any, label: str, number: int) -> None:
    """Choose one of the options of a box; a chart that is still being drawn may close the list."""
    from playwright.sync_api import TimeoutError as Late

    box = page.get_by_test_id("stSelectbox").filter(has_text=label).locator("input")
    for _ in range(6):
        box.press("ArrowDown")
        try:
            page.get_by_role("option").nth(number).click(timeout=8000)
            return
        except Late:
            page.keyboard.press("Escape")
    raise AssertionError(f"the list of {label} does not stay open")


def test_the_demo_shows_its_verdicts(page: Any) -> None:
    page.goto("/")
    page.get_by_text("last-block").first.wait_for()
    settle(page)
    text = page.get_by_test_id("stMain").inner_text().lower()
    for word in ("present", "suppressed", "untouched", "retrained", "last-block", "said", "stored", "recoverable"):
        assert word in text
    assert not re.search(r"\b(deleted|compliant)\b", text)


def test_every_link_leads_to_its_page(page: Any) -> None:
    page.goto("/")
    settle(page)
    for label in ("Drift", "Probes", "Playground", "Review", "New audit", "Overview"):
        link_to(page, label).click()
        page.wait_for_url(f"**/{label.lower().replace(' ', '_') if label != 'Overview' else ''}*")
        page.wait_for_selector(f"h1:has-text('{label}')")
        settle(page)


def test_the_overview_has_its_name_in_the_address_too(page: Any) -> None:
    page.goto("/overview?run=demo&candidates=npo")
    page.get_by_role("heading", name="Overview").wait_for()
    page.wait_for_url("**/?*")
    settle(page)
    assert page.get_by_text("Page not found").count() == 0
    assert "candidates=npo" in page.url and "run=demo" in page.url


def test_from_a_verdict_to_an_item(page: Any) -> None:
    page.goto("/?item=forget%3A0")
    settle(page)
    card = page.locator(".st-key-item-card")
    card.wait_for()
    assert "says:" in card.inner_text()
    assert "forget:0" in card.inner_text()
    page.get_by_role("link", name=re.compile("drift", re.IGNORECASE)).last.click()
    page.wait_for_url("**/drift*")
    settle(page)


def test_a_feature_and_its_card(page: Any) -> None:
    page.goto("/sae_features")
    card = page.locator(".st-key-feature-card")
    card.wait_for()
    settle(page)
    before = card.inner_text()
    choose(page, "Feature", 3)
    page.wait_for_function("before => document.querySelector('.st-key-feature-card')?.innerText !== before", arg=before)
    settle(page)
    assert "Its direction raises" in card.inner_text()


def test_a_concept_vector_and_its_card(page: Any) -> None:
    page.goto("/concept_vectors")
    card = page.locator(".st-key-vector-card")
    card.wait_for()
    settle(page)
    before = card.inner_text()
    choose(page, "Vector", 2)
    page.wait_for_function("before => document.querySelector('.st-key-vector-card')?.innerText !== before", arg=before)
    settle(page)
    assert "the original's" in card.inner_text()


def test_an_audit_from_the_browser_to_its_verdict(page: Any, tiny_lab: Path, runs: Path) -> None:
    case = (tiny_lab / "case.toml").read_text()
    head, *blocks = case.split("[[subjects.candidates]]")
    tail = "[corpora]" + blocks[-1].partition("[corpora]")[2]
    kept = [b.partition("[corpora]")[0] for b in blocks if 'name = "untouched"' in b or 'name = "last-block"' in b]
    quick = '\n[evidence]\nonly = ["behaviour.recall", "utility.retain", "probes.linear"]\n'
    path = tiny_lab / "case-browser.toml"
    path.write_text(head + "".join("[[subjects.candidates]]" + block for block in kept) + tail + quick)
    type_case(page, f"{tiny_lab.name}/case-browser.toml")
    page.get_by_role("button", name=re.compile("^.*(Run|Start)")).first.click()
    deadline = time.monotonic() + 180
    while not list(runs.glob("*/manifest.json")):
        assert time.monotonic() < deadline, page.get_by_test_id("stMain").inner_text()
        time.sleep(0.5)
    run = next(runs.glob("*/manifest.json")).parent
    page.goto(f"/?run={run.name}")
    page.get_by_text("last-block").first.wait_for()
    settle(page)
    text = page.get_by_test_id("stMain").inner_text().lower()
    assert "present" in text
    assert "suppressed" in text


def test_a_path_outside_the_root_is_one_sentence(page: Any) -> None:
    type_case(page, "../../../../etc/passwd")
    page.get_by_text(re.compile("outside")).first.wait_for()
    settle(page)
