"""The evidence table of a case file: what is asked, with which settings, and the files that settings name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit._casepaths import below
from audit.catalogue import CATALOGUE, check_id, evidence_class, files_of, make
from audit.errors import CaseError


def evidence_of(
    table: Mapping[str, Any], base: Path | None = None, root: Path | None = None
) -> tuple[tuple[str, ...] | None, dict[str, dict[str, Any]]]:
    """`only` and the settings of each evidence, checked against the catalogue.

    Files that settings name are looked for from `base` and read; without it, what is in them is not looked at.
    """
    only: tuple[str, ...] | None = None
    settings: dict[str, dict[str, Any]] = {}
    for id, values in table.items():
        if id == "only":
            only = _only(values)
        elif not isinstance(values, Mapping):
            raise CaseError(f'"evidence.{id}" is {values!r:.60}; expected a table [evidence."family.name"], or only.')
        elif id not in CATALOGUE and any(f"{id}.{name}" in CATALOGUE for name in values):
            name = next(name for name in values if f"{id}.{name}" in CATALOGUE)
            raise CaseError(f'Write [evidence."{id}.{name}"] with quotes, since the dot is part of the id.')
        else:
            make(id, values)
            settings[id] = dict(values) if base is None else placed(id, values, base, root)
    return only, settings


def placed(id: str, values: Mapping[str, Any], base: Path, root: Path | None) -> dict[str, Any]:
    """Settings of an evidence, the files among them as absolute paths and found to hold what they should.

    Raises CaseError when a file is not there, does not lie below `root`, or holds something else.
    """
    found = dict(values)
    for name in files_of(evidence_class(id)):
        if found.get(name):
            what = f'Setting "{name}" of "{id}"'
            path = below(root, base, str(found[name]), what)
            if not path.is_file():
                raise CaseError(f"{what} names no file: looked for {path}.")
            found[name] = str(path)
    evidence = make(id, found)
    if files_of(evidence_class(id)):
        evidence.check_files()  # type: ignore[attr-defined]
    return found


def _only(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not values or not all(isinstance(id, str) for id in values):
        raise CaseError(f'"evidence.only" is {values!r:.60}; expected a list of ids such as ["behaviour.recall"].')
    for id in values:
        check_id(id)
    return tuple(dict.fromkeys(values))
