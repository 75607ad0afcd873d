"""Small files in the layouts that the tools document, written by the tests; real ones are in the shared data."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from audit.interop.document import read
from audit.interop.result import ImportedRow, Metric, Result
from audit.views.items import stored


def write(path: Path, data: Any) -> Path:
    """JSON as Python's json writes it: NaN and Infinity as bare tokens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def convert(reader: ModuleType, root: Path, *paths: Path, references: tuple[Path, ...] = ()) -> list[Result]:
    """What a reader makes of some files; each must be recognised by its content."""
    documents = []
    for path in (*references, *paths):
        document = read(path, root, path in references)
        kind = reader.recognise(document)
        assert kind, f"{path} is not recognised"
        documents.append((document, kind))
    return list(reader.convert(documents))


def head(result: Result, id: str) -> ImportedRow:
    """The first row of a metric."""
    return ImportedRow(*found(result, id).rows[0])


def found(result: Result, id: str) -> Metric:
    return next(metric for metric in result.metrics if metric.id == id)


def said(result: Result) -> list[str | None]:
    """The stored answers; None where none is stored."""
    [metric] = [metric for metric in result.metrics if metric.id.endswith(".generations")]
    return [stored(text) for text in metric.table["said"]]


@pytest.fixture
def rows() -> type[ImportedRow]:
    return ImportedRow
