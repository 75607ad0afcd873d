"""A served app and a real browser."""

from __future__ import annotations

import os
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

from tests.conftest import STORE, views

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the served app puts new runs."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def app(runs: Path, tiny_lab: Path) -> Iterator[str]:
    """Address of the app, served as `make app` serves it, with the lab below the folder that may be read."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ, "PALIMPSEST_RUNS": str(runs), "PALIMPSEST_ROOT": str(STORE), "OMP_NUM_THREADS": "1",
        "PALIMPSEST_CACHE": str(views()),
    }  # fmt: skip
    log = (runs / "server.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), "--server.headless", "true"],
        cwd=ROOT, env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=1)
                break
            except (urllib.error.URLError, OSError):
                assert server.poll() is None, (runs / "server.log").read_text()
                assert time.monotonic() < deadline, "the app did not start"
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=60)
        log.close()


@pytest.fixture
def page(browser: Any, app: str) -> Iterator[Any]:
    """A page of 1440 × 1000 that fails the test on an error in the console or an exception on the page."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, base_url=app)
    page = context.new_page()
    page.set_default_timeout(90_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    # A closed network makes the browser complain of what it did not need; those are no errors of the app.
    ours = [e for e in errors if not any(word in e for word in ("ERR_", "Failed to load resource", "net::"))]
    assert not ours, ours
