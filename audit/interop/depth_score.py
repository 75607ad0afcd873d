"""Unlearning Depth Score: `summary.json`, `results.json`, `layer_details.csv`, `method_results.json`, `meta_eval.json`.

    UDS of an item = sum of d1 clip(d2 / d1, 0, 1) over layers with d1 > tau, over the sum of their d1

The method table's harmonic means add 1e-12 to every part, so that nothing comes out as exactly 0 there, and its
relative utility is cut at 1: a model that keeps more than the full one does not show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from audit.errors import ResultsError
from audit.interop.cards import direction
from audit.interop.document import Document
from audit.interop.names import named_by
from audit.interop.result import Metric, Result, mean_of, metric, row, texts
from audit.interop.values import number, text, what_is
from audit.metrics.tofu import PARTS

TOOL = "depth_score"
TAU = 0.05
"""Least drop of the retained model's patch for a layer to count, where the summary does not say."""
TINY = 1e-12
MEMORY = ("one_minus_es", "one_minus_em", "one_minus_paraprob", "one_minus_truth")
MIA = ("s_loss", "s_zlib", "s_mink", "s_minkpp")
NINE = {part: part.replace("_Prob", "_q_prob").replace("_ROUGE", "_q_rouge").replace("_Truth_Ratio", "_truth_ratio")
        for part in PARTS}  # fmt: skip


def recognise(document: Document) -> str:
    """`summary`, `results`, `layers`, `methods`, `meta`, or empty."""
    data = document.data
    if document.format == "csv":
        return "layers" if data and {"idx", "layer", "s1_delta", "s2_delta"} <= set(data[0]) else ""
    if isinstance(data, dict):
        if {"avg_uds", "avg_udr"} & set(data):
            return "summary"
        if {"models", "method_counts"} <= set(data):
            return "methods"
        return "meta" if {"metrics", "faithfulness", "robustness"} <= set(data) else ""
    first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
    return (
        "results" if {"uds", "s1_deltas", "s2_deltas"} <= set(first) or {"uds", "layer_records"} <= set(first) else ""
    )


def convert(documents: Sequence[tuple[Document, str]]) -> list[Result]:
    """One result for each run folder, and one for each line of the method table."""
    folders: dict[str, dict[str, Document]] = {}
    results = []
    for document, kind in documents:
        if kind == "methods":
            results += _methods(document)
        elif kind == "meta":
            results.append(Result("metrics rated", TOOL, kind, (document.path,), (_meta(document.data),)))
        elif document.path.name != "results_detailed.jsonl":
            own = folders.setdefault(str(document.path.parent), {})
            if kind in own:
                raise ResultsError(f"{own[kind].path} and {document.path} are both the {kind} of one run.")
            own[kind] = document
    for found in folders.values():
        results.append(_run(found))
    return results


def _run(found: Mapping[str, Document]) -> Result:
    first = next(iter(found.values()))
    summary: Mapping[str, Any] = found["summary"].data if "summary" in found else {}
    tau = number(summary.get("delta_threshold"))
    items, notes = _items(found, TAU if tau is None else tau)
    id, stated = f"{TOOL}.uds", number(summary.get("avg_uds", summary.get("avg_udr")))
    skipped = number(summary.get("skipped_count"))
    notes += [f"The tool skipped {skipped:.0f} items."] if skipped else []
    if summary and stated is None:
        notes.append(f"The summary holds {what_is(summary.get('avg_uds'))}.")
    names = [f"forget:{key}" for key in items]
    sample = mean_of(np.array(list(items.values())), names, names)
    metrics = [metric(id, [row("avg_uds", direction(id), stated, sample, notes)], sample)]
    lines = [
        (f"forget:{r.get('idx')}", text(r.get("entity")) or f"forget:{r.get('idx')}", "candidate", "forget",
         text(r.get("question")) or "", text(r.get("gt_entity", r.get("entity"))) or "", text(r.get("unlearn_gen")),
         items.get(str(r.get("idx")), float("nan")))
        for r in (found["results"].data if "results" in found else [])
    ]  # fmt: skip
    if lines:
        metrics.append(texts(f"{TOOL}.generations", lines))
    name = str(summary.get("unlearn_model") or named_by(first.path.parent, first.root))
    return Result(name, TOOL, "run", tuple(document.path for document in found.values()), tuple(metrics))


def _items(found: Mapping[str, Document], tau: float) -> tuple[dict[str, float], list[str]]:
    """UDS of each item from its layers, and what is missing or differs from what the file says of the item."""
    if "results" in found:
        layers = _from_results(found["results"])
        stated = {str(r.get("idx")): number(r.get("uds")) for r in found["results"].data}
    elif "layers" in found:
        layers = _from_table(found["layers"])
        stated = {str(r["idx"]): number(r.get("uds")) for r in found["layers"].data}
    else:
        return {}, ["No values of items: it cannot be recomputed."]
    scores: dict[str, float] = {}
    silent, broken, differ = [], [], []
    for key in sorted(layers, key=lambda key: (not key.isdigit(), int(key) if key.isdigit() else 0)):
        pairs = layers[key]
        if any(d1 is None or d2 is None for d1, d2 in pairs):
            broken.append(key)
            continue
        counted = [(float(d1 or 0.0), float(d2 or 0.0)) for d1, d2 in pairs if d1 is not None and d1 > tau]
        if not counted:
            silent.append(key)
            continue
        total = sum(d1 for d1, _ in counted)
        scores[key] = sum(d1 * min(max(d2 / d1, 0.0), 1.0) for d1, d2 in counted) / total
        own = stated.get(key)
        if own is not None and abs(own - scores[key]) > 1e-6:
            differ.append(key)
    notes = []
    if silent:
        notes.append(f"{len(silent)} items have no layer above the threshold {tau:g} and no score ({_few(silent)}).")
    if broken:
        notes.append(f"{len(broken)} items hold no number in some layer ({_few(broken)}).")
    if differ:
        notes.append(f"The score of {len(differ)} items is not that of their layers ({_few(differ)}).")
    return scores, notes


Pairs = dict[str, list[tuple[float | None, float | None]]]


def _from_results(document: Document) -> Pairs:
    found: Pairs = {}
    for place, entry in enumerate(document.data):
        if not isinstance(entry, dict):
            raise ResultsError(f"{document.path}, entry {place} is {what_is(entry)}, no item.")
        key = str(entry.get("idx"))
        if key in found:
            raise ResultsError(f"{document.path}, entry {place}: item {key} stands twice.")
        first, second = entry.get("s1_deltas"), entry.get("s2_deltas")
        if first is None or second is None:
            records = entry.get("layer_records") or []
            first, second = ([record.get(f"s{s}_delta") for record in records] for s in (1, 2))
        if len(first) != len(second):
            raise ResultsError(f"{document.path}, item {key}: {len(first)} and {len(second)} layers.")
        found[key] = [(number(a), number(b)) for a, b in zip(first, second, strict=True)]
    return found


def _from_table(document: Document) -> Pairs:
    found: Pairs = {}
    seen: set[tuple[str, str]] = set()
    for place, line in enumerate(document.data, start=2):
        key = str(line["idx"])
        if (key, line["layer"]) in seen:
            raise ResultsError(f"{document.path}, line {place}: layer {line['layer']} of item {key} stands twice.")
        seen.add((key, line["layer"]))
        found.setdefault(key, []).append((number(line["s1_delta"]), number(line["s2_delta"])))
    return found


def harmonic(values: Sequence[float | None]) -> float | None:
    """The method table's harmonic mean, with its 1e-12; None when a part is missing."""
    if any(value is None for value in values):
        return None
    return len(values) / sum(1 / (float(value or 0.0) + TINY) for value in values)


def _methods(document: Document) -> list[Result]:
    """One result for each model, with its whole line as one finding: 150 models of 25 numbers each."""
    full = {str(k): number(v) for k, v in (document.data.get("full_utility") or {}).items()}
    return [
        Result(text(line.get("model")) or f"line {place}", TOOL, "methods", (document.path,), (_line(line, full),))
        for place, line in enumerate(document.data["models"], start=1)
    ]


def _line(line: Mapping[str, Any], full: Mapping[str, float | None]) -> Metric:
    numbers = {key: number(value) for key, value in line.items() if key not in ("alpha", "lr")}
    utility, own = full.get(str(line.get("epoch"))), numbers.get("utility")
    computed = {
        "mem": harmonic([numbers.get(key) for key in MEMORY]),
        "privacy_mia": harmonic([numbers.get(key) for key in MIA]),
        "privacy": harmonic([numbers.get("privacy_mia"), numbers.get("uds")]),
        "model_utility": harmonic([numbers.get(key) for key in NINE.values()]),
        "utility": harmonic([numbers.get("model_utility"), numbers.get("fluency")]),
        "utility_rel": min(own / utility, 1.0) if own is not None and utility else None,
        "overall": harmonic([numbers.get(key) for key in ("mem", "privacy", "utility_rel")]),
    }
    shown = [key for key, value in line.items() if not isinstance(value, (str, bool)) and key not in ("alpha", "lr")]
    order = sorted(shown, key=lambda key: (key not in ("uds", "overall"), key != "uds"))
    rows = []
    for key in order:
        id = f"{TOOL}.{key}"
        notes = [] if numbers[key] is not None else [f"The table holds {what_is(line[key])}."]
        notes += [] if key in computed else ["As published: its items are not in the table."]
        rows.append(row(key, direction(id), numbers[key], computed.get(key), notes))
    return metric(f"{TOOL}.method_table", rows)


def _meta(data: Mapping[str, Any]) -> Metric:
    """How well each metric tells models that know from models that do not, and how robust it is."""
    rows = []
    for key, found in data["faithfulness"].items():
        told = f"Mean {found.get('p_mean')} in models that know, {found.get('n_mean')} in others."
        rows.append(row(f"{key}: faithfulness", "1: tells them apart", number(found.get("auc_roc")), None, [told]))
    for key, found in data["robustness"].items():
        parts = [number(found.get("relearning")), number(found.get("quantization"))]
        line = row(f"{key}: robustness", "1: robust", number(found.get("agg")), harmonic(parts),
                   [f"Relearning {found.get('relearning')}, quantization {found.get('quantization')}; rounded there."],
                   5e-4)  # fmt: skip
        rows.append(line)
    return metric(f"{TOOL}.meta_eval", rows)


def _few(keys: Sequence[str]) -> str:
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
