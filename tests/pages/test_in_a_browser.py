"""What only a browser shows: a box in one map rings the same items in all, nothing asks the outside, links hold."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages.conftest import APP

pytestmark = pytest.mark.e2e
PATIENCE_MS = 90_000


@pytest.fixture(scope="module")
def address(made_up_runs: Path) -> Iterator[str]:
    """A fresh server on the made-up runs; the first test to use it makes its very first request."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    served = "from tests.pages import shapes; shapes.register(); from streamlit.web import cli; cli.main()"
    command = [sys.executable, "-c", served, "run", str(APP), "--server.port", str(port)]
    environment = {**os.environ, "PALIMPSEST_RUNS": str(made_up_runs)}
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=APP.parent
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health")
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.5)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait(20)


def settled(page: Any) -> None:
    """Wait until the script has run and the page is drawn."""
    page.wait_for_timeout(500)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE_MS)
    page.wait_for_timeout(700)


def test_the_first_request_ever_may_name_a_page(address: str, browser: Any) -> None:
    page = browser.new_page()
    page.goto(f"{address}/drift?run=people")
    page.wait_for_selector("h1", timeout=PATIENCE_MS)
    settled(page)
    assert page.locator("h1").inner_text() == "Drift"
    assert page.get_by_role("link", name="Overview").count() >= 1
    assert page.get_by_text("Page not found").count() == 0
    page.close()


def test_a_box_in_one_map_rings_the_same_items_in_every_map(address: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 1200})
    page.goto(f"{address}/drift?run=people&candidates=hides")
    page.wait_for_selector(".st-key-maps .nsewdrag", timeout=PATIENCE_MS)
    settled(page)
    maps = page.locator(".st-key-maps")
    maps.scroll_into_view_if_needed()
    box = maps.locator(".nsewdrag").nth(1).bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] - 5, steps=8)
    page.mouse.up()
    page.wait_for_selector("text=items picked", timeout=PATIENCE_MS)
    settled(page)
    rings = page.evaluate(
        "document.querySelector('.st-key-maps .js-plotly-plot').data"
        ".filter(t => t.name === 'picked').map(t => [t.xaxis || 'x', [...t.customdata].sort().join()])"
    )
    assert [axis for axis, _ in rings] == ["x", "x2", "x3"]
    assert len({items for _, items in rings}) == 1
    number = int(re.search(r"(\d+) items picked", page.inner_text("[data-testid=stMain]"))[1])  # type: ignore[index]
    assert number == 40
    page.get_by_role("button", name="Clear", exact=True).last.click()
    settled(page)
    assert "items picked" not in page.inner_text("[data-testid=stMain]")
    page.close()


def test_choices_survive_the_navigation_and_nothing_asks_the_outside(address: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 1200})
    outside: list[str] = []
    page.on("request", lambda request: None if "localhost" in request.url else outside.append(request.url))
    page.goto(f"{address}/?run=people&candidates=untouched")
    page.wait_for_selector("table.ladder", timeout=PATIENCE_MS)
    settled(page)
    for name, path in (("Probes", "probes"), ("Attacks", "attacks"), ("Drift", "drift"), ("Overview", "")):
        page.get_by_role("link", name=name, exact=True).first.click()
        page.wait_for_selector(f"h1:has-text('{name}')", timeout=PATIENCE_MS)
        settled(page)
        assert page.url.split("?")[0].rstrip("/").endswith(path or "localhost:" + address.rsplit(":", 1)[1])
        assert "run=people" in page.url and "candidates=untouched" in page.url
    assert [url for url in outside if not url.startswith(("data:", "blob:"))] == []
    page.close()


def click_cell(page: Any, id: str, candidate: str) -> None:
    """Click the cell of an attack and a candidate in the table of attacks, wherever the chart has drawn it."""
    chart = page.locator("[class*=st-key-attack-cells] .js-plotly-plot").first
    chart.scroll_into_view_if_needed()
    x, y = chart.evaluate(
        """(plot, [id, candidate]) => {
            const cells = plot.data.find(trace => trace.name === 'cells');
            const at = cells.customdata.findIndex(row => row[0] === id && row[1] === candidate);
            const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
            return [box.x + xaxis._offset + xaxis.d2p(cells.x[at]), box.y + yaxis._offset + yaxis.d2p(cells.y[at])];
        }""",
        [id, candidate],
    )
    page.mouse.click(x, y)


def test_from_what_came_back_to_an_item_and_to_the_transcript_of_an_attack(address: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{address}/behaviour?run=people&candidates=hides")
    page.wait_for_selector("table.board", timeout=PATIENCE_MS)
    settled(page)
    assert page.locator("table.said mark").count() > 0
    main = "document.querySelector('[data-testid=stMain]')"
    assert page.evaluate(f"{main}.scrollWidth <= {main}.clientWidth")
    page.get_by_role("link", name="Everything about forget:0").first.click()
    page.wait_for_selector(".st-key-example", timeout=PATIENCE_MS)
    settled(page)
    assert "item=forget" in page.url
    page.get_by_text("Said no, but came back").first.click()
    page.wait_for_selector("text=by chance, with candidate and reference exchanged", timeout=PATIENCE_MS)
    settled(page)
    before = page.inner_text(".st-key-example-question")
    page.get_by_role("button", name="Next").click()
    page.wait_for_function(
        "before => document.querySelector('.st-key-example-question')?.innerText !== before", arg=before
    )
    settled(page)
    assert "came back" in page.inner_text(".st-key-example")
    page.goto(f"{address}/attacks?run=people&candidates=hides&attack=attacks.made_up_texts&attack-on=hides")
    page.wait_for_selector(".st-key-attack-transcript table.said", timeout=PATIENCE_MS)
    settled(page)
    assert "Surely" in page.inner_text(".st-key-attack-transcript")
    click_cell(page, "attacks.relearn", "hides")
    page.wait_for_function("() => /relearning finds/.test(document.body.innerText)", timeout=PATIENCE_MS)
    settled(page)
    assert page.get_by_test_id("stException").count() == 0
    page.close()
