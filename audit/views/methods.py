"""Every evidence described from its own class: what the methods page shows, and the form asks for."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

import pandas as pd

from audit.catalogue import CATALOGUE, by_default, evidence_class
from audit.figures.cards import Card
from audit.policy import Policy
from audit.types import Access, Place, Verdict


@dataclass(frozen=True)
class Setting:
    """One setting of an evidence: its name, its default, and what it means."""

    name: str
    default: Any
    meaning: str


@cache  # by id; a bound below the number of evidence would forget each before it is asked for again
def settings(id: str) -> tuple[Setting, ...]:
    """The settings of an evidence with their defaults; a meaning is the string that stands below the field."""
    return settings_of_class(evidence_class(id))


def settings_of_class(cls: type[Any]) -> tuple[Setting, ...]:
    """As `settings`, of any dataclass whose fields are settings."""
    words = _field_docs(cls)
    return tuple(Setting(f.name, f.default, words.get(f.name, "")) for f in dataclasses.fields(cast(Any, cls)))


def _field_docs(cls: type[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            found |= _own_docs(base)
    return found


def _own_docs(cls: type[Any]) -> dict[str, str]:
    """The strings below the fields that a class itself declares."""
    try:
        body = cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]).body
    except (OSError, TypeError):
        return {}
    found = {}
    for field, below in zip(body, body[1:], strict=False):
        text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, str):
            found[field.target.id] = inspect.cleandoc(text)
    return found


def columns(id: str) -> dict[str, str]:
    """What each column of an evidence's table means, with its unit."""
    hints = get_type_hints(evidence_class(id).row, include_extras=True)
    return {name: str(get_args(hint)[1]) for name, hint in hints.items() if get_origin(hint) is Annotated}


def control(id: str) -> str:
    """Which null an evidence is read against, in words."""
    if evidence_class(id).place == "utility":
        return "guessing: no model that never knew what was to be kept exists"
    if id == "privacy.reference":
        return "guessing, 0.5: the reference is a part of the attack itself"
    if id.startswith("privacy."):
        return "the same attack on the reference; without one, guessing (0.5), since the attack itself uses the holdout"
    return "the reference, a model trained without the forget set; without one, facts that no model saw (holdout)"


def when(id: str) -> str:
    """Whether an audit measures it unless told otherwise."""
    return "in every audit that it fits" if id in by_default() else "only when it is asked for by its id: it is long"


def access(id: str) -> str:
    """How deep an evidence must look into a model."""
    needs = evidence_class(id).needs
    return ", ".join(str(level) for level in Access if level in needs)


def facts(id: str) -> dict[str, str]:
    """What is to be known of an evidence before its numbers are read, by name."""
    cls = evidence_class(id)
    return {
        "Formula": cls.formula,
        "What it cannot tell": cls.blind_to,
        "Read against": control(id),
        "Needs": access(id),
        "Id in case files and on the command line": id,
        "After": cls.source,
        "Measured": when(id),
    }


def card(id: str) -> Card:
    """All of an evidence on one card."""
    cls = evidence_class(id)
    tables = {"Settings": settings_table(id), "Columns of its table": columns_table(id)}
    return Card(cls.title, cls.question, facts(id), tables)


def settings_table(id: str) -> pd.DataFrame:
    """Settings as a table: setting, default, meaning."""
    return pd.DataFrame(
        [(s.name, str(s.default), s.meaning) for s in settings(id)], columns=["setting", "default", "meaning"]
    )


def columns_table(id: str) -> pd.DataFrame:
    """Columns as a table: column, meaning."""
    return pd.DataFrame(columns(id).items(), columns=["column", "meaning"])


def by_place() -> dict[Place, list[str]]:
    """The catalogue, sorted by where an evidence looks."""
    found: dict[Place, list[str]] = {"said": [], "stored": [], "recoverable": [], "utility": []}
    for id in CATALOGUE:
        found[evidence_class(id).place].append(id)
    return found


def policy_table(policy: Policy) -> pd.DataFrame:
    """The thresholds: where, limit, what is consulted, how much of it must be measured."""
    rows = [
        (place, rule.limit, ", ".join(rule.evidence), policy.required.get(place, 0))
        for place, rule in policy.rules.items()
    ]
    return pd.DataFrame(rows, columns=["where", "limit", "consults", "at least measured"])


def accepted(policy: Policy) -> str:
    """What a pipeline may let pass, in words."""
    verdicts = " or ".join(str(Verdict(v)).replace("_", " ") for v in policy.accept_verdicts)
    return f"verdict {verdicts}, with utility {' or '.join(str(u) for u in policy.accept_utility)}"
