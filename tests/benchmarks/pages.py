"""How long a visitor waits for the shipped demo: from the server's start to the verdicts, and from page to page."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.browser import FLAGS, system_chromium

ROOT = Path(__file__).parent.parent.parent
LABELS = ("Drift", "Probes", "Attacks", "New audit", "Methods", "Overview")


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows of the table: seconds; a page counts as there when its heading and its first sentences are."""
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


def _change(page: Any, label: str) -> float:
    began = time.monotonic()
    page.get_by_test_id("stTopNavLink").filter(has_text=label).first.click()
    page.wait_for_selector(f"h1:has-text('{label}')")
    page.wait_for_function("() => document.querySelector('[data-testid=stMain]')?.innerText.length > 400")
    took = time.monotonic() - began
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    return took


def _argmax(values: list[float]) -> int:
    return values.index(max(values))


def _row(name: str, seconds: float, goal: str, note: str = "") -> dict[str, Any]:
    return {"benchmark": name, "ours_s": seconds, "theirs_s": "", "ratio": "", "goal": goal, "note": note}


@contextmanager
def served() -> Iterator[tuple[str, float]]:
    """The app as `make app` serves it, its address and when it was started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    begun = time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "STREAMLIT_SERVER_HEADLESS": "true"}
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
