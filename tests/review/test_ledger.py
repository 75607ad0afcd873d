"""The ledger in a real database of either kind: append-only, never forked, whole after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audit.errors import CaseError, Refused, StoreError
from audit.policy import Policy
from audit.review import chain, database, ledger, seen
from audit.review.roles import Identity, Role
from audit.store import Run
from tests.review.conftest import ALICE

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.usefixtures("kept_in")


def writer(run: Run, *arguments: object) -> subprocess.Popen[bytes]:
    """A process of its own that writes comments."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.review.writer", str(run.path), *map(str, arguments)], cwd=ROOT
    )


def test_reading_creates_nothing(run: Run, kept_in: str) -> None:
    assert ledger.read(run) == ([], [])
    assert [path.name for path in run.path.parent.iterdir()] == ["people"]


def test_what_was_written_is_read_back(run: Run, policy: Policy) -> None:
    text = "<b>bold</b> \u202e [a](b) 😀 \ud800 \0 'quoted' :name %s"
    ledger.write(run, ALICE, "comment", policy, candidate="npo", evidence="drift.cka", text=text)
    ledger.write(run, ALICE, "decision", policy, candidate="npo", evidence="drift.cka", decision="needs_work")
    ledger.write(run, ALICE, "signature", policy, text="I read both findings.", decision="accept")
    entries, faults = ledger.read(run)
    assert faults == []
    assert [(e.sequence, e.kind, e.candidate, e.evidence, e.decision) for e in entries] == [
        (1, "comment", "npo", "drift.cka", ""), (2, "decision", "npo", "drift.cka", "needs_work"),
        (3, "signature", "", "", "accept"),
    ]  # fmt: skip
    assert entries[0].text == "<b>bold</b> \u202e [a](b) 😀 ?  'quoted' :name %s"
    assert {(e.author, e.role, e.how) for e in entries} == {(ALICE.author, "approver", ALICE.how)}
    assert list(entries[0].seen["findings"]) == ["npo/drift.cka"]
    assert list(entries[2].seen["findings"]) == ["npo/behaviour.recall", "npo/drift.cka"]
    assert entries[2].seen["policy"] == policy.digest
    assert entries[2].time.endswith("+00:00")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET line = 'x' WHERE sequence = 1",
        "DELETE FROM ledger WHERE sequence = 2",
        "DELETE FROM ledger",
        "TRUNCATE ledger",
        "INSERT OR REPLACE INTO ledger (run, sequence, previous, hash, line) VALUES ('people', 1, 'p', 'h', 'l')",
        "INSERT INTO ledger (run, sequence, previous, hash, line) VALUES ('people', 3, 'not the last hash', 'h', 'l')",
        "INSERT INTO ledger (run, sequence, previous, hash, line) SELECT run, 9, hash, 'h', 'l' FROM ledger"
        " WHERE sequence = 2",
    ],
)
def test_the_database_refuses_to_change_what_was_written(
    run: Run, policy: Policy, kept_in: str, statement: str
) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    for number in range(2):
        ledger.write(run, ALICE, "comment", policy, text=str(number))
    before = ledger.raw(run)
    if ("TRUNCATE" in statement and "sqlite" in kept_in) or ("REPLACE" in statement and "postgresql" in kept_in):
        pytest.skip("this kind of database has no such statement")
    with pytest.raises(StoreError, match="append-only|at its end only") as refusal, database.writing(kept_in) as raw:
        raw.execute(text(statement))
    assert isinstance(refusal.value.__cause__, DBAPIError)
    assert ledger.raw(run) == before


def test_two_processes_at_once_never_fork_the_chain(run: Run) -> None:
    writers = [writer(run, name, 12) for name in ("left", "right")]
    assert [process.wait(120) for process in writers] == [0, 0]
    entries, faults = ledger.read(run)
    assert faults == []
    assert [entry.sequence for entry in entries] == list(range(1, 25))
    for name in ("left", "right"):
        assert [e.text for e in entries if e.author == name] == [f"{name} {number}" for number in range(12)]


def test_a_kill_in_the_middle_of_a_write_leaves_the_ledger_whole(run: Run, policy: Policy, tmp_path: Path) -> None:
    ledger.write(run, ALICE, "comment", policy, text="before")
    before = ledger.raw(run)
    process = writer(run, "killed", 1, tmp_path / "inserted")
    deadline = time.monotonic() + 60
    while not (tmp_path / "inserted").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    assert ledger.raw(run) == before
    ledger.write(run, ALICE, "comment", policy, text="after")
    entries, faults = ledger.read(run)
    assert faults == []
    assert [entry.text for entry in entries] == ["before", "after"]


def test_a_kill_at_any_moment_leaves_only_whole_lines(run: Run, policy: Policy) -> None:
    process = writer(run, "busy", 10_000)
    deadline = time.monotonic() + 60
    while len(ledger.read(run)[0]) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait(20)
    entries, faults = ledger.read(run)
    assert faults == []
    assert [entry.text for entry in entries] == [f"busy {number}" for number in range(len(entries))]
    assert ledger.write(run, ALICE, "comment", policy, text="after").sequence == len(entries) + 1


def test_an_older_schema_is_brought_up_to_date_with_what_it_holds(run: Run, policy: Policy, kept_in: str) -> None:
    from sqlalchemy import inspect, text

    engine = database._engine(kept_in)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        database.upgrade(connection, "0001")
    with engine.connect() as connection:
        assert not inspect(connection).has_table("runs")
    entry = chain.Entry("people", 1, "2026-01-01T00:00:00.000000+00:00", "old", "approver", "x", "comment", "npo", "",
                        "kept", "", {}, chain.sha256({}), chain.FIRST)  # fmt: skip
    entry = chain.Entry(**{**entry.__dict__, "hash": chain.hash_of(entry)})
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        ledger._insert(connection, "people", entry)
    assert ledger.read(run) == ([entry], [])  # which brings it up to date
    with engine.connect() as connection:
        assert inspect(connection).has_table("runs")
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == database.REVISION
    assert ledger.write(run, ALICE, "comment", policy, text="new").previous == entry.hash


def test_a_database_of_a_newer_version_is_left_alone(run: Run, policy: Policy, kept_in: str) -> None:
    from sqlalchemy import text

    ledger.write(run, ALICE, "comment", policy, text="one")
    with database.writing(kept_in) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="revision 9999"):
        ledger.read(run)


def test_who_may_write_what(run: Run, policy: Policy) -> None:
    viewer, auditor = (Identity("x", role, "test") for role in (Role.VIEWER, Role.AUDITOR))
    with pytest.raises(Refused, match="cannot comment; that needs the role auditor or approver"):
        ledger.write(run, viewer, "comment", policy, text="no")
    ledger.write(run, auditor, "comment", policy, text="yes")
    with pytest.raises(Refused, match="cannot decide; that needs the role approver"):
        ledger.write(run, auditor, "decision", policy, candidate="npo", decision="accept")
    with pytest.raises(Refused, match="cannot sign"):
        ledger.write(run, auditor, "signature", policy, text="I looked at it all.", decision="accept")
    assert [entry.text for entry in ledger.read(run)[0]] == ["yes"]


def test_what_is_missing_is_said(run: Run, policy: Policy) -> None:
    for kind, given, sentence in (
        ("comment", {}, "needs a text"),
        ("comment", {"text": "x" * 10_001}, "10001 characters"),
        ("comment", {"text": "x", "decision": "accept"}, "no decision for a comment"),
        ("decision", {"decision": "maybe"}, "accept, reject, needs_work"),
        ("signature", {"text": "ok", "decision": "accept"}, "needs a sentence"),
        ("comment", {"text": "x", "candidate": "npu"}, 'no candidate "npu"'),
        ("comment", {"text": "x", "candidate": "npo", "evidence": "drift.map"}, "no finding drift.map"),
        ("poem", {"text": "x"}, "no kind of entry"),
    ):  # fmt: skip
        with pytest.raises((CaseError, StoreError), match=sentence):
            ledger.write(run, ALICE, kind, policy, **given)
    assert ledger.read(run) == ([], [])


def test_what_changed_after_the_page_was_drawn_is_not_signed(run: Run, policy: Policy) -> None:
    from tests.test_store import finding

    shown = chain.sha256(seen.look(run, policy, "npo"))
    run.put("npo", finding("drift.cka", value=0.5))
    with pytest.raises(CaseError, match="changed since the page was drawn"):
        ledger.write(run, ALICE, "signature", policy, candidate="npo", text="I looked at it all.", decision="accept",
                     expected=shown)  # fmt: skip
    shown = chain.sha256(seen.look(run, policy, "npo"))
    entry = ledger.write(run, ALICE, "signature", policy, candidate="npo", text="I looked at it all.",
                         decision="accept", expected=shown)  # fmt: skip
    assert entry.digest == shown


def test_a_run_out_of_a_bundle_brings_its_ledger_along(run: Run, policy: Policy, tmp_path: Path) -> None:
    for number in range(2):
        ledger.write(run, ALICE, "comment", policy, text=str(number))
    lines = ledger.raw(run)
    copy = Run(run.path.rename(run.path.parent / "elsewhere"))  # another name, so that the database knows nothing of it
    (copy.path / ledger.EXPORT).write_bytes(lines)
    assert ledger.raw(copy) == lines
    ledger.write(copy, ALICE, "comment", policy, text="2")
    entries, faults = ledger.read(copy)
    assert faults == []
    assert [entry.text for entry in entries] == ["0", "1", "2"]
    altered = Run(copy.path.rename(copy.path.parent / "altered"))
    (altered.path / ledger.EXPORT).write_bytes(lines.replace(b'"text":"0"', b'"text":"9"'))
    with pytest.raises(StoreError, match=r"line 1 was altered.*Nothing can be added"):
        ledger.write(altered, ALICE, "comment", policy, text="3")


def test_runs_have_chains_of_their_own(run: Run, policy: Policy) -> None:
    from tests.test_store import new_run

    other = new_run(run.path.parent / "others")
    ledger.write(run, ALICE, "comment", policy, text="one")
    ledger.write(other, ALICE, "comment", policy, text="two")
    assert [json.loads(line)["sequence"] for line in (ledger.raw(run) + ledger.raw(other)).splitlines()] == [1, 1]
