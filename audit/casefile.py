"""The case file: TOML → everything that an audit needs, checked before the first model is opened."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit._caseevidence import evidence_of
from audit._casepaths import below, place, place_part
from audit._casescorer import scorers_of
from audit._caseseries import check_series
from audit.corpora.check import check_corpora
from audit.corpora.read import read_corpus
from audit.dictionaries.place import block_of, block_of_folder
from audit.errors import CaseError, SubjectError
from audit.files import write_text
from audit.subjects.adapter import recorded_path
from audit.subjects.files import HUB, is_adapter
from audit.subjects.settings import settings_from
from audit.subjects.systems.kinds import KIND, system_class
from audit.types import (
    CORPORA,
    RESERVED,
    ROLES,
    SECOND,
    SPLITS,
    Case,
    Corpus,
    DictionarySpec,
    Role,
    Split,
    SubjectSpec,
    digest_of,
)

if TYPE_CHECKING:
    from audit._caseschema import CaseFile, SubjectEntry

NAME = re.compile(r"\w(?:[\w .+()-]{0,62}[\w+)-])?")


@dataclass(frozen=True)
class AuditPlan:
    """A whole audit: the candidates, what they are compared with, and what is asked."""

    name: str
    seed: int
    original: SubjectSpec
    reference: SubjectSpec | None
    candidates: tuple[SubjectSpec, ...]
    corpora: Mapping[Split, Corpus]
    template: str
    dictionaries: tuple[DictionarySpec, ...]
    only: tuple[str, ...] | None
    settings: Mapping[str, Mapping[str, Any]]
    warnings: tuple[str, ...]
    path: Path
    second_reference: SubjectSpec | None = None

    @property
    def digest(self) -> str:
        """Hash of what is asked of whom; the models' own hashes are not part of it."""
        second = [self.second_reference] if self.second_reference else []
        specs = [self.original, self.reference, *self.candidates, *second]
        return digest_of(
            [
                self.name,
                self.seed,
                [[s.name, s.role, s.path, dict(s.settings)] if s else None for s in specs],
                {split: corpus.digest for split, corpus in self.corpora.items()},
                self.template,
                [[d.path, d.release, d.id, d.layer] for d in self.dictionaries],
                self.only,
                {id: dict(values) for id, values in self.settings.items()},
            ]
        )

    def cases(self) -> tuple[Case, ...]:
        """One case for each candidate."""
        return tuple(
            Case(
                self.name,
                self.seed,
                self.original,
                candidate,
                self.reference,
                self.corpora,
                self.template,
                self.dictionaries,
                self.second_reference,
            )
            for candidate in self.candidates
        )


def read_plan(path: Path, *, root: Path | None = None) -> AuditPlan:
    """Read a case file and its corpora; nothing of a model is read but whether it is there.

    With `root`, every path must lie below it once symbolic links are followed. Raises CaseError and CorpusError.
    """
    path = Path(path)
    base = below(root, Path(), str(path), "The case file").parent
    file = _schema(path)
    try:
        subjects = _subjects(file, base, root)
        only, settings = evidence_of(file.evidence, base, root)
        corpora = _corpora(file, base, root)
        dictionaries = _dictionaries(file, base, root)
        warnings = check_corpora(corpora)
    except SubjectError as error:
        raise CaseError(f"{path}: {error}") from error
    except CaseError as error:
        raise CaseError(f"{path}: {error}") from error.__cause__
    if "reference" not in subjects and "holdout" not in corpora:
        warnings.insert(0, NO_CONTROL)
    if SECOND in subjects and subjects[SECOND][0].path == subjects["reference"][0].path:
        warnings.append(SAME_REFERENCE)
    return AuditPlan(
        name=file.name,
        seed=file.seed,
        original=subjects["original"][0],
        reference=subjects["reference"][0] if "reference" in subjects else None,
        candidates=tuple(subjects["candidate"]),
        corpora=corpora,
        template=file.template,
        dictionaries=dictionaries,
        only=only,
        settings=settings,
        warnings=tuple(warnings),
        path=path.resolve(),
        second_reference=subjects[SECOND][0] if SECOND in subjects else None,
    )


NO_CONTROL = (
    "There is neither a reference model nor a holdout corpus, so there is no control and hardly any evidence will have "
    "a number: add a model that was trained without the forget set, or facts of the same kind that no model ever saw."
)


SAME_REFERENCE = (
    "The second reference is the reference itself, so the line that shows how far two models that never knew lie apart "
    "shows no distance at all: give another model that was trained without the forget set."
)


def _schema(path: Path) -> CaseFile:
    from audit._caseschema import parse

    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise CaseError(f"There is no case file {path}; looked for {path.absolute()}.") from None
    except IsADirectoryError:
        raise CaseError(f"{path} is a folder; expected a case file such as {path / 'case.toml'}.") from None
    except OSError as error:
        raise CaseError(f"The case file {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise CaseError(f"The case file {path} is not UTF-8 text; save it as UTF-8.") from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise CaseError(f"The case file {path} is not valid TOML: {error or 'too deeply nested'}.") from error
    try:
        return parse(data)
    except CaseError as error:
        raise CaseError(f"{path}: {error}") from None


def _subjects(file: CaseFile, base: Path, root: Path | None) -> dict[Role, list[SubjectSpec]]:
    entries = file.subjects
    found: dict[Role, list[SubjectSpec]] = {
        "original": [_subject("original", "original", entries.original, base, root)]
    }
    if entries.reference is not None:
        found["reference"] = [_subject("reference", "reference", entries.reference, base, root)]
    if entries.second_reference is not None:
        if entries.reference is None:
            raise CaseError("There is a second reference but no [subjects.reference]; the first one is missing.")
        found[SECOND] = [_subject(SECOND, SECOND, entries.second_reference, base, root)]
    seen: dict[str, str] = {}
    for entry in entries.candidates:
        check_name(entry.name, seen)
        seen[entry.name.casefold()] = entry.name
    found["candidate"] = [
        replace(_subject(entry.name, "candidate", entry, base, root), series=entry.series or "", step=entry.step or 0)
        for entry in entries.candidates
    ]
    check_series(entries.candidates)
    if scorers := scorers_of(entries, base, root):
        return {
            role: [replace(spec, settings={**spec.settings, **scorers}) for spec in specs]
            for role, specs in found.items()
        }
    return found


def check_name(name: str, seen: Mapping[str, str]) -> None:
    """Raise CaseError for a candidate's name that cannot be the name of a folder, or is taken (`seen`, by casefold)."""
    if NAME.fullmatch(name) is None:
        safe = re.sub(r"[^\w.+()-]+", "-", name).strip("-. ")[:64] or "candidate-1"
        raise CaseError(
            f'The candidate name "{name[:80]}" cannot be the name of a folder; use letters, digits, spaces and . _ - + '
            f'( ), at most 64 of them, for example "{safe}".'
        )
    if name.casefold() in (*ROLES, SECOND):
        raise CaseError(f'A candidate cannot be called "{name}", the name of a role; choose another name.')
    if name.casefold() in RESERVED:
        raise CaseError(
            f'A candidate cannot be called "{name}": columns of the tables that are shown have this name; choose '
            f'another one, for example "{name}-1".'
        )
    if name.casefold() in seen:
        raise CaseError(f'Two candidates are called "{seen[name.casefold()]}" and "{name}"; give each its own name.')


def _subject(name: str, role: Role, entry: SubjectEntry, base: Path, root: Path | None) -> SubjectSpec:
    settings = dict(entry.model_extra or {})
    settings_from(settings, name)
    if KIND in settings:
        settings = _system(name, role, settings, base, root)
    if "base" in settings:
        settings["base"] = place(settings["base"], f"The base of {name}", base, root)
    spec = SubjectSpec(name, role, place(entry.path, f"The model of {name}", base, root), settings)
    recorded = recorded_path(Path(spec.path)) if Path(spec.path).is_dir() and is_adapter(Path(spec.path)) else None
    if recorded is not None:
        below(root, base, str(recorded), f"The base that the adapter of {name} names")
    return spec


def _system(name: str, role: Role, settings: dict[str, Any], base: Path, root: Path | None) -> dict[str, Any]:
    """The settings of a system with the models, folders and files among them as absolute paths that are there."""
    kind = system_class(settings[KIND])
    if role != "candidate":
        raise CaseError(
            f"The {role} is {kind.title}, but only a candidate can be a system; give the plain model that it is "
            "compared with."
        )
    for key in (*kind.models, *kind.folders, *kind.files):
        if settings.get(key):
            settings[key] = place_part(settings[key], f"The {key} of {name}", base, root, of=kind.kind_of(key))
    return settings


def _corpora(file: CaseFile, base: Path, root: Path | None) -> dict[Split, Corpus]:
    found: dict[Split, Corpus] = {}
    for split in CORPORA:
        source = getattr(file.corpora, split)
        if source is not None:
            if not source.startswith(HUB):
                below(root, base, source, f"The {split} corpus")
            block = file.corpora.entity_block if split in SPLITS else None  # general facts are one to an entity
            found[split] = read_corpus(source, split, base=base, entity_block=block)
            for item in found[split].items if root is not None else ():
                if item.image and item.image.path:
                    below(root, base, item.image.path, f"An image of the {split} corpus")
    return found


def _dictionaries(file: CaseFile, base: Path, root: Path | None) -> tuple[DictionarySpec, ...]:
    found = []
    for number, entry in enumerate(file.dictionaries, start=1):
        named = entry.path is not None, entry.release is not None and entry.id is not None
        if sum(named) != 1:
            raise CaseError(f"Dictionary {number} needs either a path, or a release and an id that sae-lens knows.")
        name = f"Dictionary {number}"
        if entry.path is not None:
            folder = below(root, base, entry.path, name)
            layer = entry.layer or block_of_folder(folder, name)
            found.append(DictionarySpec(layer, path=str(folder)))
        else:
            release, id = str(entry.release), str(entry.id)
            found.append(DictionarySpec(entry.layer or block_of(id, name), release=release, id=id))
    return tuple(found)


def write_plan(path: Path, data: Mapping[str, Any]) -> None:
    """Write a case file (TOML) from plain data, atomically.

    Raises CaseError for data that are no case file or that TOML cannot hold, StoreError when the disk refuses.
    """
    from audit._caseschema import parse
    from audit._toml import dumps

    text = dumps(data)
    evidence_of(parse(tomllib.loads(text)).evidence)
    write_text(Path(path), text)
