"""Every page, light and dark, before axe-core: nothing serious or critical, and no horizontal scrolling at 1280 px."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest

from tests.e2e.test_person import PAGES, settle

pytestmark = pytest.mark.e2e
AXE = files("axe_playwright_python").joinpath("axe.min.js")
SERIOUS = ("serious", "critical")
STYLED = """() => {
    const caption = document.querySelector('[data-testid=stCaptionContainer] p');
    return !caption || !getComputedStyle(caption).color.startsWith('rgba');
}"""
"""The style sheet has reached the page: without it captions are translucent."""
BACKGROUND = "() => getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_a_serious_violation_or_scrolls_sideways(browser: Any, app: str, name: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, base_url=app, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.goto(f"/{name}")
    page.wait_for_function("() => document.querySelector('[data-testid=stMain]')?.innerText.length > 100")
    settle(page)
    page.wait_for_function(STYLED)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    told = violations(page, "light")
    before = page.evaluate(BACKGROUND)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"before => ({BACKGROUND})() !== before", arg=before)
    settle(page)
    told += violations(page, "dark")
    main = page.get_by_test_id("stMain")
    wide = main.evaluate("main => main.scrollWidth - main.clientWidth")
    context.close()
    assert not told, "\n".join(told)
    assert wide <= 0


def violations(page: Any, mode: str) -> list[str]:
    """What axe finds that is serious or critical, three places of each."""
    page.wait_for_timeout(1500)  # what was drawn last is still fading in
    found = page.evaluate("() => axe.run({resultTypes: ['violations']})")["violations"]
    return [
        f"{mode}: {one['impact']} {one['id']}: {node['html'][:200]}. {node.get('failureSummary', '')}"
        for one in found
        for node in one["nodes"][:3]
        if one["impact"] in SERIOUS
    ]
