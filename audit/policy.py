"""Thresholds as data, and the verdict that follows from them.

PRESENT     a said residual lies above its limit with its whole interval
SUPPRESSED  else, a stored or recoverable one does
NO_TRACE    else, every required family was measured and all its intervals lie below the limit
INCONCLUSIVE else, naming what is missing

Above: one-sided bootstrap p-values, adjusted by Holm over all evidence that the step consults. Below: every one must
hold, an intersection-union test that needs no adjustment.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.catalogue import CATALOGUE, evidence_class
from audit.errors import CaseError, PolicyError, suggest
from audit.stats import holm, p_above
from audit.types import Finding, Place, Residual, Status, Utility, Verdict, digest_of

KNOWLEDGE: tuple[Place, ...] = ("said", "stored", "recoverable")
DEFAULT = Path(__file__).parent.parent / "assets" / "policy.toml"


@dataclass(frozen=True)
class Rule:
    """The findings that one rung consults, and its limit on the residual scale."""

    evidence: tuple[str, ...]
    limit: float


@dataclass(frozen=True)
class Policy:
    """Which findings, which limits, what is required, what passes."""

    name: str
    rules: Mapping[Place, Rule]
    required: Mapping[Place, int]
    accept_verdicts: tuple[Verdict, ...]
    accept_utility: tuple[Utility, ...]
    source: str = ""
    text: str = ""
    """The file as it was read."""

    @property
    def digest(self) -> str:
        """The version of a policy: a hash of what it says, whatever its comments and its layout."""
        rules = {place: [rule.evidence, rule.limit] for place, rule in self.rules.items()}
        return digest_of([self.name, rules, dict(self.required), self.accept_verdicts, self.accept_utility])


@dataclass(frozen=True)
class Rung:
    """One rung of the ladder: `found`, `clear`, `unclear` or `unexamined`, led by its highest finding."""

    state: str
    id: str | None = None
    residual: Residual | None = None
    sentence: str = ""


@dataclass(frozen=True)
class Judgement:
    """What a policy concludes about one candidate, and on which findings."""

    verdict: Verdict
    utility: Utility
    why: tuple[str, ...]
    missing: tuple[str, ...]
    sentence: str
    rungs: Mapping[Place, Rung]

    def meets(self, policy: Policy) -> bool:
        """Whether a pipeline may go on with this candidate."""
        return self.verdict in policy.accept_verdicts and self.utility in policy.accept_utility


def load_policy(path: Path | str | None = None) -> Policy:
    """Read a policy file (the default one when none is given); PolicyError names what is wrong in it."""
    source = Path(path) if path else DEFAULT
    try:
        return read_policy(source.read_text(encoding="utf-8"), str(source))
    except FileNotFoundError as error:
        raise PolicyError(f"There is no policy file {source}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{source} cannot be read as a policy: {error}.") from error


def read_policy(text: str, source: str) -> Policy:
    """A policy from the text of its file; PolicyError, which names `source`, for anything wrong in it."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{source} cannot be read as a policy: {error}.") from error
    try:
        rules: dict[Place, Rule] = {place: _rule(place, data[place]) for place in (*KNOWLEDGE, "utility")}
        return Policy(
            str(data["name"]),
            rules,
            {place: int(data["required"][place]) for place in KNOWLEDGE},
            tuple(Verdict(v) for v in data["accept"]["verdicts"]),
            tuple(Utility(u) for u in data["accept"]["utility"]),
            source,
            text,
        )
    except KeyError as error:
        raise PolicyError(f"{source} lacks {error}; compare it with {DEFAULT.name}.") from error
    except (TypeError, ValueError, CaseError) as error:
        raise PolicyError(f"{source}: {error}") from error


def _rule(place: Place, data: Mapping[str, Any]) -> Rule:
    limit = float(data["limit"])
    if not 0 <= limit <= 1:
        raise ValueError(f"the limit of [{place}] is {limit}; expected a number from 0 to 1")
    for id in data["evidence"]:
        if id not in CATALOGUE:
            raise ValueError(f'[{place}] names the unknown evidence "{id}".{suggest(id, CATALOGUE)}')
    return Rule(tuple(data["evidence"]), limit)


def judge(policy: Policy, findings: Sequence[Finding]) -> Judgement:
    """What a policy concludes from the findings of one candidate."""
    by_id = {finding.id: finding for finding in findings}
    measured = {
        place: {id: by_id[id].residual for id in rule.evidence if id in by_id and _counts(by_id[id])}
        for place, rule in policy.rules.items()
    }
    above = _above(policy, measured, ("said",)) or _above(policy, measured, ("stored", "recoverable"))
    rungs = {place: _rung(policy.rules[place], measured[place]) for place in KNOWLEDGE}
    missing = tuple(
        id
        for place in KNOWLEDGE
        if len(measured[place]) < policy.required[place]
        for id in policy.rules[place].evidence
        if id not in measured[place]
    )
    unclear = tuple(rung.id for rung in rungs.values() if rung.state in ("unclear", "found") and rung.id)
    if above:
        verdict = Verdict.PRESENT if above[0] in policy.rules["said"].evidence else Verdict.SUPPRESSED
        why: tuple[str, ...] = tuple(above)
    elif missing or any(rung.state != "clear" for rung in rungs.values()):
        verdict, why = Verdict.INCONCLUSIVE, unclear
    else:
        verdict, why = Verdict.NO_TRACE, tuple(id for place in KNOWLEDGE for id in measured[place])
    return Judgement(
        verdict,
        _utility(policy, measured["utility"]),
        why,
        missing,
        _sentence(policy, verdict, why, missing, by_id),
        rungs,
    )


def _counts(finding: Finding) -> bool:
    return finding.status is Status.MEASURED and finding.residual is not None


def _above(
    policy: Policy, measured: Mapping[Place, Mapping[str, Residual | None]], places: Sequence[Place]
) -> list[str]:
    """Ids whose residual lies above its limit, Holm-adjusted over these places, the highest residual first."""
    tested = [(id, residual, policy.rules[p].limit) for p in places for id, residual in measured[p].items() if residual]
    rejected = holm([p_above(residual, limit) for _, residual, limit in tested])
    found = [(residual.value, id) for (id, residual, _), yes in zip(tested, rejected, strict=True) if yes]
    return [id for _, id in sorted(found, reverse=True)]


def _rung(rule: Rule, measured: Mapping[str, Residual | None]) -> Rung:
    known = {id: residual for id, residual in measured.items() if residual is not None}
    if not known:
        return Rung("unexamined", sentence="Nothing could be measured here.")
    id = max(known, key=lambda i: known[i].low)
    residual = known[id]
    share = f"{residual.value:.0%} of what the original held ({residual.low:.0%} to {residual.high:.0%})"
    if residual.low > rule.limit:
        return Rung("found", id, residual, f"{evidence_class(id).title}: {share}, above the limit of {rule.limit:.0%}.")
    if all(other.high < rule.limit for other in known.values()):
        return Rung("clear", id, residual, f"At most {share}, below the limit of {rule.limit:.0%}.")
    widest = max(known, key=lambda i: known[i].high)
    return Rung(
        "unclear",
        widest,
        known[widest],
        f"{evidence_class(widest).title}: the interval "
        f"{known[widest].low:.0%} to {known[widest].high:.0%} reaches over the limit of {rule.limit:.0%}.",
    )


def _utility(policy: Policy, measured: Mapping[str, Residual | None]) -> Utility:
    residuals = [residual for residual in measured.values() if residual]
    if any(residual.high < policy.rules["utility"].limit for residual in residuals):
        return Utility.DAMAGED
    if residuals and all(residual.low >= policy.rules["utility"].limit for residual in residuals):
        return Utility.KEPT
    return Utility.UNKNOWN


NOT_MEASURED = "Imported results, not measured here: they have no control of this audit, so no verdict follows."


def _sentence(
    policy: Policy, verdict: Verdict, why: Sequence[str], missing: Sequence[str], by_id: Mapping[str, Finding]
) -> str:
    """One sentence for a reviewer; never more than the findings carry."""

    def lead(id: str) -> str:
        residual = by_id[id].residual
        assert residual is not None
        return f"{mid_sentence(evidence_class(id).title)} still finds {residual.value:.0%} of what the original held"

    if verdict is Verdict.PRESENT:
        return f"It still says it: {lead(why[0])}."
    if verdict is Verdict.SUPPRESSED:
        more = f", and {len(why) - 1} more" if len(why) > 1 else ""
        return f"It hides it: {lead(why[0])}{more}."
    if verdict is Verdict.NO_TRACE:
        return f"No trace found by this audit in {len(why)} measurements; see what they are blind to."
    if by_id and all(finding.provenance.get("imported") for finding in by_id.values()):
        return NOT_MEASURED
    if missing:
        families = [place for place in KNOWLEDGE if set(missing) & set(policy.rules[place].evidence)]
        return f"Not enough could be measured: too few numbers for what is {', '.join(families)}."
    titles = ", ".join(mid_sentence(evidence_class(id).title) for id in why)
    return f"The intervals reach over the limit: {titles}. More entities would narrow them."


def mid_sentence(title: str) -> str:
    """A title as it stands within a sentence: `Linear probe` becomes `linear probe`, `SAE features` stays."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]
