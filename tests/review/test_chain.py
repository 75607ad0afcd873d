"""The chain by hand, and the property that any altered byte of an exported ledger is located."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.review.chain import Entry, check, exported, hash_of, read_lines

# Three entries with their hashes worked out here, without the code under test: JSON with sorted keys and no spaces,
# UTF-8, SHA-256 of everything but "hash"; the first names 64 zeros, each later one the hash of the one before.
SEEN = {
    "case": "c" * 64,
    "policy": "p",
    "policy_name": "Default",
    "verdicts": {},
    "findings": {"npo/drift.cka": "f" * 64},
}
TEXTS = ("Why is layer 4 so far off?", "Fine: “seed” 😀", "I looked at both.")


def by_hand() -> list[bytes]:
    lines, previous = [], "0" * 64
    kinds = (("comment", ""), ("decision", "accept"), ("signature", "accept"))
    for place, (text, (kind, decision)) in enumerate(zip(TEXTS, kinds, strict=True)):
        fields = {
            "run": "people", "sequence": place + 1, "time": f"2026-11-24T10:00:0{place}.000000+00:00",
            "author": "alice",
            "role": "approver", "how": "signed in", "kind": kind, "candidate": "npo", "evidence": "drift.cka",
            "text": text, "decision": decision, "seen": SEEN, "previous": previous,
            "digest": hashlib.sha256(json.dumps(SEEN, sort_keys=True, separators=(",", ":")).encode()).hexdigest(),
        }  # fmt: skip
        plain = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        previous = hashlib.sha256(plain).hexdigest()
        full = {**fields, "hash": previous}
        lines.append(json.dumps(full, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
    return lines


LINES = by_hand()


def test_a_chain_worked_by_hand_is_read_and_holds() -> None:
    entries, faults = read_lines(b"".join(LINES))
    assert faults == []
    assert [entry.text for entry in entries] == list(TEXTS)
    assert exported(entries) == b"".join(LINES)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_one_altered_byte_is_located(data: st.DataObject) -> None:
    whole = b"".join(LINES)
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    line = whole[:place].count(b"\n") + 1
    _, faults = read_lines(whole[:place] + bytes([other]) + whole[place + 1 :])
    assert faults
    assert min(fault.line for fault in faults) == line


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_byte_put_in_or_taken_out_is_located(data: st.DataObject) -> None:
    whole = b"".join(LINES)
    place = data.draw(st.integers(0, len(whole) - 2))
    line = whole[:place].count(b"\n") + 1
    for altered in (whole[:place] + whole[place + 1 :], whole[:place] + b" " + whole[place:]):
        _, faults = read_lines(altered)
        assert min(fault.line for fault in faults) == line


@pytest.mark.parametrize(
    ("order", "line", "what"),
    [
        ([0, 2], 2, "1 line before it was removed"),
        ([1, 2], 1, "1 line before it was removed"),
        ([2], 1, "2 lines before it were removed"),
        ([0, 0, 1, 2], 2, "was inserted"),
        ([0, 1, 0, 2], 3, "was inserted"),
        ([1, 0, 2], 1, "was inserted"),  # and line 3 then lacks one before it
        ([0, 2, 1], 2, "was inserted"),  # or line 3 was moved down: the lines alone cannot tell
    ],
)
def test_lines_that_were_removed_put_in_or_moved_are_named(order: list[int], line: int, what: str) -> None:
    _, faults = read_lines(b"".join(LINES[place] for place in order))
    assert (faults[0].line, what in faults[0].what) == (line, True), faults


def test_a_line_that_was_rewritten_with_a_hash_of_its_own_breaks_the_next_one() -> None:
    entries, _ = read_lines(b"".join(LINES))
    forged = replace(entries[1], text="Not fine.", hash="")
    forged = replace(forged, hash=hash_of(forged))
    faults = check([entries[0], forged, entries[2]])
    assert [fault.line for fault in faults] == [3]
    assert "line 2" in faults[0].what


def test_a_line_of_another_run_is_named() -> None:
    entries, _ = read_lines(b"".join(LINES))
    foreign = replace(entries[2], run="others", hash="")
    foreign = replace(foreign, hash=hash_of(foreign))
    assert [(f.line, f.what) for f in check([*entries[:2], foreign])] == [(3, "belongs to another run: others")]


def test_a_digest_that_is_not_of_what_was_seen_is_found() -> None:
    entries, _ = read_lines(b"".join(LINES))
    last = replace(entries[2], seen={**SEEN, "findings": {}}, hash="")
    assert [fault.line for fault in check([*entries[:2], replace(last, hash=hash_of(last))])] == [3]


def test_an_empty_ledger_holds() -> None:
    assert read_lines(b"") == ([], [])
    assert isinstance(read_lines(LINES[0])[0][0], Entry)
