"""TOFU's own files: `eval_log*.json`, `eval_log_aggregated.json`, `aggr_result.csv`.

Every field is {index: value}. Per item `truth_ratio` is p_wrong / p_right, while the tool's forget quality and its
aggregates use the inverse, so that everything is computed from the losses here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.errors import ResultsError
from audit.interop._open_unlearning import AUTHOR, NO_REFERENCE, harmonic
from audit.interop.cards import direction
from audit.interop.document import Document
from audit.interop.names import ModelName, named_by, parse
from audit.interop.result import Metric, Result, metric, only_in_file, row, sample_of, texts
from audit.interop.values import Values, by_index, number, text, together, what_is
from audit.metrics import tofu as formulas
from audit.stats import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOOL = "tofu"
TASKS = {
    "eval_log.json": "retain",
    "eval_log_forget.json": "forget",
    "eval_real_author_wo_options.json": "ra",
    "eval_real_world_wo_options.json": "wf",
}
SETS = {"retain": "retain", "forget": "forget", "ra": "real authors", "wf": "world facts"}
COLUMNS = {"Real Authors": "ra", "Real World": "wf", "Retain": "retain", "Forget": "forget"}
SCORES = {"ROUGE": "rouge", "Prob.": "probability", "Truth Ratio": "truth_ratio"}
PARTS = {"Prob": "probability", "ROUGE": "rouge", "Truth_Ratio": "truth_ratio"}


def recognise(document: Document) -> str:
    """`aggregated`, `log`, `table`, or empty."""
    data = document.data
    if document.format == "csv":
        head = set(data[0]) if data else set()
        return "table" if {"Model Utility", "ROUGE Retain"} <= head else ""
    if not isinstance(data, dict):
        return ""
    if isinstance(data.get("avg_gt_loss"), dict):
        return "log"
    inner = [value for value in data.values() if isinstance(value, dict) and isinstance(value.get("avg_gt_loss"), dict)]
    return "aggregated" if inner and len(inner) == len(data) else ""


@dataclass
class Evaluation:
    """The logs of one model by task, and the line of the table about it."""

    name: str
    model: ModelName
    logs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: dict[str, Path] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)
    stated: dict[str, float | None] = field(default_factory=dict)
    reference: bool = False

    def values(self, task: str, name: str) -> Values:
        """A field of a task's log by index."""
        where = f"{self.documents[0].path}, {task}/{name}"
        if name not in self.logs[task]:
            raise ResultsError(f"{where} is missing.")
        return by_index(self.logs[task][name], None, where)


def convert(documents: Sequence[tuple[Document, str]]) -> list[Result]:
    """One result for each folder of logs, and one for each line of a table about a model without logs."""
    evaluations: dict[str, Evaluation] = {}
    for document, kind in documents:
        if kind == "table":
            continue
        folder = str(document.path.parent)
        name = named_by(document.path.parent, document.root)
        one = evaluations.setdefault(folder, Evaluation(name, parse(name)))
        one.documents.append(document)
        one.reference = one.reference or document.reference
        logs = document.data if kind == "aggregated" else {document.path.name: document.data}
        for named, log in logs.items():
            task = _task(str(named), document)
            if task in one.logs and not _alike(one.logs[task], log):  # the tool writes each log once more together
                raise ResultsError(
                    f"{one.sources[task]} and {document.path} hold two different logs of the {SETS[task]} set."
                )
            one.logs[task], one.sources[task] = log, document.path
    for document, kind in documents:
        if kind == "table":
            _take_table(document, evaluations)
    found = list(evaluations.values())
    results = []
    for one in found:
        metrics = _metrics(one, found)
        if metrics and not (one.reference and len(found) > 1):
            files = tuple(dict.fromkeys(document.path for document in one.documents))
            results.append(Result(one.name, TOOL, "evaluation", files, tuple(metrics)))
    return results


def _alike(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _task(name: str, document: Document) -> str:
    """Which set a log is about: only its name says so."""
    for known, task in TASKS.items():
        if known in name:
            return task
    if "forget" in name:
        return "forget"
    raise ResultsError(
        f'{document.path}: the log "{name}" is none of {", ".join(TASKS)}; its name says what it is about.'
    )


def _take_table(document: Document, evaluations: dict[str, Evaluation]) -> None:
    """Lines of aggr_result.csv: to the logs beside it when it is the only line, else a model of their own."""
    for number_, line in enumerate(document.records):
        stated = {}
        for column, value in line.items():
            score, _, part = next(((s, c, p) for s in SCORES for c, p in [(column, column.removeprefix(f"{s} "))]
                                   if p in COLUMNS), ("", "", ""))  # fmt: skip
            if score:
                stated[f"{SCORES[score]}_{COLUMNS[part]}"] = number(value)
        stated |= {"model_utility": number(line.get("Model Utility"))}
        if "Forget Quality" in line:
            stated["forget_quality"] = number(line["Forget Quality"])
        beside = [one for folder, one in evaluations.items() if str(document.path.parent) in (folder, _up(folder))]
        if len(document.records) == 1 and len(beside) == 1:
            beside[0].stated |= stated
            beside[0].documents.append(document)
        else:
            name = line.get("Method") or f"{named_by(document.path.parent, document.root)} line {number_ + 1}"
            one = Evaluation(str(name), parse(str(name)), documents=[document], stated=stated)
            evaluations[f"{document.path}:{number_}"] = one


def _up(folder: str) -> str:
    return folder.rsplit("/", 1)[0]


def reference_for(one: Evaluation, others: Sequence[Evaluation]) -> Evaluation | None:
    """A given reference, else a retained model by name, that answered the same forget items."""
    able = [o for o in others if o is not one and "forget" in o.logs and "forget" in one.logs and _same(one, o)]
    named = [o for o in able if o.model.role == "reference" and o.model.model.lower() == one.model.model.lower()]
    return next(iter([o for o in able if o.reference] + named), None)


def _same(one: Evaluation, other: Evaluation) -> bool:
    def truths(found: Evaluation) -> Any:
        told = found.logs["forget"].get("generated_text") or {}
        return {k: v[2] for k, v in told.items() if isinstance(v, list) and len(v) > 2} or set(
            found.logs["forget"]["avg_paraphrased_loss"]
        )

    return bool(truths(one) == truths(other))


def _metrics(one: Evaluation, others: Sequence[Evaluation]) -> list[Metric]:
    made, samples = [], dict[str, Sample]()
    for task in one.logs:
        for score in ("probability", "rouge", "truth_ratio"):
            values, scores = item_scores(one, task, score)
            sample = sample_of(values, scores, SETS[task], _block(task, len(values.keys)))
            id, name = f"{TOOL}.{score}_{task}", f"{score}_{task}"
            notes = [values.gaps, _stored_ratios(one, task) if score == "truth_ratio" else ""]
            line = row(name, direction(id), one.stated.get(name), sample, notes)
            made.append(metric(id, [line], sample, SETS[task]))
            if sample is not None:
                samples[name] = sample
    for name, value in one.stated.items():
        if name not in samples and name not in ("model_utility", "forget_quality"):
            made.append(only_in_file(f"{TOOL}.{name}", name, direction(f"{TOOL}.{name}"), value))
    said = _generations(one)
    return [*made, _utility(one, samples), _forget_quality(one, others), *([said] if said else [])]


def _block(task: str, count: int) -> int:
    return AUTHOR if task in ("forget", "retain") and count % AUTHOR == 0 else 0


def item_scores(one: Evaluation, task: str, score: str) -> tuple[Values, NDArray[np.float64]]:
    """One of the three scores of each item of a set, as `aggregate_eval_stat.py` defines it."""
    if score == "rouge":
        values = one.values(task, "rougeL_recall")
        return values, values.means
    if score == "truth_ratio":
        values, ratios = truth_ratios(one, task)
        with np.errstate(divide="ignore"):
            return values, np.minimum(ratios, 1 / ratios) if task == "forget" else formulas.true_better(ratios)
    losses = one.values(task, "avg_gt_loss")
    if task in ("retain", "forget"):
        with np.errstate(over="ignore"):  # what is not finite is refused where it is averaged
            return losses, np.exp(-losses.means)
    (right, wrong), gaps = together(losses, one.values(task, "average_perturb_loss"))
    others = np.array([sum(math.exp(-loss) for loss in item) for item in wrong.lists])
    return Values(right.keys, right.lists, gaps), np.exp(-right.means) / (np.exp(-right.means) + others)


def truth_ratios(one: Evaluation, task: str) -> tuple[Values, NDArray[np.float64]]:
    """p_wrong / p_right of each item, without the constant that OpenUnlearning adds."""
    losses = one.values(task, "avg_paraphrased_loss"), one.values(task, "average_perturb_loss")
    (right, wrong), gaps = together(*losses)
    return Values(right.keys, right.lists, gaps), np.exp(right.means - wrong.means)


def _stored_ratios(one: Evaluation, task: str) -> str:
    """Whether the ratios that the file stores are those of its losses."""
    if "truth_ratio" not in one.logs[task]:
        return ""
    (stored, right, wrong), _ = together(
        one.values(task, "truth_ratio"),
        one.values(task, "avg_paraphrased_loss"),
        one.values(task, "average_perturb_loss"),
    )
    if not stored.keys:
        return ""
    computed = np.exp(right.means - wrong.means)
    off = np.abs(stored.means - computed) > 1e-4 * np.maximum(1.0, computed)
    if not off.any():
        return "The stored ratios are those of the losses (p_wrong / p_right; the tool's scores use the inverse)."
    first = stored.keys[int(off.argmax())]
    return f"{int(off.sum())} of {len(off)} stored ratios are not those of the losses (first: {first})."


def _utility(one: Evaluation, samples: Mapping[str, Sample]) -> Metric:
    id, stated = f"{TOOL}.model_utility", one.stated.get("model_utility")
    found = {f"{task}_{part}": samples.get(f"{score}_{task}") for task in ("retain", "ra", "wf")
             for part, score in PARTS.items()}  # fmt: skip
    missing = [part for part, sample in found.items() if sample is None]
    if missing:
        note = f"Not recomputed: {', '.join(missing)} missing."
        return metric(id, [row("model_utility", direction(id), stated, None, [note])])
    sample = harmonic({part: sample for part, sample in found.items() if sample is not None})
    return metric(id, [row("model_utility", direction(id), stated, sample)], sample)


def _why_none(one: Evaluation, others: Sequence[Evaluation]) -> str:
    """Why there is nothing to compare with: no reference, itself a reference, or one that answered other items."""
    if one.model.role == "reference":
        return "A reference compared with itself says nothing."
    for other in others:
        if other is not one and (other.reference or other.model.role == "reference") and "forget" in other.logs:
            mine, theirs = (len(log["forget"].get("avg_paraphrased_loss") or {}) for log in (one.logs, other.logs))
            return f"{other.name} answered other forget items ({theirs}) than this model ({mine}): not compared."
    return NO_REFERENCE


def _forget_quality(one: Evaluation, others: Sequence[Evaluation]) -> Metric:
    id, stated = f"{TOOL}.forget_quality", one.stated.get("forget_quality")
    reference = reference_for(one, others)
    if reference is None:
        return metric(id, [row("forget_quality", direction(id), stated, None, [_why_none(one, others)])])
    (mine, ratios), (theirs, null) = truth_ratios(one, "forget"), truth_ratios(reference, "forget")
    test = formulas.forget_quality(ratios, null)
    notes = [f"Against {reference.name}.", mine.gaps, theirs.gaps, "A p-value has no interval."]
    line = row("forget_quality", direction(id), stated, test.p_value, notes, 1e-4 * abs(stated or 0.0))
    distance = row("ks_statistic", "0: like a model that never saw the forget set", None, test.statistic)
    return metric(id, [line, distance], test.p_value)


def _generations(one: Evaluation) -> Metric | None:
    lines: list[tuple[Any, ...]] = []
    for task, log in one.logs.items():
        told = log.get("generated_text") or {}
        rouge = log.get("rougeL_recall") or {}
        for key in sorted(told, key=lambda key: int(key) if key.isdigit() else 0):
            entry = told[key]
            if not isinstance(entry, list) or len(entry) < 3:
                raise ResultsError(f"{one.documents[0].path}, {task}/generated_text/{key} is {what_is(entry)}; "
                                   "expected input, generation and right answer.")  # fmt: skip
            block = _block(task, len(told))
            entity = f"{SETS[task]} author {int(key) // block + 1}" if block else f"{SETS[task]}:{key}"
            score = number(rouge.get(key))
            prompt = re.sub(r"^\[INST\]\s*|\s*\[/INST\]$", "", text(entry[0]) or "")
            answer, said = text(entry[2]) or "", text(entry[1])
            lines.append((f"{SETS[task]}:{key}", entity, "candidate", SETS[task], prompt, answer, said,
                          math.nan if score is None else score))  # fmt: skip
    return texts(f"{TOOL}.generations", lines) if lines else None
