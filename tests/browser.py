"""Make sure that a Chromium is there for the browser tests: `python tests/browser.py`.

From the distribution where the user may install, else Playwright's own, else one clear sentence and exit code 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]  # fmt: skip
"""Quiet in a closed network, and WebGL (which scatter charts use) without a graphics card."""


def system_chromium() -> str | None:
    """Path of an installed Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def link_to(page: Any, label: str) -> Any:
    """The link of the menu to a page, with its section opened where it stands in one."""
    link = page.get_by_test_id("stTopNavLink").filter(has_text=label)
    page.get_by_test_id("stTopNavLink").first.wait_for()
    if link.count():
        return link.first
    inside = page.get_by_test_id("stTopNavDropdownLink").filter(has_text=label)
    for section in page.get_by_test_id("stTopNavSection").all():
        section.click()
        page.get_by_test_id("stTopNavDropdownLink").first.wait_for()
        if inside.count():
            return inside.first
        page.keyboard.press("Escape")
    raise AssertionError(f"no link of the menu leads to {label}")


def install() -> bool:
    """Try the distribution's package, then Playwright's own build."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") and (not sudo or shutil.which("sudo")):
        quiet = {"stdout": subprocess.DEVNULL}
        subprocess.run([*sudo, "apt-get", "update", "-q"], check=False, **quiet)
        for package in ("chromium", "chromium-browser"):
            done = subprocess.run(
                [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q", package],
                check=False,
                **quiet,
            )
            if done.returncode == 0 and system_chromium():
                return True
    return subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False).returncode == 0


if __name__ == "__main__":
    if not system_chromium() and not install():
        sys.exit(
            "No Chromium for the browser tests: none is installed, the distribution's package could not be installed "
            "(are you root, or is sudo set up?) and Playwright's own could not be downloaded. Install one."
        )
