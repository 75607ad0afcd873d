"""How long a visitor waits for the shipped demo: from the server's start to the verdicts, and from page to page."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.large import CANDIDATES, POINTS, build
from tests.browser import FLAGS, link_to, system_chromium

ROOT = Path(__file__).parent.parent.parent
READ = """() => {
  const fresh = [...document.querySelectorAll('[data-testid=stMain] [data-testid=stElementContainer]')]
    .filter(part => !part.closest('[data-stale=true]'));
  return fresh.some(part => part.closest('[class*=st-key-answer-]'))
    || fresh.reduce((sum, part) => sum + part.innerText.length, 0) > 400;
}"""
"""Whether a page can be read: its first answer is there, or 400 characters; what is left of the last page is stale."""
EMPTY = """import streamlit as st
st.set_page_config(layout="wide")
def page(label):
    def show():
        st.title(label)
        st.text("One line of words, as long as the answer that a page of the dashboard begins with. " * 6)
        st.html('<table class="ladder"><tr><td>nothing</td></tr></table>')
    return st.Page(show, title=label, url_path=label.lower().replace(" ", "-"), default=label == "Overview")
st.navigation([page(label) for label in {labels}], position="top").run()
"""
"""The least that the framework can do: the same menu, and on every page a title, a text and a table of one cell."""
FIRST = "first content"
READING = 2000
"""Milliseconds that a visitor looks at a page before the next click; until then its charts are drawn."""
LABELS = ("Drift", "Probes", "Attacks", "Compare", "New audit", "Methods", "Overview")


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows of the table: seconds; a page counts as there when its heading and its first answer are."""
    from playwright.sync_api import sync_playwright

    with served() as (address, begun), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=system_chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(address)
        page.get_by_text("last-block").first.wait_for(timeout=60_000)
        rows = [_row("server's start to verdicts", time.monotonic() - begun, "<= 10 s")]
        rounds = [[_change(page, label) for label in LABELS] for _ in range(1 if quick else 3)]
        rows.append(_row("slowest page, first visit", max(rounds[0]), "", LABELS[_argmax(rounds[0])]))
        if len(rounds) > 1:
            again = [min(times) for times in zip(*rounds[1:], strict=True)]
            rows.append(_row("slowest page, later visit", max(again), "< 1 s", LABELS[_argmax(again)]))
        browser.close()
    return rows


def large(quick: bool = False) -> list[dict[str, Any]]:
    """Rows for a map of 100,000 points and twenty candidates: first content, page and filter change, bytes, ten people.

    Theirs is an app of the same framework with the same menu and next to nothing on its pages, on the same machine:
    what no page can be faster than. Each is the median of three visitors who have nothing cached. The first visitor of
    a fresh server waits for its libraries as well, and is told apart. Bytes are what the websocket brings for the first
    visit of each page. With ten people at once, each opens the overview at the same moment; the ratio is the slowest
    of them to one alone.
    """
    from playwright.sync_api import sync_playwright

    visitors = 1 if quick else 3
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=system_chromium(), args=FLAGS)
        script = Path(folder) / "empty.py"
        script.write_text(EMPTY.replace("{labels}", repr(LABELS)))
        with served(app=script) as (address, _):
            _visit(browser, address)
            least = _medians([_visit(browser, address) for _ in range(visitors)])
        build(Path(folder) / "large", candidates=4 if quick else CANDIDATES, points=10_000 if quick else POINTS)
        with served(Path(folder)) as (address, _):
            page, received = _counted(browser)
            fresh = _open(page, f"{address}/?run=large")
            rows = [_row("large run, first content, server just started", fresh, "", f"{sum(received) / 1e6:.2f} MB")]
            page.close()
            found = _medians([_visit(browser, f"{address}/?run=large") for _ in range(visitors)])
            for name, (seconds, sent) in found.items():
                theirs = least[name][0]
                row = _row(f"large run, {name}", seconds, "<= 2 s" if name == FIRST else "<= 0.5 s")
                note = f"{sent:.2f} MB, <= 5 MB; theirs: a page with nothing on it"
                rows.append({**row, "theirs_s": theirs, "ratio": seconds / theirs, "note": note})
            page, _ = _counted(browser)
            rows += [_row("large run, filter change", _filter(page, address), "<= 0.5 s")]
            rows += [_together(browser, address, 3 if quick else 10)]
        browser.close()
    return rows


def _visit(browser: Any, address: str) -> dict[str, tuple[float, float]]:
    """Seconds and megabytes of one visitor's first content and of the first visit of every page."""
    page, received = _counted(browser)
    found = {FIRST: (_open(page, address), sum(received) / 1e6)}
    for label in LABELS:
        page.wait_for_timeout(READING)
        received.clear()
        took = _change(page, label)
        found[f"to {label}"] = (took, sum(received) / 1e6)
    page.close()
    return found


def _medians(visits: list[dict[str, tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    return {name: tuple(map(median, zip(*(visit[name] for visit in visits), strict=True))) for name in visits[0]}  # type: ignore[misc]


def _counted(browser: Any) -> tuple[Any, list[int]]:
    """A page, and the sizes of what its websockets bring."""
    page, received = browser.new_page(viewport={"width": 1440, "height": 1000}), []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: received.append(len(data))))
    return page, received


def _open(page: Any, address: str) -> float:
    began = time.monotonic()
    page.goto(address)
    page.wait_for_selector("table.ladder", timeout=120_000)
    took = time.monotonic() - began
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=120_000)
    return took


def _filter(page: Any, address: str) -> float:
    """One more layer of the map, until the fragment has been drawn anew."""
    page.goto(f"{address}/drift?run=large")
    slider = page.get_by_role("slider").first
    slider.wait_for(timeout=120_000)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=120_000)
    slider.focus()
    began = time.monotonic()
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=running]", timeout=30_000)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=120_000)
    return time.monotonic() - began


def _together(browser: Any, address: str, people: int) -> dict[str, Any]:
    alone = _open(browser.new_page(), f"{address}/?run=large")
    pages = [browser.new_page() for _ in range(people)]
    began = time.monotonic()
    for page in pages:
        page.goto(f"{address}/?run=large", wait_until="commit")
    for page in pages:
        page.wait_for_selector("table.ladder", timeout=240_000)
    took = time.monotonic() - began
    row = _row(f"large run, {people} people at once, the last", took, "", "theirs: one person alone")
    return {**row, "theirs_s": alone, "ratio": took / alone}


def _change(page: Any, label: str) -> float:
    link = link_to(page, label)
    began = time.monotonic()
    link.click()
    page.wait_for_selector(f"h1:has-text('{label}')")
    page.wait_for_function(READ)
    took = time.monotonic() - began
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    return took


def _argmax(values: list[float]) -> int:
    return values.index(max(values))


def _row(name: str, seconds: float, goal: str, note: str = "") -> dict[str, Any]:
    return {"benchmark": name, "ours_s": seconds, "theirs_s": "", "ratio": "", "goal": goal, "note": note}


@contextmanager
def served(runs: Path | None = None, app: Path = ROOT / "app.py") -> Iterator[tuple[str, float]]:
    """An app as `make app` serves it, its address and when it was started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(app), "--server.port", str(port)]
    begun = time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "STREAMLIT_SERVER_HEADLESS": "true"}
    if runs is not None:
        environment["PALIMPSEST_RUNS"] = str(runs)
    server = subprocess.Popen(command, cwd=ROOT, env=environment, **quiet)  # type: ignore[call-overload]
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", begun
    finally:
        server.terminate()
        server.wait(10)
