"""lm-evaluation-harness: `results_*.json`, and `samples_<task>_<time>.jsonl` whose items are averaged again.

results   {"results": {"<task>": {"acc,none": x, "acc_stderr,none": s}}, "group_subtasks": {...}, "n-samples": {...}}
samples   {"doc_id": 0, "target": ..., "filtered_resps": ..., "filter": "none", "acc": 1.0}  on each line
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audit.errors import ResultsError
from audit.interop.cards import direction
from audit.interop.conversion import BROKEN
from audit.interop.document import Document
from audit.interop.names import named_by, plain
from audit.interop.result import ImportedRow, Metric, Result, metric, only_in_file, row, sample_of
from audit.interop.values import NAMED, by_index, number, text, whole
from audit.types import Estimate

TOOL = "lm_eval"
TIME = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d[:-]\d\d[:-]\d\d)[\d.]*$")
"""When the harness wrote a file, at the end of its name."""
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
    """One result for each folder and model: results and samples lie side by side, of each task the newest."""
    made = []
    for model, found in _runs(documents):
        newest = _newest(found)
        samples = {task: document.records for (kind, task), document in newest.items() if kind == "samples"}
        first = found[0][0]
        files = tuple(dict.fromkeys(document.path for document in newest.values()))
        name = model or named_by(first.path.parent, first.root)
        made.append(Result(name, TOOL, "results", files, tuple(_of_folder(newest, samples, str(files[0])))))
    return made


def set_aside(documents: Sequence[tuple[Document, str]]) -> dict[Path, str]:
    """What is not read of a folder with several runs, in words: the tasks of a file that stand in a newer one."""
    left = {}
    for _, found in _runs(documents):
        try:
            newest = _newest(found)
        except BROKEN:
            continue  # convert raises it too
        for document, kind in found:
            lost = [task for task in _tasks(document, kind) if newest[kind, task] is not document]
            if lost:
                by = " and ".join(sorted({newest[kind, task].path.name for task in lost}))
                more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
                left[document.path] = f"{document.path}: of {', '.join(lost[:NAMED])}{more}, {by} is taken."
    return left


def _runs(documents: Sequence[tuple[Document, str]]) -> list[tuple[str, list[tuple[Document, str]]]]:
    """The documents of each folder and model; samples belong to the model whose results were written with them."""
    folders: dict[Path, list[tuple[Document, str]]] = {}
    for document, kind in documents:
        folders.setdefault(document.path.parent, []).append((document, kind))
    runs: dict[tuple[Path, str], list[tuple[Document, str]]] = {}
    for folder, found in folders.items():
        models = {_time(d): text(d.data.get("model_name")) or "" for d, kind in found if kind == "results"}
        only = next(iter(models.values())) if len(set(models.values())) == 1 else ""
        for document, kind in found:
            own = text(document.data.get("model_name")) if kind == "results" else models.get(_time(document), only)
            runs.setdefault((folder, own or only), []).append((document, kind))
    return [(model, found) for (_, model), found in runs.items()]


def _time(document: Document) -> str:
    """When a file was written, to the second, as its name says; empty where it does not."""
    match = TIME.search(document.path.stem)
    return match[1] if match else ""


def _tasks(document: Document, kind: str) -> list[str]:
    if kind == "samples":
        return [TIME.sub("", document.path.stem.removeprefix("samples_"))]
    return list({**document.data["results"], **(document.data.get("groups") or {})})


def _newest(found: Sequence[tuple[Document, str]]) -> dict[tuple[str, str], Document]:
    """The document that counts for each kind and task: the newest, of samples those that the results came with."""
    able: dict[tuple[str, str], list[Document]] = {}
    for document, kind in sorted(found, key=lambda each: each[1]):  # results before samples
        for task in _tasks(document, kind):
            able.setdefault((kind, task), []).append(document)
    newest: dict[tuple[str, str], Document] = {}
    for (kind, task), documents in able.items():
        results = newest.get(("results", task)) if kind == "samples" else None
        last = max(_time(document) for document in documents)
        if results is not None and any(_time(document) == _time(results) for document in documents):
            last = _time(results)
        best = [document for document in documents if _time(document) == last]
        if len(best) > 1:
            raise ResultsError(f"{best[0].path} and {best[1].path} both hold {kind} of {task}, and neither is newer.")
        newest[kind, task] = best[0]
    return newest


def _of_folder(
    newest: Mapping[tuple[str, str], Document], samples: Mapping[str, list[dict[str, Any]]], where: str
) -> list[Metric]:
    stated: dict[tuple[str, str], float | None] = {}
    errors: dict[tuple[str, str], tuple[float | None, int]] = {}
    groups: dict[str, list[str]] = {}
    better: dict[tuple[str, str], bool] = {}
    for (kind, task), document in newest.items():
        if kind != "results":
            continue
        parts = list((document.data.get("group_subtasks") or {}).get(task) or [])
        if parts and all(newest.get(("results", part), document) is document for part in parts):
            groups[task] = parts
        values = {**document.data["results"], **(document.data.get("groups") or {})}[task]
        told = (document.data.get("higher_is_better") or {}).get(task) or {}
        for key, value in values.items():
            name, _, filter = key.partition(",")
            if name in ("alias", "name", "sample_len", "sample_count") or name.endswith("_stderr"):
                continue
            label = name if filter in ("", "none") else f"{name},{filter}"
            stated[task, label] = number(value)
            error = values.get(f"{name}_stderr,{filter}" if filter else f"{name}_stderr")
            count = (document.data.get("n-samples") or {}).get(task) or {}
            errors[task, label] = number(error), whole(count.get("effective")) or 0
            if isinstance(told.get(name), bool):
                better[task, label] = told[name]
    return metrics_of(TOOL, samples, groups, stated, where, errors, better)


def metrics_of(
    tool: str,
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
    groups: Mapping[str, Sequence[str]],
    stated: Stated,
    where: str,
    errors: Mapping[tuple[str, str], tuple[float | None, int]] | None = None,
    better: Mapping[tuple[str, str], bool] | None = None,
) -> list[Metric]:
    """Each task's metrics from its samples, groups over all their tasks' samples, and what only the file states.

    `stated` is keyed by task and metric, `errors` holds the file's standard error and number of samples, `better`
    whether high is better where the file says so.
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
        id = f"{tool}.{plain(task)}.{plain(label)}"
        value, name = stated.get((task, label)), f"{task}/{label}"
        high = _direction(id, (better or {}).get((task, label)))
        if (task, label) in found:
            values = by_index(found[task, label], None, f"{where}, {name}")
            sample = sample_of(values, values.means, task)
            made.append(metric(id, [row(name, high, value, sample, [values.gaps])], sample, task))
        else:
            made.append(_with_error(only_in_file(id, name, high, value), (errors or {}).get((task, label))))
    return made


def _direction(id: str, high: bool | None) -> str:
    """What a high or low value means: as the file says, where it says it."""
    known = direction(id)
    return known if high is None else f"{'high' if high else 'low'}: {known.split(': ', 1)[-1]}"


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
