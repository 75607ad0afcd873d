"""One file of results as it was written: JSON, JSON lines (also when it is named .json) or CSV, with its digest.

NaN and Infinity come through as such, so that a reader can make a visible gap of them; a key that stands twice in one
JSON object is an error, because the earlier value would vanish without a trace.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.errors import ResultsError

SUFFIXES = (".json", ".jsonl", ".csv")
NOT_RESULTS = ("tokenizer.json", "vocab.json")
"""Large files that lie beside results in a model's folder."""
MOST_BYTES = 2**30


@dataclass(frozen=True)
class Document:
    """A parsed file. `data` is what JSON holds; for JSON lines and CSV it is the list of records."""

    path: Path
    data: Any
    format: str
    """json, lines or csv."""
    sha256: str
    root: Path
    """The folder that was searched; names of models are made from the path below it."""
    reference: bool = False
    """Given as a reference: results of a model that never saw the forget set."""

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of JSON lines or CSV; a JSON object alone is one record."""
        if isinstance(self.data, dict):
            return [self.data]
        return [record for record in self.data if isinstance(record, dict)] if isinstance(self.data, list) else []


def find(path: Path) -> Iterator[Path]:
    """The files below a folder that may hold results, in order; or the file itself. ResultsError for neither."""
    if path.is_file():
        yield path
    elif path.is_dir():
        for found in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in found.relative_to(path).parts)
            index = found.name.endswith(".index.json")
            if found.suffix in SUFFIXES and found.name not in NOT_RESULTS and found.is_file() and not (hidden or index):
                yield found
    else:
        raise ResultsError(f"There is nothing at {path}; expected a results file or a folder that holds some.")


def read(path: Path, root: Path, reference: bool = False) -> Document:
    """Parse one file; raises ResultsError that names file, line and what is wrong."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ResultsError(f"{path} has more than 1 GiB; results of that size cannot be imported.")
        raw = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path} is not UTF-8 text (byte {error.start}).") from None
    data, format = _csv(path, text) if path.suffix == ".csv" else _json(path, text)
    return Document(path, data, format, hashlib.sha256(raw).hexdigest(), root, reference)


def _json(path: Path, text: str) -> tuple[Any, str]:
    if not text.strip():
        raise ResultsError(f"{path} is empty.")
    try:
        return parse(text, str(path)), "json"
    except json.JSONDecodeError as error:
        if error.msg != "Extra data" and path.suffix != ".jsonl":
            where = f"line {error.lineno}, column {error.colno}"
            raise ResultsError(f"{path}, {where}: not valid JSON ({error.msg}). Was it cut off?") from None
    records = []
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: texts hold other separators
        if line.strip():
            try:
                records.append(parse(line, f"{path}, line {number}"))
            except json.JSONDecodeError as error:
                raise ResultsError(f"{path}, line {number}: not valid JSON ({error.msg}). Was it cut off?") from None
    return records, "lines"


class _Twice(dict[str, Any]):
    """An object in which a key stands more than once."""

    key = ""


def parse(text: str, where: str) -> Any:
    """JSON, in which a key that stands twice in one object is a ResultsError that says where."""
    found: list[_Twice] = []

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) == len(pairs):
            return built
        seen: set[str] = set()
        twice = _Twice(built)
        twice.key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        found.append(twice)
        return twice

    try:
        data = json.loads(text, object_pairs_hook=build)
    except RecursionError:
        raise ResultsError(f"{where} is nested too deeply.") from None
    if found:
        place = next((path for path, value in _walk(data, "") if value is found[0]), "") or "the top"
        raise ResultsError(f'{where}: the key "{found[0].key}" stands twice in {place}; one of the two would be lost.')
    return data


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, value
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, inner in pairs:
        yield from _walk(inner, f"{path}/{key}" if path else str(key))


def _csv(path: Path, text: str) -> tuple[list[dict[str, Any]], str]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(reader, None)
        if not header:
            raise ResultsError(f"{path} is empty.")
        twice = {column for column in header if header.count(column) > 1 and column}
        if twice:
            raise ResultsError(f"{path}: the column {sorted(twice)[0]!r} stands twice.")
        rows = []
        for fields in reader:
            if len(fields) != len(header) and fields:
                found, wanted = len(fields), len(header)
                raise ResultsError(f"{path}, line {reader.line_num}: {found} fields, but the head names {wanted}.")
            if fields:
                rows.append(dict(zip(header, fields, strict=True)))
    except csv.Error as error:
        raise ResultsError(f"{path}, line {reader.line_num}: not valid CSV ({error}).") from None
    return rows, "csv"
