"""Documents → results, so that one bad entry keeps its own file out and not a whole tree.

A reader is given everything that it knows at once, because a reference serves the models of other folders. Only when
that fails are the files at fault looked for: alone, then folder by folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from audit.errors import ResultsError
from audit.interop.document import Document
from audit.interop.result import Result

BROKEN = (ResultsError, LookupError, AttributeError, TypeError, ValueError, ArithmeticError)
"""What a reader raises on an entry that is not laid out as its tool writes it."""
Known = Sequence[tuple[Document, str]]


def convert(reader: ModuleType, documents: Known) -> tuple[list[Result], dict[Path, str]]:
    """The results of a reader's documents, and for each file that was left out the reason."""
    if not documents:
        return [], {}
    left: dict[Path, str] = dict(reader.set_aside(documents)) if hasattr(reader, "set_aside") else {}
    results, error = _try(reader, documents)
    if error is None:
        return results, left
    kept: list[Known] = []
    for folder in _folders(documents):
        bad = _at_fault(reader, folder)
        left |= bad
        kept += [rest] if (rest := [each for each in folder if each[0].path not in bad]) else []
    results, error = _try(reader, [each for folder in kept for each in folder])
    if error is None:
        return results, left
    for bad_one in reversed(kept):  # each folder is sound by itself: two of them contradict each other
        results, still = _try(reader, [each for folder in kept if folder is not bad_one for each in folder])
        if still is None:
            return results, left | {document.path: _reason(reader, document, error) for document, _ in bad_one}
    return [], left | {document.path: _reason(reader, document, error) for folder in kept for document, _ in folder}


def _try(reader: ModuleType, documents: Known) -> tuple[list[Result], Exception | None]:
    try:
        results = list(reader.convert(documents)) if documents else []
        for result in results:
            _once(reader, documents, result)
    except BROKEN as error:
        return [], error
    return results, None


def _once(reader: ModuleType, documents: Known, result: Result) -> None:
    """Raise ResultsError when a metric stands twice in one result: the later one would be stored over the first."""
    counts = Counter(metric.id for metric in result.metrics)
    twice = next((id for id, count in counts.items() if count > 1), None)
    if twice is None:
        return
    own = [each for each in documents if each[0].path in result.files]
    holders = [str(each[0].path) for each in own if twice in set(_ids(reader, [each]))]
    files = " and ".join(holders or map(str, result.files))
    raise ResultsError(f"{twice} of {result.model} stands twice, in {files}: one of the two would be lost.")


def _ids(reader: ModuleType, documents: Known) -> Iterator[str]:
    try:
        for result in reader.convert(documents):
            yield from (metric.id for metric in result.metrics)
    except BROKEN:
        return


def _folders(documents: Known) -> list[Known]:
    found: dict[Path, list[tuple[Document, str]]] = {}
    for document, kind in documents:
        found.setdefault(document.path.parent, []).append((document, kind))
    return list(found.values())


def _at_fault(reader: ModuleType, folder: Known) -> dict[Path, str]:
    """The files of a folder that cannot be read: those that fail alone where the others then do, else all of them."""
    _, error = _try(reader, folder)
    if error is None:
        return {}
    alone = {document.path: failed for document, kind in folder if (failed := _try(reader, [(document, kind)])[1])}
    rest = [each for each in folder if each[0].path not in alone]
    if not alone or _try(reader, rest)[1] is not None:
        alone = {document.path: error for document, _ in folder}
    return {document.path: _reason(reader, document, alone[document.path]) for document, _ in folder
            if document.path in alone}  # fmt: skip


def _reason(reader: ModuleType, document: Document, error: Exception) -> str:
    if isinstance(error, ResultsError):
        return str(error)
    what = f"an entry lacks {error}" if isinstance(error, KeyError) else str(error)
    return f"{document.path} is not laid out as {reader.TOOL} writes it: {what}."
