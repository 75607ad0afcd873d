"""One entry of the ledger, its hash, and the check of a whole chain: standard library only, so it works anywhere.

An entry is one line of JSON, written in one way only (keys sorted, no spaces, UTF-8). Its hash is the SHA-256 of that
line without the hash itself; it holds the hash of the line before it, so that nothing can be altered, taken out or put
in without the chain showing where.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

FIRST = "0" * 64
"""What the first line names as its predecessor."""
KINDS = ("comment", "decision", "signature")
DECISIONS = ("accept", "reject", "needs_work")


@dataclass(frozen=True)
class Entry:
    """One line of the ledger of a run."""

    run: str
    sequence: int
    """1 for the first line."""
    time: str
    """UTC, ISO 8601 with microseconds."""
    author: str
    role: str
    how: str
    """How the author is known: signed in where, or not signed in."""
    kind: str
    candidate: str
    """Empty for the whole audit."""
    evidence: str
    """Empty for all findings of the candidate."""
    text: str
    decision: str
    """One of DECISIONS; empty for a comment."""
    seen: Mapping[str, Any]
    """What was looked at, as `audit.review.seen` describes it."""
    digest: str
    """SHA-256 of `seen`."""
    previous: str
    hash: str = ""


@dataclass(frozen=True)
class LineFault:
    """One line of a ledger (counted from 1) that is not as it was written, and what is wrong with it."""

    line: int
    what: str


def canonical(value: Any) -> str:
    """JSON written in the one way in which it is hashed."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def hash_of(entry: Entry) -> str:
    """The hash that an entry must hold."""
    return sha256({name: value for name, value in asdict(entry).items() if name != "hash"})


def line_of(entry: Entry) -> str:
    """An entry as its line, without the line end."""
    return canonical(asdict(entry))


def read_line(line: str) -> Entry:
    """The entry of a line; ValueError, in words, for a line that was not written by `line_of`."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("cannot be read as JSON") from error
    if not isinstance(data, dict) or set(data) != {field.name for field in fields(Entry)}:
        raise ValueError("does not hold the fields of an entry")
    wanted: dict[str, type] = {"sequence": int, "seen": dict}
    if any(type(value) is not wanted.get(name, str) for name, value in data.items()):
        raise ValueError("holds a value of another type than an entry has")
    entry = Entry(**data)
    if line_of(entry) != line:
        raise ValueError("is not written as the ledger writes its lines")
    return entry


def read_lines(data: bytes) -> tuple[list[Entry], list[LineFault]]:
    """The entries of an exported ledger that can be read, and everything that is wrong with it, by line."""
    if not data:
        return [], []
    lines = data.split(b"\n")
    ended = lines[-1] == b""
    entries: list[Entry | LineFault] = []
    for number, raw in enumerate(lines[:-1] if ended else lines, 1):
        try:
            entries.append(read_line(raw.decode()))
        except UnicodeDecodeError:
            entries.append(LineFault(number, "was altered: it is not UTF-8 text"))
        except ValueError as error:
            entries.append(LineFault(number, f"was altered: it {error}"))
    found = check(entries)
    if not ended and not any(fault.line == len(lines) for fault in found):
        found.append(LineFault(len(lines), "was cut: its line end is missing"))
    return [entry for entry in entries if isinstance(entry, Entry)], found


def check(entries: Sequence[Entry | LineFault]) -> list[LineFault]:
    """Recompute a chain; every line that was altered, removed or inserted, empty when it holds.

    A line that cannot be read stands in the list as its own fault.
    """
    found: list[LineFault] = []
    hashes, sequence = {FIRST}, 0  # what the next line may name as its predecessor; empty: unknown
    for place, entry in enumerate(entries):
        number = place + 1
        if isinstance(entry, LineFault):
            found.append(entry)
            hashes, sequence = set(), sequence + 1
            continue
        right = hash_of(entry)
        if entry.hash != right or entry.digest != sha256(entry.seen):
            found.append(LineFault(number, f"was altered: its hash is {right[:16]}…, it says {entry.hash[:16]}…"))
            hashes, sequence = {entry.hash, right}, sequence + 1
            continue
        if hashes and entry.previous not in hashes:
            after = entries[place + 1] if number < len(entries) else None
            if isinstance(after, Entry) and after.previous in hashes:
                found.append(LineFault(number, "was inserted: the line after it follows the line before it"))
                continue
            found.append(LineFault(number, _unlinked(entry.sequence - sequence - 1, number)))
        elif hashes and entry.sequence != sequence + 1:
            found.append(LineFault(number, f"was altered: it is entry {entry.sequence}, expected {sequence + 1}"))
        hashes, sequence = {entry.hash}, entry.sequence
    runs = [entry.run for entry in entries if isinstance(entry, Entry)]
    return found + [
        LineFault(number, f"belongs to another run: {entry.run}")
        for number, entry in enumerate(entries, 1)
        if isinstance(entry, Entry) and entry.run != runs[0]
    ]


def _unlinked(lacking: int, number: int) -> str:
    if lacking > 0:
        return f"does not follow the line before it: {lacking} line{'s' * (lacking > 1)} before it {_were(lacking)}"
    before = "the start of the ledger" if number == 1 else f"line {number - 1}"
    return f"does not follow {before}: one of the two was replaced or moved"


def _were(count: int) -> str:
    return "was removed" if count == 1 else "were removed"


def exported(entries: Iterable[Entry]) -> bytes:
    """A ledger as the file `reviews.jsonl`."""
    return "".join(f"{line_of(entry)}\n" for entry in entries).encode()
