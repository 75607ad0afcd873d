"""A small run to review, and databases of both kinds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.policy import Policy, load_policy
from audit.review import database
from audit.review.roles import Identity, Role
from audit.store import Run
from tests import postgres
from tests.test_store import finding, new_run

ALICE = Identity("alice@example.org", Role.APPROVER, "signed in at https://id.example.org as a1")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A complete run of one candidate with two findings."""
    run = new_run(tmp_path / "runs" / "people")
    for id, value in (("behaviour.recall", 0.2), ("drift.cka", 0.6)):
        run.put("npo", finding(id, value=value))
    run.write_manifest({"failed": []})
    return run


@pytest.fixture
def policy() -> Policy:
    return load_policy()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a real PostgreSQL server of our own."""
    if postgres.binaries() is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no PostgreSQL server is installed, but CI must have one: python tests/postgres.py")
        pytest.skip("no PostgreSQL server is installed: python tests/postgres.py")
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def kept_in(request: pytest.FixtureRequest, run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The ledger in a database of either kind, empty; gives its URL."""
    if request.param == "sqlite":
        monkeypatch.delenv(database.VARIABLE, raising=False)
        yield database.url_for(run.path.parent)
        return
    from sqlalchemy import create_engine, make_url, text

    url = request.getfixturevalue("postgresql")
    name = f"t{os.urandom(6).hex()}"
    server = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    monkeypatch.setenv(database.VARIABLE, make_url(url).set(database=name).render_as_string())
    yield database.url_for(run.path.parent)
    database._engine(database.url_for(run.path.parent)).dispose()
