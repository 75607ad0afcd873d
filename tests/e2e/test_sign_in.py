"""Sign-in through a real OpenID provider on this machine, each role, and every forbidden write refused."""

from __future__ import annotations

import os
import re
import shutil
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

from audit.review import ledger
from audit.store import Run, open_run
from tests.e2e.test_person import settle

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "assets" / "demo" / "run"
pytestmark = pytest.mark.e2e
PEOPLE = {"vera": ["staff"], "aldo": ["ml"], "paula": ["dpo", "ml"]}
TABLE = 'claim = "groups"\nauditor = ["ml"]\napprover = ["dpo"]'
SENTENCE = "I read the findings and the verdict."


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """A provider that knows three people and the groups they are in."""
    from oidc_provider_mock import User, run_server_in_thread

    users = [
        User(sub=name, claims={"email": f"{name}@example.org", "email_verified": True, "groups": groups})
        for name, groups in PEOPLE.items()
    ]
    with run_server_in_thread(user_claims=users) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two candidates of the demo, small enough that a loaded machine shows them soon."""
    root = tmp_path_factory.mktemp("runs") / "people"
    shutil.copytree(DEMO, root)
    return open_run(root)


@pytest.fixture(scope="module")
def guarded(run: Run, provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app with sign-in configured."""
    port = free_port()
    secrets = tmp_path_factory.mktemp("secrets") / "secrets.toml"
    secrets.write_text(
        f'[auth]\nredirect_uri = "http://localhost:{port}/oauth2callback"\ncookie_secret = "{"s" * 40}"\n'
        f'client_id = "palimpsest"\nclient_secret = "{"t" * 40}"\n'
        f'server_metadata_url = "{provider}/.well-known/openid-configuration"\n'
        'client_kwargs = { scope = "openid email profile groups" }\n'
    )
    environment = {**os.environ, "PALIMPSEST_RUNS": str(run.path.parent), "PALIMPSEST_ROLES": TABLE}
    log = (secrets.parent / "server.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), "--secrets.files",
         str(secrets)],
        cwd=ROOT, env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1)
                break
            except (urllib.error.URLError, OSError):
                assert server.poll() is None and time.monotonic() < deadline, (
                    secrets.parent / "server.log"
                ).read_text()
                time.sleep(0.2)
        yield f"http://localhost:{port}"
    finally:
        server.kill()
        server.wait()
        log.close()


def signed_in(browser: Any, address: str, name: str) -> Any:
    """A page of somebody who signed in at the provider, on the review of one candidate."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}, base_url=address).new_page()
    page.set_default_timeout(90_000)
    page.goto("/")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_placeholder("sub").fill(name)
    page.get_by_role("button", name="Authorize").click()
    page.locator(".st-key-signed-in").wait_for()
    page.goto("/review?run=people&of=npo&finding=drift.cka")
    page.locator(".st-key-review-sign").wait_for()
    settle(page)
    return page


def test_nobody_sees_anything_before_signing_in(browser: Any, guarded: str) -> None:
    page = browser.new_page()
    page.goto(f"{guarded}/review?run=people")
    page.get_by_role("button", name="Sign in").wait_for(timeout=90_000)
    assert "npo" not in page.get_by_test_id("stApp").inner_text()
    assert page.get_by_test_id("stTopNavLink").count() == 0
    page.close()


def test_each_role_may_what_it_may(browser: Any, guarded: str, run: Run) -> None:
    offered = {}
    for name, role in (("vera", "viewer"), ("aldo", "auditor"), ("paula", "approver")):
        page = signed_in(browser, guarded, name)
        assert f"{name}@example.org, {role}" in page.locator(".st-key-signed-in").inner_text()
        buttons = {
            word: page.get_by_role("button", name=re.compile(f"{word}( as .*)?$")).last
            for word in ("Comment", "Decide", "Sign")
        }
        offered[role] = {word for word, button in buttons.items() if button.is_enabled()}
        if role == "auditor":
            page.get_by_label("Comment, or the reason for your decision").fill("Look <b>again</b>")
            buttons["Comment"].click()
            page.get_by_text("Look <b>again</b>").first.wait_for()
        if role == "approver":
            page.locator(".st-key-review-sign").get_by_text("Accept").click()
            page.get_by_label(re.compile("In your own words")).fill(SENTENCE)
            buttons["Sign"].click()
            page.get_by_text(re.compile("valid: what was signed is what is there")).first.wait_for()
        if role == "viewer":
            page.goto("/new_audit")
            page.get_by_text(re.compile("cannot start or stop runs; that needs the role auditor")).wait_for()
        page.context.close()
    assert offered == {"viewer": set(), "auditor": {"Comment"}, "approver": {"Comment", "Decide", "Sign"}}
    entries, faults = ledger.read(run)
    assert faults == []
    assert [(e.author, e.role, e.kind) for e in entries] == [
        ("aldo@example.org", "auditor", "comment"), ("paula@example.org", "approver", "signature"),
    ]  # fmt: skip
    assert re.fullmatch(r"signed in at http://localhost:\d+ as paula", entries[1].how)


def test_a_changed_finding_voids_the_signature_and_says_which(browser: Any, guarded: str, run: Run) -> None:
    assert [e.kind for e in ledger.read(run)[0]][-1] == "signature"
    path = run.path / "findings" / "npo" / "drift.cka.json"
    path.write_text(path.read_text().replace('"seconds"', '"seconds" '))
    page = signed_in(browser, guarded, "vera")
    page.get_by_text(re.compile("void: changed since: drift.cka")).first.wait_for()
    page.context.close()


def test_signing_out_closes_the_door(browser: Any, guarded: str) -> None:
    page = signed_in(browser, guarded, "vera")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="End session").click()  # the provider asks
    page.get_by_role("button", name="Sign in").wait_for()
    page.goto("/review?run=people")
    page.get_by_role("button", name="Sign in").wait_for()
    page.context.close()
