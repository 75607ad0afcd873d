"""Value vectors that a person names: as "layer:dim", or by a ConceptVectors file (Hong et al. 2024)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audit.errors import CaseError, suggest

FORM = re.compile(r"(\d{1,4}):(\d{1,7})")


def given_vectors(vectors: Sequence[str]) -> list[tuple[int, int]]:
    """ "layer:dim" strings as pairs; raises CaseError for anything else."""
    pairs = []
    for text in vectors:
        match = FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise CaseError(f'vectors holds {text!r}; expected block and neuron from 0, such as "23:743".')
        pairs.append((int(match[1]), int(match[2])))
    return pairs


def named_vectors(file: str, concept: str = "") -> tuple[str, ...]:
    """The vectors of one concept of a ConceptVectors file, or of all of them, as "layer:dim", each once.

    Raises CaseError when the file is no such file, or does not know the concept.
    """
    found = read_concept_vectors(Path(file))
    if concept and concept not in found:
        raise CaseError(f'{file} knows no concept "{concept}".{suggest(concept, found)}')
    return tuple(dict.fromkeys(name for names in ([found[concept]] if concept else found.values()) for name in names))


def read_concept_vectors(path: Path) -> dict[str, list[str]]:
    """The vectors of a ConceptVectors JSON file as the setting `vectors` takes them: concept -> its "layer:dim".

    Raises CaseError when the file is not such a list.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CaseError(f"{path} cannot be read as a ConceptVectors file ({reason}); {SHAPE}.") from error
    if not isinstance(entries, list) or not entries:
        raise CaseError(f"{path} holds no list of concepts; {SHAPE}.")
    found: dict[str, list[str]] = {}
    for number, entry in enumerate(entries, start=1):
        concept = entry.get("Concept") if isinstance(entry, Mapping) else None
        if not isinstance(concept, str) or not concept.strip():
            raise CaseError(f"Entry {number} of {path} names no Concept; {SHAPE}.")
        place = f'Entry {number} of {path} ("{concept}")'
        found.setdefault(concept, []).append(f"{_whole(entry, 'Layer', place)}:{_whole(entry, 'Dim', place)}")
    return found


SHAPE = "expected a JSON list of objects with Concept, Layer and Dim, the last two counted from 0"


def _whole(entry: Mapping[str, Any], key: str, place: str) -> int:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise CaseError(f"{place} has {key} {value!r}; {SHAPE}.")
    return value
