"""RWKU: `forget.json`, `neighbor.json`, `{forget,retain}_mia.json`, `fluency.json`, `mmlu.json` and the like.

Each target has a folder of its own.
The score is the recall of ROUGE-L as the package `rouge` computes it: over sentences, and over *different* words. The
field `mink20` holds Min-K++ at 20 %, not Min-K, and the membership files hold means, not areas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from audit.interop.cards import direction
from audit.interop.document import Document
from audit.interop.names import named_by, plain
from audit.interop.result import Metric, Result, mean_of, metric, only_in_file, row, texts
from audit.interop.values import by_index, number, text, what_is

TOOL = "rwku"
ACCURACIES = ("acc", "em", "f1", "EM", "F1", "mc1", "mc2")


def recognise(document: Document) -> str:
    """`forget`, `neighbor`, `mia`, `fluency`, `accuracy`, or empty."""
    data = document.data
    if not isinstance(data, dict):
        return ""
    if "level_1_rouge_l_r" in data:
        return "forget" if "level_3_rouge_l_r" in data else "neighbor"
    if {"loss", "zlib", "mink20"} <= set(data):
        return "mia"
    if "entropy" in data and isinstance(data.get("results"), list):
        return "fluency"
    return "accuracy" if isinstance(data.get("results"), list) and isinstance(data.get("all_acc"), list) else ""


def convert(documents: Sequence[tuple[Document, str]]) -> list[Result]:
    """One result for each target's folder."""
    folders: dict[str, list[tuple[Document, str]]] = {}
    for document, kind in documents:
        folders.setdefault(str(document.path.parent), []).append((document, kind))
    results = []
    for found in folders.values():
        metrics: list[Metric] = []
        lines: list[tuple[Any, ...]] = []
        for document, kind in found:
            metrics += _of(document, kind)
            lines += _texts(document, kind)
        first = found[0][0]
        name = named_by(first.path.parent, first.root)
        said = [texts(f"{TOOL}.generations", lines)] if lines else []
        results.append(Result(name, TOOL, "target", tuple(d.path for d, _ in found), (*metrics, *said)))
    return results


def _of(document: Document, kind: str) -> list[Metric]:
    if kind in ("forget", "neighbor"):
        return [_level(document, kind, level) for level in "123" if f"level_{level}_rouge_l_r" in document.data]
    if kind == "mia":
        return _membership(document)
    if kind == "fluency":
        return [only_in_file(f"{TOOL}.fluency_entropy", "entropy", "low: repeats itself",
                             number(document.data["entropy"]))]  # fmt: skip
    return [_accuracy(document)]


def _level(document: Document, kind: str, level: str) -> Metric:
    """Mean recall of one level, from the stored predictions."""
    id, data = f"{TOOL}.{kind}_level_{level}", document.data
    name = f"{kind} level_{level}_rouge_l_r"
    stated = number(data[f"level_{level}_rouge_l_r"])
    notes = [] if stated is not None else [f"The file holds {what_is(data[f'level_{level}_rouge_l_r'])}."]
    rows = [(i, r) for i, r in enumerate(data.get("results") or []) if str(r.get("level")) == level]
    scores = {i: recall(text(r.get("prediction")) or "", text(r.get("answer")) or "") for i, r in rows}
    lost = [str(i) for i, score in scores.items() if math.isnan(score)]
    if lost:
        notes.append(f"{len(lost)} of {len(rows)} items have no prediction or answer ({', '.join(lost[:5])}).")
    kept = [(f"{kind}:{i}", scores[i]) for i, _ in rows if not math.isnan(scores[i])]
    items = [item for item, _ in kept]
    sample = mean_of(np.array([score for _, score in kept]), items, items)
    line = row(name, direction(id), stated, sample, [*notes, *_by_type(data, level, scores)])
    return metric(id, [line], sample, "forget" if kind == "forget" else "retain")


def _by_type(data: Mapping[str, Any], level: str, scores: Mapping[int, float]) -> list[str]:
    """The means of each kind of adversarial probe, in words."""
    found: dict[str, list[float]] = {}
    for index, entry in enumerate(data.get("results") or []):
        if level == "3" and index in scores and not math.isnan(scores[index]):
            found.setdefault(text(entry.get("type")) or "not named", []).append(scores[index])
    if len(found) < 2:
        return []
    return ["By probe: " + ", ".join(f"{kind} {sum(s) / len(s):.3f} (n = {len(s)})" for kind, s in found.items()) + "."]


def recall(prediction: str, answer: str) -> float:
    """ROUGE-L recall of the package `rouge`: words of the answer that lie in the union of the longest common
    subsequences with each sentence, over the answer's different words. NaN where either holds no sentence.
    """
    said, right = (
        [" ".join(part.split()).split(" ") for part in text.split(".") if part] for text in (prediction, answer)
    )
    if not said or not right:
        return math.nan
    words = {word for sentence in right for word in sentence}
    union: set[str] = set()
    for sentence in right:
        for other in said:
            union |= _common(sentence, other)
    return len(union) / len(words)


def _common(x: Sequence[str], y: Sequence[str]) -> set[str]:
    """The words of one longest common subsequence; ties are broken as the package does."""
    table = np.zeros((len(x) + 1, len(y) + 1), dtype=int)
    for i, a in enumerate(x, start=1):
        for j, b in enumerate(y, start=1):
            table[i, j] = table[i - 1, j - 1] + 1 if a == b else max(table[i - 1, j], table[i, j - 1])
    found: set[str] = set()
    i, j = len(x), len(y)
    while i and j:
        if x[i - 1] == y[j - 1]:
            found.add(x[i - 1])
            i, j = i - 1, j - 1
        elif table[i - 1, j] > table[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return found


def _membership(document: Document) -> list[Metric]:
    """Means of the scores; which set they are about only the file's name says."""
    split = "retain" if "retain" in document.path.name else "forget"
    made = []
    scores = document.data.get("results") or {}
    for name, field in (("loss", "loss"), ("zlib", "zlib"), ("mink20", "mink++_0.2")):
        id = f"{TOOL}.{split}_mia_{'min_k_plus_plus_20' if name == 'mink20' else name}"
        stated = number(document.data[name])
        notes = [] if stated is not None else [f"The file holds {what_is(document.data[name])}."]
        if name == "mink20":
            notes.append("The tool calls it mink20, but it is Min-K++ at 20 %.")
        if field not in scores:
            made.append(metric(id, [row(name, direction(id), stated, None, [*notes, "No scores of items."])]))
            continue
        values = by_index(scores[field], None, f"{document.path}, results/{field}")
        items = [f"{split}:mia:{key}" for key in values.keys]
        sample = mean_of(values.means, items, items)
        made.append(metric(id, [row(name, direction(id), stated, sample, [*notes, values.gaps])], sample, split))
    return made


def _accuracy(document: Document) -> Metric:
    """MMLU and other tests: the mean of `all_acc`."""
    name = next((key for key in ACCURACIES if key in document.data), "acc")
    label = plain(document.path.stem)
    id = f"{TOOL}.{label}"
    values = by_index([float(v) if isinstance(v, bool) else v for v in document.data["all_acc"]], None,
                      f"{document.path}, all_acc")  # fmt: skip
    items = [f"{label}:{key}" for key in values.keys]
    sample = mean_of(values.means, items, items)
    stated = number(document.data.get(name))
    return metric(id, [row(f"{label} {name}", direction(id), stated, sample, [values.gaps])], sample, label)


def _texts(document: Document, kind: str) -> list[tuple[Any, ...]]:
    if kind not in ("forget", "neighbor"):
        return []
    split = "forget" if kind == "forget" else "retain"
    return [
        (f"{kind}:{index}", text(entry.get("subject")) or f"{kind}:{index}", "candidate", split,
         text(entry.get("query")) or "", text(entry.get("answer")) or "", text(entry.get("prediction")),
         recall(text(entry.get("prediction")) or "", text(entry.get("answer")) or ""))
        for index, entry in enumerate(document.data.get("results") or [])
    ]  # fmt: skip
