"""Whether a signature still holds, and which decision on a finding is the last: computed when shown, never stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from audit.review.chain import Entry
from audit.review.seen import changed

POLICY = "the policy"


@dataclass(frozen=True)
class Signature:
    """A signature beside what is there now."""

    entry: Entry
    changed: tuple[str, ...]
    """What differs from what was signed; empty when the signature holds."""
    superseded: bool
    """Whether somebody signed the same thing later, and that signature holds."""

    @property
    def valid(self) -> bool:
        """Whether what was signed is exactly what is there."""
        return not self.changed

    @property
    def broken(self) -> bool:
        """Whether a file was changed since and nobody signed again; another policy in force changes no file."""
        return not self.superseded and any(what != POLICY for what in self.changed)


def signatures(entries: Iterable[Entry], look: Callable[[str], Mapping[str, Any]]) -> list[Signature]:
    """Every signature in order; `look` says what is there now of a candidate, or of the whole audit ("")."""
    signed = [entry for entry in entries if entry.kind == "signature"]
    now = {candidate: look(candidate) for candidate in {entry.candidate for entry in signed}}
    found = [Signature(e, tuple(changed(e.seen, now[e.candidate])), False) for e in signed]
    return [
        Signature(one.entry, one.changed, any(_renews(later, one) for later in found[place + 1 :]))
        for place, one in enumerate(found)
    ]


def _renews(later: Signature, earlier: Signature) -> bool:
    return later.valid and later.entry.candidate == earlier.entry.candidate


@dataclass(frozen=True)
class Decided:
    """The last decision on a finding, and whether the finding is still the one that was decided on."""

    entry: Entry
    current: bool


def decisions(entries: Iterable[Entry], now: Mapping[str, str]) -> dict[tuple[str, str], Decided]:
    """The last decision by candidate and evidence; `now` holds the digest of every finding, as `seen` names them."""
    last = {(e.candidate, e.evidence): e for e in entries if e.kind == "decision"}
    return {of: Decided(entry, _same(entry, now)) for of, entry in last.items()}


def _same(entry: Entry, now: Mapping[str, str]) -> bool:
    findings = entry.seen.get("findings", {})
    return all(now.get(key) == digest for key, digest in findings.items())
