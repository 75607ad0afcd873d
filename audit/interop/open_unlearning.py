"""OpenUnlearning: `{TOFU|MUSE|LMEval}_{EVAL|SUMMARY}.json`, one model or a tree of them.

    EVAL     {"<metric>": {"agg_value": number or null, "value_by_index": {"0": {...}}}}
    SUMMARY  {"<metric>": number or null};   of lm-eval tasks {"task/metric": number}

Traps that are met here: `values_by_index` in the docs and `value_by_index` in the code; `forget_truth_ratio` beside
`retain_Truth_Ratio`; null without the retain model's results; areas in the opposite orientation of MUSE; NaN tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit.errors import ResultsError
from audit.interop import _open_unlearning as parts
from audit.interop import lm_eval
from audit.interop.cards import direction
from audit.interop.document import Document
from audit.interop.names import ModelName, named_by, parse
from audit.interop.result import Metric, Result, entities_of, only_in_file, texts
from audit.interop.values import number, text, what_is

TOOL = "open_unlearning"
KNOWN = re.compile(
    r"(forget|retain|ra|wf)_\w*(Prob|ROUGE|Truth_Ratio|gibberish)\w*|(?i:\w+_truth_ratio)|mia_\w+|privleak|"
    r"model_utility|forget_quality|extraction_strength|exact_memorization|rel_diff\w*"
)


def recognise(document: Document) -> str:
    """`eval`, `summary`, `lm_eval` or `lm_summary`; empty for anything else."""
    data = document.data
    if not isinstance(data, dict) or not data:
        return ""
    blocks = [value for value in data.values() if isinstance(value, dict)]
    if any("agg_value" in block for block in blocks):
        return "eval"
    if blocks and len(blocks) == len(data) and all(_samples(block) for block in blocks):
        return "lm_eval"
    plain = all(value is None or isinstance(value, (int, float)) for value in data.values())
    if plain and any(KNOWN.fullmatch(key) for key in data):
        return "summary"
    if plain and all(re.fullmatch(r"[\w-]+/[\w.-]+", key) for key in data):
        return "lm_summary"
    return ""


def _samples(block: Mapping[str, Any]) -> bool:
    lists = list(block.values())
    return bool(lists) and all(isinstance(x, list) and x and isinstance(x[0], dict) and "doc_id" in x[0] for x in lists)


@dataclass
class Evaluation:
    """The files of one model's evaluation."""

    name: str
    model: ModelName
    kind: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)
    kinds: dict[Path, str] = field(default_factory=dict)
    reference: bool = False

    @property
    def where(self) -> str:
        """The file that errors name."""
        return str(self.documents[0].path)

    def block(self, name: str) -> Mapping[str, Any] | None:
        """A metric of the EVAL file, whatever the case of its name."""
        found = next((value for key, value in self.data.items() if key.lower() == name.lower()), None)
        return found if isinstance(found, Mapping) else None

    def index(self, name: str) -> Any:
        """The per-item values of a metric, under either spelling of their key; None when there are none."""
        return parts.items_of(self.block(name))

    def in_file(self, name: str) -> float | None:
        """The metric's aggregate: that of EVAL, else that of SUMMARY."""
        block = self.block(name)
        found = number(block.get("agg_value")) if block is not None else None
        return found if found is not None else number(self.summary.get(name))


def convert(documents: Sequence[tuple[Document, str]]) -> list[Result]:
    """One result for each model's evaluation; the retain models among them serve as references."""
    evaluations, results = _gather(documents), []
    for one in evaluations:
        check(one)
        if one.kind.startswith("lm"):
            metrics = _tasks(one)
        else:
            metrics = _metrics(one, reference_for(one, evaluations))
        if metrics and not (one.reference and len(evaluations) > 1):
            files = tuple(document.path for document in one.documents)
            results.append(Result(one.name, TOOL, one.kind, files, tuple(metrics)))
    return results


def _gather(documents: Sequence[tuple[Document, str]]) -> list[Evaluation]:
    """EVAL and SUMMARY of one folder belong to one evaluation; that of lm-eval tasks is another."""
    found: dict[tuple[str, str, bool], Evaluation] = {}
    for document, kind in documents:
        tasks = kind.startswith("lm")
        key = (str(document.path.parent), f"{tasks}{_benchmark(document.data)}", tasks)
        if key not in found:
            name = named_by(document.path.parent, document.root)
            found[key] = Evaluation(name, parse(name.split(" ")[0]))
        one = found[key]
        twice = next((other for other in one.documents if one.kinds[other.path] == kind), None)
        if twice is not None:
            raise ResultsError(f"{twice.path} and {document.path} are both the {kind} file of one model.")
        one.kinds[document.path] = kind
        one.documents.append(document)
        one.reference = one.reference or document.reference
        if kind.endswith("summary"):
            one.summary, one.kind = document.data, one.kind or kind
        else:
            one.data, one.kind = document.data, kind
    return list(found.values())


def _benchmark(data: Mapping[str, Any]) -> str:
    return "MUSE" if any("mem_ROUGE" in key for key in data) else "TOFU"


def reference_for(one: Evaluation, others: Sequence[Evaluation]) -> Evaluation | None:
    """The results of a model that never saw the forget set, on the same items: one that was given, else one whose
    name says so and whose model is the same."""
    able = [other for other in others if other is not one and same_items(one, other)]
    given = [other for other in able if other.reference]
    named = [o for o in able if o.model.role == "reference" and o.model.model.lower() == one.model.model.lower()]
    return next(iter(given + named), None)


def _metrics(one: Evaluation, reference: Evaluation | None) -> list[Metric]:
    names = list(dict.fromkeys([*one.data, *one.summary]))
    made: list[Metric] = []
    spelled: dict[str, str] = {}
    for name in names:  # the EVAL file's spelling stands before the SUMMARY's
        spelled.setdefault(parts.canonical(name), name)
    for name in spelled.values():
        id = f"{TOOL}.{parts.canonical(name)}"
        if one.block(name) is None and (name not in one.data or number(one.summary.get(name)) is not None):
            made.append(_from_summary(one, name, id, reference))
        else:
            made.append(parts.recompute(one, name, id, reference))
    if "forget_quality" not in names and one.index("forget_truth_ratio") is not None:
        made.append(parts.recompute(one, "forget_quality", f"{TOOL}.forget_quality", reference))
    said = generations(one, f"{TOOL}.generations")
    return [*made, said] if said else made


def _from_summary(one: Evaluation, name: str, id: str, reference: Evaluation | None) -> Metric:
    raw = one.summary[name]
    if number(raw) is not None and (name == "privleak" or name.startswith("mia_")):
        return parts.recompute(one, name, id, reference)
    note = "" if number(raw) is not None else f"The file holds {what_is(raw)}. {parts.why_null(name)}".strip()
    return only_in_file(id, name, direction(id), number(raw), note)


def _tasks(one: Evaluation) -> list[Metric]:
    """The samples of lm-eval tasks with the summary's numbers beside them."""
    samples = {task: rows for group in one.data.values() for task, rows in group.items()}
    groups = {group: list(tasks) for group, tasks in one.data.items()}
    stated = {tuple(key.split("/", 1)): number(value) for key, value in one.summary.items()}
    return lm_eval.metrics_of(TOOL, samples, groups, stated, one.where)  # type: ignore[arg-type]


def same_items(one: Evaluation, other: Evaluation) -> bool:
    """Whether two evaluations answered the same forget items: as many, with the same right answers."""
    mine, theirs = one.index("forget_Q_A_ROUGE"), other.index("forget_Q_A_ROUGE")
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        truth = [{k: v.get("ground_truth") for k, v in x.items() if isinstance(v, Mapping)} for x in (mine, theirs)]
        return truth[0] == truth[1]
    for name in ("forget_truth_ratio", "mia_min_k"):
        if one.index(name) is not None and other.index(name) is not None:
            return set(one.index(name)) == set(other.index(name))
    # Two summaries: only the names can tell, `retain90` is the reference of `forget10`, `News_retrain` of News.
    if one.model.benchmark == other.model.benchmark == "muse":
        return one.model.split == other.model.split
    wanted = {"retain90": "forget10", "retain95": "forget05", "retain99": "forget01"}.get(other.model.method)
    return wanted is not None and wanted in (one.model.split, one.name.rsplit("_", 1)[-1])


def generations(one: Evaluation, id: str) -> Metric | None:
    """The answers that the file stores, of all sets."""
    lines: list[tuple[Any, ...]] = []
    for name in one.data:
        index = one.index(name)
        if not name.endswith("ROUGE") or not isinstance(index, Mapping):
            continue
        field = parts.field_of(one, name)
        keys = sorted(index, key=lambda key: (not key.isdigit(), int(key) if key.isdigit() else 0, key))
        items, entities = entities_of(keys, parts.split_of(name), parts.block_of(one, name, len(keys)))
        for key, item, entity in zip(keys, items, entities, strict=True):
            entry = index[key]
            if not isinstance(entry, Mapping) or "generation" not in entry:
                continue
            asked, answer = (text(entry.get(part)) or "" for part in ("input", "ground_truth"))
            value = number(entry.get(field))
            lines.append((item, entity, "candidate", parts.split_of(name), parts.question(asked), answer,
                          text(entry["generation"]), float("nan") if value is None else value))  # fmt: skip
    return texts(id, lines) if lines else None


def check(one: Evaluation) -> None:
    """Raise ResultsError for an EVAL file with an entry that is no metric, or one that it spells twice."""
    bad = next((key for key, value in one.data.items() if not isinstance(value, (Mapping, type(None)))), None)
    if bad is not None:
        raise ResultsError(f"{one.where}: {bad} is {what_is(one.data[bad])}; expected a metric with agg_value.")
    names = [parts.canonical(name) for name in one.data]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ResultsError(f"{one.where}: {twice} stands twice, in two spellings; one of the two would be lost.")
