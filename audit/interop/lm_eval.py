"""lm-evaluation-harness: `results_*.json`, and `samples_<task>_<time>.jsonl` whose items are averaged again.

results   {"results": {"<task>": {"acc,none": x, "acc_stderr,none": s}}, "group_subtasks": {...}, "n-samples": {...}}
samples   {"doc_id": 0, "target": ..., "filtered_resps": ..., "filter": "none", "acc": 1.0}  on each line
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from audit.errors import ResultsError
from audit.interop.cards import direction
from audit.interop.document import Document
from audit.interop.names import named_by
from audit.interop.result import ImportedRow, Metric, Result, metric, only_in_file, row, sample_of
from audit.interop.values import by_index, number
from audit.types import Estimate

TOOL = "lm_eval"
NOT_METRICS = {"doc_id", "doc_hash", "prompt_hash", "target_hash", "target", "idx"}
Z = 1.959964
"""Half-width of a 95 % interval in standard errors."""
Stated = Mapping[tuple[str, str], float | None]


def recognise(document: Document) -> str:
    """`results`, `samples`, or empty."""
    data = document.data
    if isinstance(data, dict) and isinstance(data.get("results"), dict) and data["results"]:
        tasks = list(data["results"].values())
        return "results" if all(isinstance(t, dict) for t in tasks) and {"configs", "versions"} & set(data) else ""
    records = document.records if document.format == "lines" or isinstance(data, dict) else []
    told = {"doc_id", "target"} <= set(records[0]) if records else False
    return "samples" if told and {"resps", "filtered_resps"} & set(records[0]) else ""


def convert(documents: Sequence[tuple[Document, str]]) -> list[Result]:
    """One result for each folder: results and samples of one run lie side by side."""
    folders: dict[str, list[tuple[Document, str]]] = {}
    for document, kind in documents:
        folders.setdefault(str(document.path.parent), []).append((document, kind))
    made = []
    for found in folders.values():
        samples: dict[str, list[dict[str, Any]]] = {}
        for document, kind in found:
            if kind == "samples":
                task = re.sub(r"_\d{4}-\d\d-\d\dT[\d.:-]+$", "", document.path.stem.removeprefix("samples_"))
                samples.setdefault(task, []).extend(document.records)
        results = [document for document, kind in found if kind == "results"]
        metrics = _of_folder(results, samples, str(found[0][0].path))
        first = found[0][0]
        model = next((str(d.data["model_name"]) for d in results if d.data.get("model_name")), "")
        name = model or named_by(first.path.parent, first.root)
        files = tuple(document.path for document, _ in found)
        made.append(Result(name, TOOL, "results", files, tuple(metrics)))
    return made


def _of_folder(results: Sequence[Document], samples: Mapping[str, list[dict[str, Any]]], where: str) -> list[Metric]:
    stated: dict[tuple[str, str], float | None] = {}
    errors: dict[tuple[str, str], tuple[float | None, int]] = {}
    groups: dict[str, list[str]] = {}
    for document in results:
        groups |= {k: list(v) for k, v in (document.data.get("group_subtasks") or {}).items() if v}
        for task, values in {**document.data["results"], **(document.data.get("groups") or {})}.items():
            for key, value in values.items():
                name, _, filter = key.partition(",")
                if name in ("alias", "name", "sample_len", "sample_count") or name.endswith("_stderr"):
                    continue
                label = name if filter in ("", "none") else f"{name},{filter}"
                stated[task, label] = number(value)
                error = values.get(f"{name}_stderr,{filter}" if filter else f"{name}_stderr")
                count = (document.data.get("n-samples") or {}).get(task) or {}
                errors[task, label] = number(error), int(number(count.get("effective")) or 0)
    return metrics_of(TOOL, samples, groups, stated, where, errors)


def metrics_of(
    tool: str,
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
    groups: Mapping[str, Sequence[str]],
    stated: Stated,
    where: str,
    errors: Mapping[tuple[str, str], tuple[float | None, int]] | None = None,
) -> list[Metric]:
    """Each task's metrics from its samples, groups over all their tasks' samples, and what only the file states.

    `stated` is keyed by task and metric, `errors` holds the file's standard error and number of samples.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for task, rows in samples.items():
        for label, block in _by_metric(rows, f"{where}, {task}").items():
            found[task, label] = block
    for group, tasks in groups.items():
        for label in sorted({label for task, label in found if task in tasks}):
            pieces = {task: found[task, label] for task in tasks if (task, label) in found}
            if len(pieces) == len(tasks) and group not in samples:
                found[group, label] = {f"{task}:{key}": v for task, block in pieces.items() for key, v in block.items()}
    made = []
    for task, label in dict.fromkeys([*stated, *found]):
        id = f"{tool}.{_plain(task)}.{_plain(label)}"
        value, name = stated.get((task, label)), f"{task}/{label}"
        if (task, label) in found:
            values = by_index(found[task, label], None, f"{where}, {name}")
            sample = sample_of(values, values.means, task)
            made.append(metric(id, [row(name, direction(id), value, sample, [values.gaps])], sample, task))
        else:
            made.append(_with_error(only_in_file(id, name, direction(id), value), (errors or {}).get((task, label))))
    return made


def _by_metric(rows: Sequence[Mapping[str, Any]], where: str) -> dict[str, dict[str, Any]]:
    """Metric → index → value; a metric of a filter other than none carries the filter's name."""
    found: dict[str, dict[str, Any]] = {}
    names = dict.fromkeys(
        name for line in rows for name, value in line.items()
        if name not in NOT_METRICS and isinstance(value, (int, float, bool))
    )  # fmt: skip
    for line in rows:
        filter = str(line.get("filter", "none"))
        for name in names:
            block = found.setdefault(name if filter == "none" else f"{name},{filter}", {})
            index = str(line.get("doc_id"))
            if index in block:
                raise ResultsError(f"{where}: item {index} stands twice with the filter {filter}.")
            value = line.get(name)
            block[index] = float(value) if isinstance(value, bool) else value
    return found


def _with_error(found: Metric, error: tuple[float | None, int] | None) -> Metric:
    """The interval that follows from the file's own standard error, where there are no samples."""
    line = ImportedRow(*found.rows[0])
    if error is None or error[0] is None or error[1] == 0 or math.isnan(line.in_file):
        return found
    low, high = line.in_file - Z * error[0], line.in_file + Z * error[0]
    told = "Not recomputed; the interval follows from the file's standard error."
    row = line._replace(n=error[1], low=low, high=high, note=told)
    estimate = Estimate(line.in_file, low, high, math.nan, error[1])
    note = f"{line.in_file:.4g} in the file ({low:.4g} to {high:.4g}, n = {error[1]}). {told}"
    return Metric(found.id, (row,), estimate, found.items, note)


def _plain(name: str) -> str:
    return re.sub(r"[^\w+-]", "_", name)
