"""The shape of a case file as pydantic models, and their errors as sentences. Imported only when a file is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StringConstraints, ValidationError  # noqa: TID253

from audit.errors import CaseError, suggest

Text = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1)]
Whole = Annotated[StrictInt, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SubjectEntry(BaseModel):
    """Where a subject is; every other key is a setting of its loader, which checks it."""

    model_config = ConfigDict(extra="allow")
    path: Text


class CandidateEntry(SubjectEntry):
    """A candidate also has the name that people read, and its place where it is a checkpoint of a series."""

    name: Text
    series: Text | None = None
    step: Annotated[StrictInt, Field(ge=0)] | None = None


class ScorerEntry(_Strict):
    """Who says what a generator draws, and real labelled images to test it on."""

    path: Text
    images: Text | None = None


class JudgeEntry(_Strict):
    """A second classifier, trained on its own."""

    path: Text


class Subjects(_Strict):
    """Who is audited."""

    original: SubjectEntry
    reference: SubjectEntry | None = None
    second_reference: SubjectEntry | None = None
    scorer: ScorerEntry | None = None
    judge: JudgeEntry | None = None
    candidates: Annotated[list[CandidateEntry], Field(min_length=1)]


class Corpora(_Strict):
    """What is asked."""

    forget: Text
    retain: Text
    holdout: Text | None = None
    real_authors: Text | None = None
    world_facts: Text | None = None
    entity_block: Whole | None = None


class DictionaryEntry(_Strict):
    """A dictionary of features: a folder, or a release and an id."""

    path: Text | None = None
    release: Text | None = None
    id: Text | None = None
    layer: Whole | None = None


class CaseFile(_Strict):
    """A whole case file; the evidence table is checked by the catalogue."""

    name: Text
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] = 0
    template: Literal["plain", "qa", "chat"] = "plain"
    subjects: Subjects
    corpora: Corpora
    dictionaries: list[DictionaryEntry] = Field(default_factory=list)
    evidence: dict[str, Any] = Field(default_factory=dict)


def parse(data: Mapping[str, Any]) -> CaseFile:
    """Plain data → checked case file; raises CaseError that names the first wrong key and what was expected."""
    try:
        return CaseFile.model_validate(dict(data))
    except ValidationError as error:
        # A misspelt key leaves two complaints, unknown and missing; the first one holds the suggestion.
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        raise CaseError(_sentence(dict(problems[0]))) from None


def _sentence(problem: dict[str, Any]) -> str:
    where, kind, found = problem["loc"], problem["type"], problem["input"]
    key = _name(where)
    if kind == "extra_forbidden":
        return f'Unknown key "{key}".{suggest(str(where[-1]), _known(where[:-1]))}'
    if kind == "missing":
        return f'"{key}" is missing; expected {_expected(where)}.'
    return f'"{key}" is {_show(found)}; expected {_expected(where)}.'


def _name(where: Sequence[str | int]) -> str:
    """The key as a reader of the file would write it: candidates[2].path, counted from 1."""
    name = ""
    for part in where:
        name += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def _known(where: Sequence[str | int]) -> list[str]:
    """The keys of the table that a place lies in."""
    tables: dict[tuple[str, ...], type[BaseModel]] = {
        (): CaseFile, ("subjects",): Subjects, ("corpora",): Corpora,
        ("dictionaries",): DictionaryEntry,
    }  # fmt: skip
    table = tables.get(tuple(part for part in where if isinstance(part, str)), CandidateEntry)
    return list(table.model_fields)


EXPECTED: dict[str, str] = {
    "name": "a name, as text",
    "seed": "a whole number, 0 or more",
    "template": '"plain", "qa" or "chat"',
    "path": "the path of a folder or a hub id, as text",
    "subjects": "tables [subjects.original] and [[subjects.candidates]]",
    "original": "a table [subjects.original] with a path",
    "reference": "a table [subjects.reference] with a path",
    "second_reference": "a table [subjects.second_reference] with a path",
    "candidates": "at least one [[subjects.candidates]] with a name and a path",
    "corpora": "a table [corpora] with forget and retain",
    "forget": "a file of items or a hub id, as text",
    "retain": "a file of items or a hub id, as text",
    "holdout": "a file of items or a hub id, as text",
    "real_authors": "a file of items or a hub id, as text",
    "world_facts": "a file of items or a hub id, as text",
    "entity_block": "the number of consecutive items of one entity, 1 or more",
    "dictionaries": "tables [[dictionaries]] with a path, or with a release and an id",
    "release": "a release that sae-lens knows, as text",
    "id": "an id within the release, as text",
    "layer": "the number of the block whose output it reads, 1 or more",
    "evidence": "a table [evidence]",
}


def _expected(where: Sequence[str | int]) -> str:
    if where and isinstance(where[-1], int):
        return "a table with a name and a path"
    return EXPECTED.get(str(where[-1]) if where else "", "something else")


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return repr(value)[:80]
