"""Files of other tools → a run that opens like any other; what is read is recognised by what it holds.

An imported run's `case.json` names every source file with its digest, its tool and its kind, and what was left out with
the reason. Its findings have the status IMPORTED: they have no control of this audit, and no verdict counts them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from audit import __version__
from audit.errors import ResultsError, StoreError
from audit.interop import (
    conversion,
    depth_score,
    leak_at_k,
    lm_eval,
    muse,
    open_unlearning,
    rwku,
    saebench,
    tamper,
    tofu,
)
from audit.interop.candidates import named
from audit.interop.cards import READABLE, card
from audit.interop.document import Document, find, read
from audit.interop.names import parse
from audit.interop.result import Metric, Result
from audit.store import Run
from audit.types import Finding, Status, digest_of

READERS: tuple[ModuleType, ...] = (
    open_unlearning, tofu, muse, rwku, depth_score, leak_at_k, lm_eval, tamper, saebench,
)  # fmt: skip


@dataclass
class Found:
    """Everything that was read: recognised documents by tool, and what was left out with the reason."""

    by_tool: dict[str, list[tuple[Document, str]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    unknown: int = 0
    """Files that are results of no tool that is known here."""

    @property
    def documents(self) -> list[tuple[Document, str, str]]:
        """Document, tool and kind of everything that was recognised."""
        return [(document, tool, kind) for tool, found in self.by_tool.items() for document, kind in found]

    def convert(self) -> list[Result]:
        """Every reader's results; files that cannot be read so are left out, with the reason."""
        results: list[Result] = []
        for reader in READERS:
            made, left = conversion.convert(reader, self.by_tool.get(reader.TOOL, []))
            used = {path for result in made for path in result.files}
            if left:
                own = [each for each in self.by_tool[reader.TOOL] if each[0].path in used or each[0].path not in left]
                self.by_tool[reader.TOOL] = own
            self.left_out |= {str(path): reason for path, reason in left.items()}
            results += made
        return results

    def shown(self) -> dict[Path, str]:
        """What each file is called: its path below what was given; in full where two would be called alike."""
        documents = [document for document, _, _ in self.documents]
        names = {document.path: _shown(document.path, document.root) for document in documents}
        count = Counter(names.values())
        return {path: name if count[name] == 1 else str(path) for path, name in names.items()}


def recognise(document: Document) -> tuple[str, str] | None:
    """Tool and kind of a document, by its content; None when no reader knows it."""
    for reader in READERS:
        kind = reader.recognise(document)
        if kind:
            return reader.TOOL, kind
    return None


def look(paths: Iterable[Path], references: Iterable[Path] = ()) -> Found:
    """Read and recognise all files of some paths.

    A file that is named itself must be readable and known: ResultsError else. Below a folder a damaged file is left
    out, with the reason, so that one broken file does not keep a whole tree from being imported.
    """
    found = Found()
    seen: set[Path] = set()
    for path, reference in [(p, True) for p in references] + [(p, False) for p in paths]:
        alone = path.is_file()
        root = path.parent if alone else path
        for file in find(path):
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            try:
                document = read(file, root, reference)
            except ResultsError as error:
                if alone:
                    raise
                found.left_out[str(file)] = str(error)
                continue
            known = recognise(document)
            if known is None:
                if alone:
                    raise ResultsError(f"{file} is no results file that can be imported. Known are: {READABLE}.")
                found.unknown += 1
                continue
            found.by_tool.setdefault(known[0], []).append((document, known[1]))
    return found


def import_results(
    paths: Sequence[Path], out: Path, references: Sequence[Path] = (), name: str = ""
) -> tuple[Run, Found]:
    """Write a run from other tools' files; raises ResultsError when none holds results, StoreError for `out`."""
    if (out / "case.json").exists():
        raise StoreError(f"{out} holds a run already; choose another folder with --out.")
    found = look(paths, references)
    results = found.convert()
    if not any(metric.rows for result in results for metric in result.metrics):
        reasons = " ".join(found.left_out.values())
        if reasons and [*paths] == [Path(path) for path in found.left_out]:
            raise ResultsError(reasons)
        raise ResultsError(
            f"Nothing below {', '.join(map(str, paths))} is a results file that can be imported. Known are: "
            f"{READABLE}. {reasons}".strip()
        )
    run = Run(out)
    candidates = named(results)
    with run.hold():
        run.write_plan(_plan(name or _title(paths), candidates, found))
        shown = found.shown()
        for candidate, of_it in candidates.items():
            for result in of_it:
                for metric in result.metrics:
                    run.put(candidate, finding_of(metric, result, found, shown))
        run.log("imported", files=len(found.documents), left_out=len(found.left_out))
        run.write_manifest({"imported": _now(), "failed": []})
    return run, found


def finding_of(metric: Metric, result: Result, found: Found, shown: Mapping[Path, str]) -> Finding:
    """A metric as a finding of status IMPORTED, or NOT_APPLICABLE where the files hold no number for it."""
    words = card(metric.id)
    assert words is not None, metric.id
    files = {shown[document.path]: document.sha256 for document, _, _ in found.documents
             if document.path in result.files}  # fmt: skip
    return Finding(
        id=metric.id,
        status=Status.NOT_APPLICABLE if metric.gap else Status.IMPORTED,
        reason=metric.gap,
        settings={},
        table=metric.table,
        items=metric.items,
        chart=words.chart,
        original=None,
        candidate=metric.estimate,
        reference=None,
        residual=None,
        seconds=0.0,
        provenance={
            "key": digest_of(["imported", __version__, metric.id, result.model, files]),
            "imported": {"tool": result.tool, "kind": result.kind, "files": files},
            "version": __version__,
        },
        place=words.place,
        null="",
        note="" if metric.gap else metric.note,
    )


def _plan(title: str, named: Mapping[str, Sequence[Result]], found: Found) -> dict[str, Any]:
    """What `case.json` holds: the keys of a measured run, and `imported`."""
    ids = dict.fromkeys(metric.id for results in named.values() for result in results for metric in result.metrics)
    shown = found.shown()
    of_file = {path: name for name, results in named.items() for result in results for path in result.files}
    return {
        "name": title,
        "seed": 0,
        "template": "none",
        "device": "nothing here (imported)",
        "started": _now(),
        "original": None,
        "reference": None,
        "candidates": [_subject(name, results[0]) for name, results in named.items()],
        "corpora": {},
        "dictionaries": [],
        "evidence": list(ids),
        "settings": {},
        "warnings": list(found.left_out.values()),
        "imported": {
            "files": [
                {
                    "path": shown[document.path],
                    "sha256": document.sha256,
                    "tool": tool,
                    "kind": kind,
                    "candidate": of_file.get(document.path, ""),
                    "reference": document.reference,
                }
                for document, tool, kind in found.documents
            ],
            "left_out": [{"path": path, "reason": reason} for path, reason in found.left_out.items()],
            "not_results": found.unknown,
        },
        "versions": {"palimpsest": __version__},
    }


def _subject(name: str, result: Result) -> dict[str, Any]:
    """A candidate with what its name says about method and hyper-parameters."""
    told = parse(result.model.split(" ")[0])
    return {
        "name": name,
        "path": result.model,
        "fingerprint": "",
        "settings": {},
        "model": told.model,
        "benchmark": told.benchmark,
        "split": told.split,
        "method": told.method,
        "role": told.role,
        "parameters": dict(told.parameters),
    }


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name


def _title(paths: Sequence[Path]) -> str:
    names = [path.resolve().name for path in paths]
    return f"Imported: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def in_words(run: Run) -> list[str]:
    """What was imported, in a line for each candidate; differences between a file and its own items are counted."""
    lines = []
    for name in run.candidates:
        findings = run.findings(name)
        rows = [row for finding in findings if "difference" in finding.table for row in finding.table["note"]]
        compared = sum(int(finding.table["difference"].notna().sum()) for finding in findings
                       if "difference" in finding.table)  # fmt: skip
        differ = sum(str(note).startswith("Differs:") for note in rows)
        gaps = sum(finding.status is not Status.IMPORTED for finding in findings)
        lines.append(
            f"{name}: {len(findings)} metrics, {compared} numbers recomputed and compared, {differ} differ, "
            f"{gaps} without a number."
        )
    return lines
