"""HTML → PDF with a Chromium of the machine, where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from audit.errors import MissingDependency, StoreError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
LIMIT_S = 180
QUIET = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-pdf-header-footer",
)  # fmt: skip


def printed(html: str) -> bytes:
    """The bytes of the PDF; raises MissingDependency without a browser, StoreError when it does not print."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise MissingDependency(
            "A PDF is printed by Chromium, and none was found on this machine: install it (apt-get install chromium), "
            "or export to .html and print that from any browser."
        )
    with tempfile.TemporaryDirectory(prefix="palimpsest-") as folder:
        source, target = Path(folder) / "report.html", Path(folder) / "report.pdf"
        source.write_text(html, encoding="utf-8")
        # The page is ours and asks for nothing; root, as in a container, has no sandbox to start.
        alone = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [browser, *QUIET, *alone, f"--user-data-dir={folder}/profile", "--virtual-time-budget=20000"]
        try:
            done = subprocess.run(
                [*command, f"--print-to-pdf={target}", source.as_uri()],
                capture_output=True,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StoreError(
                f"{browser} did not print the report within {LIMIT_S} s; export to .html instead."
            ) from error
        if not target.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise StoreError(f"{browser} did not print the report ({' '.join(said)[:200]}); export to .html instead.")
        return target.read_bytes()
