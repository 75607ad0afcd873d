"""The reviews of a run as pages, reports and programs show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from audit.catalogue import CATALOGUE, evidence_class
from audit.policy import Policy
from audit.review import chain, ledger, seen
from audit.review.chain import Entry, LineFault
from audit.review.signatures import Decided, Signature, decisions, signatures
from audit.store import Run
from audit.views.words import MARKS

DECISIONS = {"accept": "accepted", "reject": "rejected", "needs_work": "needs work"}
CHOICES = {"accept": "Accept", "reject": "Reject", "needs_work": "Needs work"}
SHORT = 16
"""Digits of a digest that are shown; all of them are in the ledger."""


@dataclass(frozen=True)
class Reviews:
    """A run's ledger beside what is there now."""

    entries: list[Entry]
    faults: list[LineFault]
    signatures: list[Signature]
    decided: dict[tuple[str, str], Decided]

    @property
    def sentence(self) -> str:
        """How far the review is, in one sentence; what was altered in the ledger comes first."""
        if self.faults:
            places = ", ".join(str(line) for line in sorted({fault.line for fault in self.faults}))
            return f"The ledger was altered: line {places}. No signature in it can be relied on."
        if not self.entries:
            return "Nobody has reviewed or signed this audit."
        valid = sum(one.valid for one in self.signatures)
        void = len(self.signatures) - valid
        return (
            f"{_count(len(self.entries), 'entry', 'entries')} in the ledger; "
            f"{_count(valid, 'signature holds', 'signatures hold')}, {void} {'is' if void == 1 else 'are'} void."
        )

    @property
    def signed(self) -> list[tuple[str, str, str, str]]:
        """Mark, state, sentence and scope of every signature, the latest first, as answers are shown."""
        return [signed(one, intact=not self.faults) for one in reversed(self.signatures)]

    def comments(self, candidate: str, evidence: str) -> list[Entry]:
        """What was said about one finding, or about a whole candidate or audit."""
        return [e for e in self.entries if (e.candidate, e.evidence) == (candidate, evidence) and e.text]


def open_reviews(run: Run, policy: Policy) -> Reviews:
    """The reviews of a run by a policy; StoreError when the database cannot be read."""
    entries, faults = ledger.read(run)
    if not entries:
        return Reviews([], faults, [], {})
    now: dict[str, Mapping[str, Any]] = {}

    def look(candidate: str) -> Mapping[str, Any]:
        if candidate not in now:
            known = candidate in ("", *run.candidates)
            now[candidate] = seen.look(run, policy, candidate) if known else {}
        return now[candidate]

    found = signatures(entries, look)
    decided = decisions(entries, look("")["findings"]) if any(e.kind == "decision" for e in entries) else {}
    return Reviews(entries, faults, found, decided)


def signed(one: Signature, *, intact: bool = True) -> tuple[str, str, str, str]:
    """One signature: whether it holds and why not, who signed what and when."""
    entry = one.entry
    what = entry.candidate or "the whole audit"
    if not intact:
        state, verdict = "unclear", "cannot be relied on: the ledger was altered"
    elif one.valid:
        state, verdict = "clear", "valid: what was signed is what is there"
    else:
        state, verdict = "found", f"void: changed since: {shortened(one.changed)}"
    head = f"{entry.author} ({entry.role}, {entry.how}) {DECISIONS[entry.decision]} {what} on {when(entry)}: {verdict}."
    later = " Signed again later." if one.superseded else ""
    scope = (
        f"“{entry.text}” Digest {entry.digest[:SHORT]}…, policy “{entry.seen.get('policy_name', '')}” version "
        f"{str(entry.seen.get('policy', ''))[:12]}, {len(entry.seen.get('findings', {}))} findings.{later}"
    )
    return {"clear": "✓", "found": "✕", "unclear": MARKS["unclear"]}[state], state, head, scope


def shortened(names: tuple[str, ...], most: int = 6) -> str:
    """What changed, by name; a long list is counted."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def when(entry: Entry) -> str:
    """Date and time of an entry, to the minute."""
    return f"{entry.time[:10]} {entry.time[11:16]} UTC"


def tables(reviews: Reviews) -> dict[str, pd.DataFrame]:
    """Decisions on findings and the whole ledger, as a report prints them."""
    last = {of for of in reviews.decided if of[1]}
    rows = [
        (of[0], title(of[1]), state_of(reviews, *of), reviews.decided[of].entry.author, reviews.decided[of].entry.text)
        for of in sorted(last)
    ]
    heads = ["candidate", "finding", "state", "by", "why"]
    return {"Decisions on findings": pd.DataFrame(rows, columns=heads), "The ledger": ledger_table(reviews.entries)}


def ledger_table(entries: list[Entry]) -> pd.DataFrame:
    """Every entry, the oldest first."""
    rows = [
        (e.sequence, when(e), e.author, e.role, e.how, e.kind, e.candidate or "all", e.evidence or "all",
         DECISIONS.get(e.decision, ""), e.text, e.digest[:SHORT], e.previous[:SHORT], e.hash[:SHORT])
        for e in entries
    ]  # fmt: skip
    heads = ["entry", "time", "author", "role", "identity", "kind", "candidate", "finding", "decision", "text",
             "digest of what was seen", "previous", "hash"]  # fmt: skip
    return pd.DataFrame(rows, columns=heads)


def state_of(reviews: Reviews, candidate: str, evidence: str) -> str:
    """What became of a finding in the review, in words."""
    decided = reviews.decided.get((candidate, evidence))
    if decided is None:
        return "open"
    return DECISIONS[decided.entry.decision] + ("" if decided.current else ", but it has changed since")


def findings_table(reviews: Reviews, candidate: str, answers: Mapping[str, str]) -> pd.DataFrame:
    """Every finding of a candidate with its state in the review and how often it was commented on."""
    rows = [
        (title(id), state_of(reviews, candidate, id), len(reviews.comments(candidate, id)), sentence, id)
        for id, sentence in answers.items()
    ]
    return pd.DataFrame(rows, columns=["finding", "state", "comments", "what it says", "id"])


def title(id: str) -> str:
    """What an evidence is called; its id where this version does not know it."""
    return evidence_class(id).title if id in CATALOGUE else id


def as_json(reviews: Reviews) -> dict[str, Any]:
    """Entries, head of the chain, signatures with their validity and decisions, for `show --json`."""
    return {
        "entries": len(reviews.entries),
        "head": reviews.entries[-1].hash if reviews.entries else chain.FIRST,
        "intact": not reviews.faults,
        "signatures": [
            {**_said(one.entry), "digest": one.entry.digest, "policy": one.entry.seen.get("policy", ""),
             "valid": one.valid and not reviews.faults, "changed": list(one.changed)}
            for one in reviews.signatures
        ],
        "decisions": [
            {**_said(decided.entry), "evidence": evidence, "current": decided.current}
            for (_, evidence), decided in reviews.decided.items()
        ],
    }  # fmt: skip


def _said(entry: Entry) -> dict[str, str]:
    names = ("candidate", "author", "role", "how", "time", "decision", "text")
    return {name: str(getattr(entry, name)) for name in names}


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
