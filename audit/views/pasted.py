"""A case file that was pasted or uploaded: its text as data whose paths are absolute and lie below a root."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit._caseevidence import placed
from audit._casepaths import below, place, place_part
from audit.errors import CaseError
from audit.subjects.files import HUB
from audit.subjects.systems.kinds import KIND, SYSTEMS, system_class

LONGEST = 200_000
"""Characters of a case file; longer ones hold something else."""
EXAMPLE = """name = "Guards"
[subjects.original]
path = "models/original"
[[subjects.candidates]]
name = "eco"
path = "models/original"
kind = "embedding_guard"
entities = ["Thea Salter"]
[corpora]
forget = "forget.jsonl"
retain = "retain.jsonl"
holdout = "holdout.jsonl\""""
"""What a text field shows while it is empty."""
PLAIN_KEYS = ("entity_block",)


def data_of(text: str, root: Path) -> dict[str, Any]:
    """The data of a case file from its text; relative paths start at `root`.

    Raises CaseError with a sentence for what is no case file, is not there, or lies outside of `root`.
    """
    from audit._caseschema import parse

    if len(text) > LONGEST:
        raise CaseError(f"This text has {len(text):,} characters; a case file has at most {LONGEST:,}.")
    try:
        data = tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise CaseError(f"This is not valid TOML: {error or 'too deeply nested'}.") from error
    parse(data)
    subjects = {
        role: [_subject(one, one["name"], root) for one in entry]
        if role == "candidates"
        else _subject(entry, role, root)
        for role, entry in data["subjects"].items()
    }
    found = {**data, "subjects": subjects}
    found["corpora"] = {split: _corpus(split, source, root) for split, source in data["corpora"].items()}
    if "dictionaries" in data:
        found["dictionaries"] = [
            {**one, "path": str(below(root, root, one["path"], f"Dictionary {number}"))} if one.get("path") else one
            for number, one in enumerate(data["dictionaries"], start=1)
        ]
    if "evidence" in data:
        found["evidence"] = {
            id: placed(id, values, root, root) if isinstance(values, Mapping) else values
            for id, values in data["evidence"].items()
        }
    return found


def _subject(entry: Mapping[str, Any], name: str, root: Path) -> dict[str, Any]:
    """A subject's entry with the model, the base, and the parts of a system as absolute paths."""
    found = dict(entry)
    found["path"] = place(found["path"], f"The model of {name}", root, root)
    if isinstance(found.get("base"), str):
        found["base"] = place(found["base"], f"The base of {name}", root, root)
    if found.get(KIND) in SYSTEMS:
        kind = system_class(found[KIND])
        for key in (*kind.models, *kind.folders, *kind.files):
            if isinstance(found.get(key), str) and found[key]:
                found[key] = place_part(found[key], f"The {key} of {name}", root, root, of=kind.kind_of(key))
    return found


def _corpus(split: str, source: Any, root: Path) -> Any:
    if split in PLAIN_KEYS or str(source).startswith(HUB):
        return source
    return str(below(root, root, source, f"The {split} corpus"))
