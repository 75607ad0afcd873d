"""Reading and writing the ledger of a run: comments, decisions, signatures.

The database holds the lines. A run that came out of a bundle brings them along as `reviews.jsonl`; they are read from
there, and taken over when the first line is added here.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import CaseError, StoreError
from audit.policy import Policy
from audit.review import chain, database, roles, seen
from audit.review.chain import FIRST, Entry, LineFault
from audit.review.roles import Identity
from audit.store import Run

if TYPE_CHECKING:
    from sqlalchemy import Connection

EXPORT = "reviews.jsonl"
DEMO = Path(__file__).parent.parent.parent / "assets" / "demo" / "run"
LONGEST = 10_000
SHORTEST_SENTENCE = 12


def key_of(run: Run) -> str:
    """What a run is called in the ledger: its folder's name."""
    path = run.path.resolve()
    return "shipped-demo" if path == DEMO.resolve() else path.name


def url_of(run: Run) -> str:
    """The database of a run's ledger: beside the run; for the shipped demo, beside the runs made here."""
    path = run.path.resolve()
    return database.url_for(database.runs_root() if path == DEMO.resolve() else path.parent)


def read(run: Run) -> tuple[list[Entry], list[LineFault]]:
    """Every entry of a run in order, and every line that is not as it was written; StoreError when unreachable."""
    return chain.read_lines(raw(run))


def raw(run: Run) -> bytes:
    """The lines of a run's ledger as they are stored; empty when nobody wrote any."""
    with database.reading(url_of(run)) as connection:
        lines = _lines(connection, key_of(run)) if connection is not None else []
    if lines:
        return "".join(f"{line}\n" for line in lines).encode()
    try:
        return (run.path / EXPORT).read_bytes()
    except OSError:
        return b""


def write(
    run: Run,
    who: Identity,
    kind: str,
    policy: Policy,
    *,
    candidate: str = "",
    evidence: str = "",
    text: str = "",
    decision: str = "",
    expected: str | None = None,
) -> Entry:
    """Add a comment, a decision or a signature. `expected` is the digest of what was shown to whoever writes.

    Raises Refused for somebody who may not, CaseError for what is missing or has changed since it was shown,
    StoreError when the database cannot be written.
    """
    if kind not in chain.KINDS:
        raise CaseError(f'"{kind}" is no kind of entry; expected {", ".join(chain.KINDS)}.')
    roles.require(who, roles.ACTIONS[kind])
    text = _checked(kind, text, decision)
    now = seen.look(run, policy, candidate, evidence, fresh=True)
    if evidence and not now["findings"]:
        raise CaseError(f"There is no finding {evidence} of {candidate or 'any candidate'} to write about.")
    digest = chain.sha256(now)
    if expected is not None and expected != digest:
        raise CaseError("What you looked at has changed since the page was drawn. Look at it again, then write.")
    entry = Entry(
        key_of(run), 0, "", who.author, str(who.role), who.how, kind, candidate, evidence, text, decision, now, digest,
        FIRST,
    )  # fmt: skip
    with database.writing(url_of(run), lock=entry.run) as connection:
        return _append(connection, run, entry)


def _checked(kind: str, text: str, decision: str) -> str:
    """The text as it is stored; CaseError for what cannot be."""
    text = text.strip().encode("utf-8", "replace").decode().replace("\0", "")
    if len(text) > LONGEST:
        raise CaseError(f"The text has {len(text)} characters; at most {LONGEST} fit.")
    if kind == "comment" and not text:
        raise CaseError("A comment needs a text.")
    if kind == "signature" and len(text) < SHORTEST_SENTENCE:
        raise CaseError("A signature needs a sentence in your own words: what you looked at and what you conclude.")
    allowed = ("",) if kind == "comment" else chain.DECISIONS
    if decision not in allowed:
        raise CaseError(f'"{decision}" is no decision for a {kind}; expected {", ".join(allowed) or "none"}.')
    return text


def _append(connection: Connection, run: Run, entry: Entry) -> Entry:
    """Seal an entry onto the last line and store it, within a transaction that holds the ledger's lock."""
    key = key_of(run)
    lines = _lines(connection, key) or _taken_over(connection, run, key)
    if lines:
        try:
            last = chain.read_line(lines[-1])
        except ValueError as error:
            raise StoreError(f"The ledger of {run.path} was altered: its last line {error}.") from error
        entry = replace(entry, run=last.run, sequence=last.sequence + 1, previous=last.hash)
    else:
        entry = replace(entry, sequence=1, previous=FIRST)
    entry = replace(entry, time=datetime.now(UTC).isoformat(timespec="microseconds"))
    entry = replace(entry, hash=chain.hash_of(entry))
    _insert(connection, key, entry)
    return entry


def _taken_over(connection: Connection, run: Run, key: str) -> list[str]:
    """The lines that a run brought along, put into the database; StoreError when they were altered."""
    try:
        entries, faults = chain.read_lines((run.path / EXPORT).read_bytes())
    except OSError:
        return []
    if faults:
        raise StoreError(f"{run.path / EXPORT}, line {faults[0].line} {faults[0].what}. Nothing can be added to it.")
    for entry in entries:
        _insert(connection, key, entry)
    return [chain.line_of(entry) for entry in entries]


def _insert(connection: Connection, key: str, entry: Entry) -> None:
    from sqlalchemy import text

    row: dict[str, Any] = {"run": key, "sequence": entry.sequence, "previous": entry.previous}
    row |= {"hash": entry.hash, "line": chain.line_of(entry)}
    connection.execute(
        text(f"INSERT INTO ledger ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})"), row
    )


def _lines(connection: Connection, key: str) -> list[str]:
    from sqlalchemy import text

    found = connection.execute(text("SELECT line FROM ledger WHERE run = :run ORDER BY sequence"), {"run": key})
    return list(found.scalars())
