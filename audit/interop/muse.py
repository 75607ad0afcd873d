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

from audit.errors import ResultsError
from audit.interop.cards import AUC_OU, direction
from audit.interop.document import Document
from audit.interop.names import named_by, plain
from audit.interop.result import Metric, Result, entities_of, mean_of, metric, only_in_file, row, texts
from audit.interop.values import by_index, number, text, what_is
from audit.metrics import auc as areas
from audit.stats import Sample, entity_weights

TOOL = "muse"
COLUMNS = ("verbmem_f", "privleak", "knowmem_f", "knowmem_r")
MEMORY = ("verbmem_f", "knowmem_f", "knowmem_r")
KEY = ("forget", "holdout", "Min-40%")
"""The area that PrivLeak rests on: the two sets, and the score that tells them apart."""
SCORE = re.compile(r"PPL(/\w+)?|Min-\d+%")
AREA = re.compile(r"(forget|retain|holdout)_(forget|retain|holdout)_(PPL(?:/\w+)?|Min-\d+%)'?")
"""A key of auc.json; the tool writes one with a stray apostrophe in some versions."""
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
        if any(AREA.fullmatch(key) for key in data):
            return "auc"
        lists = [value for value in data.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
        return "losses" if {"forget", "holdout"} <= set(data) and lists and _score_names(lists[0][0]) else ""
    first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
    return "log" if {"gt", "response", "rougeL"} <= set(first) else ""


def _score_names(entry: Mapping[str, Any]) -> list[str]:
    return [name for name in entry if SCORE.fullmatch(name)]


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
    told: set[str] = set()
    for document, kind in documents:
        if kind != "table":
            folder = document.path.parent
            name = named_by(folder.parent, document.root)
            one = found.setdefault(str(folder.parent), Evaluation(name))
            if (folder.name, kind) in one.parts:
                other = one.parts[folder.name, kind].path
                raise ResultsError(f"{other} and {document.path} are both the {folder.name} {kind} of {name}.")
            one.parts[folder.name, kind] = document
            one.files.append(document.path)
    for document, kind in documents:
        for line in document.records if kind == "table" else []:
            name = str(line["name"])
            if f"{document.path}:{name}" in told:
                raise ResultsError(f"{document.path}: the model {name} stands twice.")
            told.add(f"{document.path}:{name}")
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
        id, note = f"{TOOL}.{plain(name)}", " ".join(_what_stands(one, name))
        made.append(only_in_file(id, name, direction(id), one.stated(name), note))
    return made


def _what_stands(one: Evaluation, name: str) -> list[str]:
    """What the table holds instead of a number."""
    raw = one.line.get(name)
    return [] if raw is None or number(raw) is not None else [f"The table holds {what_is(raw)}, no number."]


def _privacy(one: Evaluation) -> list[Metric | None]:
    """Every area in both orientations, from the logged scores where they are; PrivLeak against the tool's constants."""
    losses, stated = one.parts.get(("privleak", "losses")), one.parts.get(("privleak", "auc"))
    in_file = {match.groups(): number(v) for k, v in (stated.data if stated else {}).items()
               if (match := AREA.fullmatch(k))}  # fmt: skip
    logged = [(*KEY[:2], name) for name in _score_names(losses.data["forget"][0])] if losses else []
    keys = sorted(dict.fromkeys([*logged, *in_file]), key=lambda key: key != KEY)
    found = {key: _area(losses, *key) for key in keys if losses and key[0] != key[1]}
    made: list[Metric | None] = [_both_ways(key, in_file.get(key), found.get(key), key in in_file) for key in keys]
    if "privleak" in one.line:
        area = found.get(KEY)
        made.append(_privleak(one, area[0] if area else None, in_file.get(KEY)))
    return made


def _both_ways(key: tuple[str, ...], stated: float | None, found: tuple[Sample, str] | None, filed: bool) -> Metric:
    """One area; the sets are named in the id unless they are forget and holdout."""
    first, second, score = key
    sets = "" if key[:2] == KEY[:2] else f"{first}_{second}_"
    id = f"{TOOL}.auc_{sets}{plain(score.lower().rstrip('%').replace('-', '_'))}"
    sample, gaps = found if found else (None, "No log of scores: it cannot be recomputed.")
    notes = ["A set against itself."] if first == second else [gaps]
    notes += ["The file holds no number."] if filed and stated is None else []
    ours = AUC_OU if not sets else f"1: {first} texts are always likelier than {second} ones, 0.5: no difference"
    flipped = Sample(1 - sample.value, 1 - sample.draws, sample.n) if sample else None
    other = flipped if sample or stated is None else 1 - stated
    name = "_".join(key)
    return metric(id, [row(f"{name} (MUSE)", direction(id), stated, sample, notes),
                       row(f"{name} (OpenUnlearning)", ours, None, other,
                           [] if sample or stated is None else ["1 - the file's own."])], sample)  # fmt: skip


def _area(document: Document, first: str, second: str, score: str) -> tuple[Sample, str] | None:
    """The area of one score between two sets, items resampled on each side; None where a side holds no score."""
    if not all(document.data.get(split) for split in (first, second)):
        return None
    sides = [by_index(document.data[split], score, f"{document.path}, {split}") for split in (first, second)]
    if not all(side.keys for side in sides):
        return None
    drawn = []
    for side, split in zip(sides, (first, second), strict=True):
        weights, index = entity_weights(entities_of(side.keys, split)[1])
        drawn.append(weights[:, index])
    members, others = sides
    value = areas.membership_auc(members.means, others.means).muse
    draws = areas.auc_draws(members.means, others.means, *drawn)
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
            if not isinstance(entry, Mapping):
                continue  # counted among the gaps of the score
            split = "retain" if name.endswith("_r") else "forget"
            asked = text(entry.get("question")) or text(entry.get("prompt")) or ""
            score = number(entry.get("rougeL"))
            item = f"{split}:{name}:{index}"
            lines.append((item, item, "candidate", split, asked, text(entry.get("gt")) or "",
                          text(entry.get("response")), math.nan if score is None else score))  # fmt: skip
    return texts(f"{TOOL}.generations", lines) if lines else None
