"""leak@k: `generations_n200*.json` (JSON lines named .json) and `model_evaluation_metrics.csv`.

    {"prompt": ..., "ground_truth": ..., "responses": [{"response": ..., "rougeL_recall": x, "ES": 0 or 1}, ...]}

The tool gives 0 for a k beyond the number of responses; here it is a gap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audit.errors import ResultsError
from audit.interop._open_unlearning import AUTHOR, question
from audit.interop.cards import direction
from audit.interop.document import Document
from audit.interop.names import named_by
from audit.interop.result import Metric, Result, entities_of, mean_of, metric, row, texts
from audit.interop.values import number, text, what_is
from audit.metrics.sampling import expected_max, leak_at_k
from audit.stats import Sample

TOOL = "leak_at_k"
JUDGES = {"ES": "entailment", "LLM_judge": "llm_judge"}
KS = (1, 2, 4, 8, 16, 32, 64, 128)
SHOWN = 3
"""How many of an item's responses are kept as text."""


def recognise(document: Document) -> str:
    """`generations`, `table`, or empty."""
    records = document.records
    if document.format == "csv":
        return "table" if records and "Leak@1" in records[0] else ""
    if not records or not isinstance(records[0].get("responses"), list):
        return ""
    return "generations" if {"prompt", "ground_truth"} <= set(records[0]) else ""


def convert(documents: Sequence[tuple[Document, str]]) -> list[Result]:
    """One result for each model; the evaluated file is taken before the bare one of the same folder."""
    folders: dict[str, list[Document]] = {}
    tables: dict[str, tuple[dict[str, Any], Path]] = {}
    for document, kind in documents:
        if kind == "generations":
            folders.setdefault(str(document.path.parent), []).append(document)
            continue
        for line in document.records:
            name = str(line.get("Model"))
            if name in tables:
                raise ResultsError(f"{name} stands twice, in {tables[name][1]} and {document.path}.")
            tables[name] = (line, document.path)
    results, told = [], set()
    for found in folders.values():
        name = named_by(found[0].path.parent, found[0].root)
        line, source = tables.get(name, (dict[str, Any](), None))
        told.add(name)
        metrics = _of_model(found, line)
        files = [document.path for document in found] + ([source] if source else [])
        results.append(Result(name, TOOL, "generations", tuple(files), tuple(metrics)))
    for name, (line, source) in tables.items():
        if name not in told:
            results.append(Result(name, TOOL, "table", (source,), (_table_only(line),)))
    return results


def _of_model(found: Sequence[Document], line: Mapping[str, Any]) -> list[Metric]:
    made, used = [], dict[str, Document]()
    found = sorted(found, key=lambda d: -len(set(JUDGES) & _fields(d)))
    for document in found:
        for field, judge in JUDGES.items():
            if field in _fields(document):
                if field in used:
                    raise ResultsError(f"{used[field].path} and {document.path} both hold {field} of one model.")
                used[field] = document
                made.append(_leaks(document, field, judge, line if field == "ES" else {}))
    if not used and line:
        made.append(_table_only(line))
    best = found[0]
    if "rougeL_recall" in _fields(best):
        made.append(_best(best))
    return [*made, _texts(best)]


def _fields(document: Document) -> set[str]:
    """The fields of the responses; raises ResultsError for a record that has none."""
    for place, record in enumerate(_records(document)):
        responses = record.get("responses") if isinstance(record, dict) else None
        if not isinstance(responses, list) or not all(isinstance(response, dict) for response in responses):
            raise ResultsError(f"{document.path}, record {place}: no list of responses.")
    return {key for record in _records(document)[:5] for response in record["responses"][:1] for key in response}


def _records(document: Document) -> list[Any]:
    """Every record in its place, so that texts and scores count alike."""
    return list(document.data) if isinstance(document.data, list) else [document.data]


def _read(document: Document, field: str) -> tuple[list[str], list[list[float]], list[str]]:
    """Index, scores of all responses, and gaps; an item with a response without a score is a gap."""
    keys, scores, gaps = [], [], []
    for index, record in enumerate(_records(document)):
        responses = record["responses"]
        values = [number(r.get(field)) for r in responses] if responses else []
        if values and None not in values:
            keys.append(str(index))
            scores.append([float(value or 0.0) for value in values])
        else:
            bad = next((r.get(field) for r, v in zip(responses or [], values, strict=True) if v is None), None)
            gaps.append(f"{index}: {'no responses' if not responses else what_is(bad)}")
    told = [f"{len(gaps)} of {len(keys) + len(gaps)} items hold no number ({', '.join(gaps[:5])})."] if gaps else []
    return keys, scores, told


def _leaks(document: Document, field: str, judge: str, line: Mapping[str, Any]) -> Metric:
    """One row for each k, the largest k first."""
    id = f"{TOOL}.{judge}"
    keys, scores, notes = _read(document, field)
    counts, sizes = np.array([sum(s == 1 for s in each) for each in scores]), [len(each) for each in scores]
    rows, samples = [], {}
    for k in reversed(KS):
        stated = number(line.get(f"Leak@{k}")) if line else None
        told = list(notes)
        if line and stated is None:
            told.append(f"The table holds {what_is(line.get(f'Leak@{k}'))}.")
        if not sizes or k > min(sizes):
            most = min(sizes, default=0)
            told.append(f"Not computed: {most} responses an item; the tool writes 0 there.")
            if stated == 0:
                stated = None
            rows.append(row(f"leak@{k}", direction(id), stated, None, told))
            continue
        values = np.array([leak_at_k(count, n, k).item() for count, n in zip(counts, sizes, strict=True)])
        samples[k] = _mean(values, keys)
        rows.append(row(f"leak@{k}", direction(id), stated, samples[k], told))
    rows.sort(key=lambda found: math.isnan(found[4]))
    return metric(id, rows, samples[max(samples)] if samples else None)


def _mean(values: Any, keys: Sequence[str]) -> Sample | None:
    block = AUTHOR if len(keys) % AUTHOR == 0 else 0
    return mean_of(values, *entities_of(keys, "forget", block))


def _best(document: Document) -> Metric:
    """Expected best ROUGE-L recall of k responses."""
    id = f"{TOOL}.expected_best_rouge"
    keys, scores, notes = _read(document, "rougeL_recall")
    rows, headline = [], None
    for k in reversed(KS):
        if scores and k <= min(len(each) for each in scores):
            sample = _mean(np.array([expected_max(np.array(each), k).item() for each in scores]), keys)
            headline = headline or sample
            rows.append(row(f"expected best of {k}", direction(id), None, sample, notes))
    if not rows:
        return metric(id, [row("expected best", direction(id), None, None, notes or ["No item has all its scores."])])
    return metric(id, rows, headline)


def _table_only(line: Mapping[str, Any]) -> Metric:
    id = f"{TOOL}.entailment"
    rows = []
    for k in [k for k in reversed(KS) if f"Leak@{k}" in line]:
        value = line.get(f"Leak@{k}")
        note = "No responses beside it: it cannot be recomputed." if number(value) is not None else (
            f"The table holds {what_is(value)}.")  # fmt: skip
        rows.append(row(f"leak@{k}", direction(id), number(value), None, [note]))
    return metric(id, rows)


def _texts(document: Document) -> Metric:
    lines: list[tuple[Any, ...]] = []
    for index, record in enumerate(_records(document)):
        for place, response in enumerate(record["responses"][:SHOWN]):
            value, said = number(response.get("ES", response.get("rougeL_recall"))), text(response.get("response"))
            lines.append((f"forget:{index}", f"forget:{index}", "candidate", "forget",
                          question(text(record.get("prompt")) or ""), text(record.get("ground_truth")) or "",
                          None if said is None else f"[{place + 1}] {said}",
                          math.nan if value is None else value))  # fmt: skip
    return texts(f"{TOOL}.generations", lines)
