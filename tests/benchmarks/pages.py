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
WATCH = """([event, there, label]) => {
  const ready = eval(there);
  let began = null;
  const look = () => requestAnimationFrame(() => began !== null && ready(label) ? painted() : look());
  const painted = () => scheduler.postTask(() => window.took = performance.now() - began, {priority: 'user-blocking'});
  window.took = null;
  addEventListener(event, one => began = one.timeStamp, {capture: true, once: true});
  look();
}"""
"""Milliseconds from an event to the frame that paints what is waited for, in `window.took`. Read in the page, frame by
frame; the driver's own waiting is not counted."""
READ = """label => {
  if (![...document.querySelectorAll('h1')].some(title => title.innerText.includes(label))) return false;
  const fresh = [...document.querySelectorAll('[data-testid=stMain] [data-testid=stElementContainer]')]
    .filter(part => !part.closest('[data-stale=true]'));
  return fresh.some(part => part.closest('[class*=st-key-answer-]'))
    || fresh.reduce((sum, part) => sum + part.innerText.length, 0) > 400
    || document.querySelector('[data-testid=stApp][data-test-script-state=notRunning]');
}"""
"""A page that can be read: its heading and first answer are there, or 400 characters where it answers nothing, or the
whole of a page that has fewer."""
FIRST_CONTENT = """(() => {
  const parts = {took: '[data-testid=stMain] [data-testid=stText]', verdicts: 'table.ladder'};
  const look = () => requestAnimationFrame(() => {
    for (const name in parts)
      if (!(name in window) && document.querySelector('h1') && document.querySelector(parts[name]))
        scheduler.postTask(() => window[name] ??= performance.now(), {priority: 'user-blocking'});
    if (!window.took || !window.verdicts) look();
  });
  look();
})()"""
"""The same from the start of a visit: to the heading with the sentence that answers, and to the table of verdicts."""
REDRAWN = """(before => () => {
  const map = document.querySelector('.st-key-maps .js-plotly-plot');
  return map && map.data !== before && map.querySelector('path.point');
})(document.querySelector('.st-key-maps .js-plotly-plot').data)"""
"""The map is another than the one that was there."""
DONE = "[data-testid=stApp][data-test-script-state=notRunning]"
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
FIRST, VERDICTS = "first content", "verdicts"
READING = 2000
"""Milliseconds that a visitor looks at a page before the next click; until then its charts are drawn."""
LABELS = ("Drift", "Probes", "Attacks", "Compare", "New audit", "Methods", "Overview")
MORE = (
    "Behaviour", "SAE features", "Concept vectors", "Examples", "Playground", "Live attack", "Review", "Report",
)  # fmt: skip
"""The other pages, of the large run only: a menu of fifteen pages without sections has no room."""


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
    a fresh server waits for its libraries as well, and is told apart. Bytes are what the websocket brings that visitor
    for the first visit of each page. With ten people at once, each opens the overview at the same moment; the ratio is
    the slowest of them to one alone.
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
            fresh = _visit(browser, f"{address}/?run=large")
            rows = [_row(f"large run, {name}, server just started", fresh[name], "") for name in (FIRST, VERDICTS)]
            sent = _sent(browser, f"{address}/?run=large")
            found = _medians([_visit(browser, f"{address}/?run=large", LABELS + MORE) for _ in range(visitors)])
            for name, seconds in found.items():
                row = _row(f"large run, {name}", seconds, {FIRST: "<= 2 s", VERDICTS: ""}.get(name, "<= 0.5 s"))
                row["note"] = f"{sent[name]:.2f} MB, <= 5 MB; theirs: a page with nothing on it"
                if name in least:
                    row |= {"theirs_s": least[name], "ratio": seconds / least[name]}
                rows.append(row)
            rows += [_row("large run, filter change", _filter(browser, address), "<= 0.5 s")]
            rows += [_together(browser, address, 3 if quick else 10)]
        browser.close()
    return rows


def _visit(browser: Any, address: str, labels: tuple[str, ...] = LABELS) -> dict[str, float]:
    """Seconds of one visitor's first content and of the first visit of every page."""
    page = _page(browser)
    found = {FIRST: _open(page, address), VERDICTS: float(page.evaluate("window.verdicts")) / 1000}
    for label in labels:
        page.wait_for_timeout(READING)
        found[f"to {label}"] = _change(page, label)
    page.close()
    return found


def _sent(browser: Any, address: str) -> dict[str, float]:
    """The megabytes that the websocket brings for the same; apart, because listening to it slows the page down."""
    page, received = _page(browser), list[int]()
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: received.append(len(data))))
    _open(page, address)
    found = {FIRST: sum(received) / 1e6, VERDICTS: sum(received) / 1e6}
    for label in LABELS + MORE:
        received.clear()
        _change(page, label)
        found[f"to {label}"] = sum(received) / 1e6
    page.close()
    return found


def _medians(visits: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(visit[name] for visit in visits) for name in visits[0]}


def _page(browser: Any) -> Any:
    return browser.new_page(viewport={"width": 1440, "height": 1000})


def _open(page: Any, address: str) -> float:
    page.add_init_script(FIRST_CONTENT)
    page.goto(address)
    return _took(page)


def _filter(browser: Any, address: str) -> float:
    """One more layer of the map, until it is painted: the median of three."""
    page = _page(browser)
    page.goto(f"{address}/drift?run=large")
    page.wait_for_selector(".st-key-maps .js-plotly-plot", timeout=120_000)
    page.wait_for_selector(DONE, timeout=120_000)
    times = []
    for key in ("ArrowLeft", "ArrowRight", "ArrowLeft"):
        page.wait_for_timeout(READING)
        page.get_by_role("slider").first.focus()
        page.evaluate(WATCH, ["keydown", REDRAWN, ""])
        page.keyboard.press(key)
        times.append(_took(page))
    page.close()
    return median(times)


def _together(browser: Any, address: str, people: int) -> dict[str, Any]:
    alone = _open(_page(browser), f"{address}/?run=large")
    pages = [_page(browser) for _ in range(people)]
    for page in pages:
        page.add_init_script(FIRST_CONTENT)
        page.goto(f"{address}/?run=large", wait_until="commit")
    took = max(_took(page) for page in pages)
    row = _row(f"large run, {people} people at once, the last", took, "", "theirs: one person alone")
    return {**row, "theirs_s": alone, "ratio": took / alone}


def _change(page: Any, label: str) -> float:
    link = link_to(page, label)
    page.evaluate(WATCH, ["click", READ, label])
    link.click()
    return _took(page)


def _took(page: Any) -> float:
    """The seconds that the page itself measured, once it has and its script has ended."""
    page.wait_for_function("window.took", polling=100, timeout=240_000)
    page.wait_for_selector(DONE, timeout=240_000)
    return float(page.evaluate("window.took")) / 1000


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
