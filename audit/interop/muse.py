"""MUSE, and the tools that fork it: `out.csv`, `temp/<model>/{verbmem_f,knowmem_f,knowmem_r}/{agg,log}.json`,
`temp/<model>/privleak/{auc,log}.json`.

The table is in percent, the logs are shares. Areas are the other way round than OpenUnlearning's: below 0.5 when the
forget texts are the likelier ones. The retrained model's areas are constants in the tool's code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit.interop.cards import AUC_OU, direction
from audit.interop.document import Document
from audit.interop.names import named_by
from audit.interop.result import Metric, Result, entities_of, mean_of, metric, only_in_file, row, texts
from audit.interop.values import by_index, number, what_is
from audit.metrics import auc as areas
from audit.stats import Sample, entity_weights

TOOL = "muse"
COLUMNS = ("verbmem_f", "privleak", "knowmem_f", "knowmem_r")
MEMORY = ("verbmem_f", "knowmem_f", "knowmem_r")
KEY = "forget_holdout_Min-40%"
RETRAINED = {"News": 0.47719999999999996, "Books": 0.5393}
"""The retrained model's area for KEY, as the tool's constants.py has it (Llama-2-7B only)."""


def recognise(document: Document) -> str:
    """`table`, `agg`, `log`, `auc`, `losses`, or empty."""
    data = document.data
    if document.format == "csv":
        head = set(data[0]) if data else set()
        return "table" if "name" in head and len(head & set(COLUMNS)) >= 2 else ""
    if isinstance(data, dict):
        if "mean_rougeL" in data:
            return "agg"
        if any(_plain(key) == KEY for key in data):
            return "auc"
        lists = [value for value in data.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
        return "losses" if {"forget", "holdout"} <= set(data) and lists and "PPL" in lists[0][0] else ""
    first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
    return "log" if {"gt", "response", "rougeL"} <= set(first) else ""


def _plain(key: str) -> str:
    """The tool writes one key with a stray apostrophe in some versions."""
    return key.rstrip("'")


@dataclass
class Evaluation:
    """The files of one model."""

    name: str
    parts: dict[tuple[str, str], Document] = field(default_factory=dict)
    line: Mapping[str, Any] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def stated(self, name: str) -> float | None:
        """A number of the table, in percent."""
        return number(self.line.get(name))


def convert(documents: Sequence[tuple[Document, str]]) -> list[Result]:
    """One result for each model: a line of the table, a folder below `temp`, or both."""
    found: dict[str, Evaluation] = {}
    for document, kind in documents:
        if kind != "table":
            folder = document.path.parent
            name = named_by(folder.parent, document.root)
            one = found.setdefault(str(folder.parent), Evaluation(name))
            one.parts[folder.name, kind] = document
            one.files.append(document.path)
    for document, kind in documents:
        for line in document.records if kind == "table" else []:
            name = str(line["name"])
            one = next((e for e in found.values() if e.name == name and not e.line), Evaluation(name))
            found.setdefault(next((k for k, e in found.items() if e is one), f"{document.path}:{name}"), one)
            one.line = line
            one.files.append(document.path)
    results = []
    for one in found.values():
        metrics = [*(_memory(one, name) for name in MEMORY), *_privacy(one), *_of_forks(one)]
        kept = [each for each in metrics if each is not None]
        said = _generations(one)
        if kept:
            results.append(Result(one.name, TOOL, "evaluation", tuple(one.files), (*kept, *([said] if said else []))))
    return results


def _memory(one: Evaluation, name: str) -> Metric | None:
    """100 x mean ROUGE-L of a log, beside the table's number and the aggregate file's."""
    log, agg, id = one.parts.get((name, "log")), one.parts.get((name, "agg")), f"{TOOL}.{name}"
    if log is None and agg is None and name not in one.line:
        return None
    notes = _what_stands(one, name)
    mean = number(agg.data.get("mean_rougeL")) if agg else None
    stated = one.stated(name)
    if stated is None and mean is not None:
        stated = 100 * mean
    elif stated is not None and mean is not None and abs(100 * mean - stated) > 1e-6:
        notes.append(f"agg.json says {100 * mean:.6g}, the table {stated:.6g}.")
    if log is None:
        return metric(id, [row(name, direction(id), stated, None, [*notes, "No log: it cannot be recomputed."])])
    split = "retain" if name.endswith("_r") else "forget"
    values = by_index(log.data, "rougeL", f"{log.path}")
    sample = mean_of(100 * values.means, *entities_of(values.keys, split))
    return metric(id, [row(name, direction(id), stated, sample, [*notes, values.gaps])], sample, split)


def _of_forks(one: Evaluation) -> list[Metric]:
    """Columns of a fork's table that MUSE does not have; one fork writes whole tuples into them."""
    made = []
    for name in [column for column in one.line if column not in (*COLUMNS, "name") and column]:
        id, note = f"{TOOL}." + re.sub(r"[^\w+-]", "_", name), " ".join(_what_stands(one, name))
        made.append(only_in_file(id, name, direction(id), one.stated(name), note))
    return made


def _what_stands(one: Evaluation, name: str) -> list[str]:
    """What the table holds instead of a number."""
    raw = one.line.get(name)
    return [] if raw is None or number(raw) is not None else [f"The table holds {what_is(raw)}, no number."]


def _privacy(one: Evaluation) -> list[Metric | None]:
    """Areas in both orientations from the logged scores, and PrivLeak against the tool's own constants."""
    losses, stated = one.parts.get(("privleak", "losses")), one.parts.get(("privleak", "auc"))
    areas_in_file = {_plain(k): number(v) for k, v in stated.data.items()} if stated else {}
    area = _area(losses) if losses else None
    made: list[Metric | None] = []
    if area is not None or KEY in areas_in_file:
        id = f"{TOOL}.auc_min_40"
        sample, gaps = area if area else (None, "No log of scores: it cannot be recomputed.")
        flipped = Sample(1 - sample.value, 1 - sample.draws, sample.n) if sample else None
        lines = [row(f"{KEY} (MUSE)", direction(id), areas_in_file.get(KEY), sample, [gaps]),
                 row(f"{KEY} (OpenUnlearning)", AUC_OU, None, flipped)]  # fmt: skip
        made.append(metric(id, lines, sample))
    if "privleak" in one.line:
        made.append(_privleak(one, area[0] if area else None, areas_in_file.get(KEY)))
    return made


def _area(document: Document) -> tuple[Sample, str] | None:
    sides = [by_index(document.data[split], "Min-40%", f"{document.path}, {split}") for split in ("forget", "holdout")]
    if not all(side.keys for side in sides):
        return None
    drawn = []
    for side, split in zip(sides, ("forget", "holdout"), strict=True):
        weights, index = entity_weights(entities_of(side.keys, split)[1])
        drawn.append(weights[:, index])
    forget, holdout = sides
    value = areas.membership_auc(forget.means, holdout.means).muse
    draws = areas.auc_draws(forget.means, holdout.means, *drawn)
    return Sample(value, draws, min(len(side.keys) for side in sides)), " ".join(s.gaps for s in sides if s.gaps)


def _privleak(one: Evaluation, area: Sample | None, in_file: float | None) -> Metric:
    """The table does not say which corpus it is about: the constant that meets its number is named."""
    id, stated, notes = f"{TOOL}.privleak", one.stated("privleak"), _what_stands(one, "privleak")
    own = area.value if area is not None else in_file
    if own is None or stated is None:
        why = "No areas beside it: it cannot be recomputed."
        return metric(id, [row("privleak", direction(id), stated, None, [*notes, why])])
    by_corpus = {corpus: areas.privleak(own, null, "muse") for corpus, null in RETRAINED.items()}
    corpus = min(by_corpus, key=lambda name: abs(by_corpus[name] - stated))
    if abs(by_corpus[corpus] - stated) > 1e-3:
        told = ", ".join(f"{value:.4g} with the constant of {name}" for name, value in by_corpus.items())
        return metric(id, [row("privleak", direction(id), stated, None, [*notes, f"Its area gives {told}."])])
    notes.append(f"With the tool's constant for {corpus}, {RETRAINED[corpus]:.4f}.")
    if area is None:
        return metric(id, [row("privleak", direction(id), stated, by_corpus[corpus], notes)], by_corpus[corpus])
    draws = 100 * (area.draws - RETRAINED[corpus]) / RETRAINED[corpus]
    sample = Sample(by_corpus[corpus], draws, area.n)
    return metric(id, [row("privleak", direction(id), stated, sample, notes)], sample)


def _generations(one: Evaluation) -> Metric | None:
    lines: list[tuple[Any, ...]] = []
    for name in MEMORY:
        log = one.parts.get((name, "log"))
        for index, entry in enumerate(log.data if log else []):
            split = "retain" if name.endswith("_r") else "forget"
            asked = str(entry.get("question") or entry.get("prompt") or "")
            score = number(entry.get("rougeL"))
            item = f"{split}:{name}:{index}"
            lines.append((item, item, "candidate", split, asked, str(entry.get("gt", "")),
                          str(entry.get("response", "")), math.nan if score is None else score))  # fmt: skip
    return texts(f"{TOOL}.generations", lines) if lines else None
