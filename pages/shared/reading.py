"""A new audit read as a plan once, and again only when the form or a file that it names was changed."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from audit._casepaths import below
from audit.casefile import AuditPlan, read_plan
from audit.views import intake, pasted

MOST = 8


@dataclass(frozen=True)
class Known:
    """A plan with its digest, which takes a pass over every item of every corpus."""

    plan: AuditPlan
    digest: str
    data: Mapping[str, Any] | None = None
    """What its case file will hold; None where there is one already."""


def case_file(typed: str, root: Path) -> Known:
    """The plan of a case file below `root`; raises CaseError and CorpusError with a sentence."""
    path = below(root, root, typed, "The case file")
    try:
        data: object = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        data = None  # reading it as a case says what is wrong
    stamps = intake.changes([str(path), data], path.parent)
    return _known(f"{path} below {root}", stamps, lambda: (read_plan(path, root=root), None))


def draft(given: intake.Draft, root: Path) -> Known:
    """The plan of a filled form; raises CaseError and CorpusError with a sentence."""

    def read() -> tuple[AuditPlan, Mapping[str, Any]]:
        data = intake.case_data(given, root)
        return intake.plan_from(data, root), data

    return _known(f"{given!r} below {root}", intake.changes(asdict(given), root), read)


def text(given: str, root: Path) -> Known:
    """The plan of a case file's text, whose paths start at `root`; raises CaseError and CorpusError with a sentence."""
    data = pasted.data_of(given, root)
    return _known(f"{given!r} below {root}", intake.changes(data, root), lambda: (intake.plan_from(data, root), data))


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _known(
    asked: str,
    stamps: tuple[tuple[str, int, int], ...],
    _read: Callable[[], tuple[AuditPlan, Mapping[str, Any] | None]],
) -> Known:
    plan, data = _read()
    return Known(plan, plan.digest, data)
