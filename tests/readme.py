"""The parts of README.md that follow from the code: `python -m tests.readme --write` renews them, a test compares."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from audit.catalogue import CATALOGUE, by_default, evidence_class
from audit.policy import KNOWLEDGE, load_policy
from audit.terminal import VERDICT_WORDS
from audit.views import systems

README = Path(__file__).parent.parent / "README.md"


def evidence_table() -> str:
    """Every evidence: where it looks, what it asks, what it cannot see."""
    lines = ["| evidence | place | asks | cannot see |", "|---|---|---|---|"]
    for id in CATALOGUE:
        cls = evidence_class(id)
        asked = "" if id in by_default() else " (only when asked for)"
        lines.append(f"| `{id}`{asked} | {cls.place} | {cls.question} | {cls.blind_to} |")
    return "\n".join(lines)


def policy_table() -> str:
    """What the default policy consults."""
    policy = load_policy()
    lines = ["| rung | consults | limit |", "|---|---|---|"]
    for place in (*KNOWLEDGE, "utility"):
        rule = policy.rules[place]  # type: ignore[index]
        lines.append(f"| {place} | {', '.join(f'`{id}`' for id in rule.evidence)} | {rule.limit:g} |")
    return "\n".join(lines)


def systems_table() -> str:
    """Every kind of system that a candidate may be, and whose systems it covers."""
    lines = ["| kind | what it is | seen of it | covers |", "|---|---|---|---|"]
    for row in [*systems.table().itertuples(index=False), *systems.models().itertuples(index=False)]:
        kind, what, how, seen, covers = row
        lines.append(f"| `{kind}` | {what[:1].upper()}{what[1:]}. {how} | {seen} | {covers} |")
    return "\n".join(lines)


def verdict_words() -> str:
    """The four verdicts as they are written and shown."""
    return "\n".join(f"- `{verdict}`: {words}" for verdict, words in VERDICT_WORDS.items())


SECTIONS = {
    "evidence": evidence_table, "policy": policy_table, "verdicts": verdict_words, "systems": systems_table,
}  # fmt: skip


def renewed(text: str) -> str:
    """The README with every generated part as the code says it now."""
    for name, make in SECTIONS.items():
        pattern = re.compile(rf"(<!-- {name}: generated -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"README.md has no part for {name}.")
        text = pattern.sub(lambda m, make=make: m[1] + make() + m[2], text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    if "--write" in sys.argv:
        README.write_text(renewed(text), encoding="utf-8")
    elif renewed(text) != text:
        sys.exit("README.md is not what the code says; run `make readme`.")
