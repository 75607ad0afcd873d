"""A small finished run, made through the store and the statistics without a model: what pages are tested on.

Ten people with two facts each. Three candidates: one says nothing but stores all, one is like the reference, one is
like the original. Numbers are drawn at random around a share that each subject "knows".
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import numpy as np

from audit.cache import locked
from audit.catalogue import CATALOGUE, make, settings_of
from audit.collect import collect
from audit.errors import NotApplicable, NotIdentifiable
from audit.stats import Panel, Scores, against_chance, mean
from audit.store import Run
from audit.subjects.modality import readable
from audit.types import Evidence, Modality, Reading, Role
from tests.conftest import STORE, code_digest, views
from tests.pages import shapes

LAYERS = 5
ENTITIES = [f"person {i}" for i in range(10)]
ITEMS = [(f"forget:{2 * i + j}", name, a) for i, name in enumerate(ENTITIES) for j, a in enumerate(("city", "job"))]
KNOWS: dict[str, dict[str, float]] = {
    "original": {"said": 0.95, "stored": 0.95, "recoverable": 0.95, "utility": 0.97},
    "reference": {"said": 0.05, "stored": 0.2, "recoverable": 0.1, "utility": 0.97},
    "hides": {"said": 0.05, "stored": 0.9, "recoverable": 0.85, "utility": 0.96},
    "like-retrained": {"said": 0.05, "stored": 0.18, "recoverable": 0.1, "utility": 0.97},
    "untouched": {"said": 0.95, "stored": 0.95, "recoverable": 0.95, "utility": 0.97},
}
CANDIDATES = [name for name in KNOWS if name not in ("original", "reference")]
HOSTILE = '<img src=x onerror=alert(1)> **bold** [link](http://evil.example) $x$ &amp; "quoted"'
Rows = Iterator[dict[str, Any]]


def build(
    out: Path,
    candidates: Sequence[str] = tuple(CANDIDATES),
    *,
    complete: bool = True,
    prompt: str = "",
    only: Sequence[str] = (),
) -> Run:
    """Write a run of `candidates` into a folder; `prompt` replaces the text of every question.

    `only` are the ids of the evidence that was asked for; without them the whole catalogue was.
    """
    run = Run(out)
    run.write_plan(plan(candidates, only))
    for name in candidates:
        for id in only or CATALOGUE:
            run.put(name, found(id, name, prompt))
    if complete:
        run.write_manifest({"finished": "2026-11-01T12:00:00+0000", "failed": []})
    return run


def plan(candidates: Sequence[str], only: Sequence[str] = ()) -> dict[str, Any]:
    """What `case.json` holds, as `run.describe` writes it."""
    ids = list(only or CATALOGUE)

    def subject(name: str) -> dict[str, Any]:
        return {"name": name, "path": f"models/{name}", "fingerprint": "0" * 32, "settings": {}}

    return {
        "name": "Ten people",
        "seed": 0,
        "template": "plain",
        "device": "cpu",
        "started": "2026-11-01T11:00:00+0000",
        "case_file": "case.toml",
        "original": subject("original"),
        "warnings": [],
        "reference": subject("reference"),
        "candidates": [subject(name) for name in candidates],
        "corpora": {"forget": {"source": "forget.jsonl", "digest": "0", "items": 20, "entities": 10}},
        "evidence": ids,
        "settings": {id: settings_of(make(id)) for id in ids},
        "versions": {},
    }


def found(id: str, candidate: str, prompt: str = "", fails: Exception | None = None) -> Any:
    """A finding made by the real `collect` from made-up scores; `fails` is raised instead of measuring."""
    real = make(id)

    def measure(self: Evidence, bench: Any) -> Reading:
        if fails is not None:
            raise fails
        rows = [real.row(**row) for row in rows_of(id)(candidate, prompt)]
        return Reading(rows, panel(real.place, candidate, id), f"Made-up numbers for {candidate}.")

    stand_in = type(type(real).__name__, (type(real),), {"measure": measure})(**settings_of(real))
    modality = next(kind for kind in Modality if readable(real, kind))
    bench: Any = SimpleNamespace(null="reference", roles=(), modality=modality)
    return collect(id, stand_in, bench, {"key": "k", "measured": "2026-11-01T11:30:00+0000"})


def answers(place: str, who: str, id: str) -> np.ndarray:
    """Whether each item is known: exactly the share that the subject knows, spread over the entities [items]."""
    share, number = KNOWS[who][place], len(ITEMS)
    known = np.arange(number) < round(share * number)
    return np.random.default_rng(len(id)).permutation(known).astype(float)


def panel(place: str, candidate: str, id: str) -> Panel:
    """Original, candidate and reference on the same items."""
    names, entities = [i for i, _, _ in ITEMS], [e for _, e, _ in ITEMS]
    sample = {
        who: mean(Scores(names, entities, answers(place, who, id))) for who in ("original", candidate, "reference")
    }
    if place == "utility":
        return against_chance(sample["original"], sample[candidate], 0.1, "retain")
    null = sample["reference"]
    return Panel(sample["original"], sample[candidate], null, null, "reference", null)


def _everyone(candidate: str) -> list[tuple[Role, str]]:
    return [("original", "original"), ("candidate", candidate), ("reference", "reference")]


def _text(prompt: str, entity: str, attribute: str) -> dict[str, str]:
    return {"prompt": prompt or f"What is the {attribute} of {entity}?", "answer": f"the {attribute} of {entity}"}


def _asked(split: str) -> Callable[[str, str], Rows]:
    def rows(candidate: str, prompt: str) -> Rows:
        for role, who in _everyone(candidate):
            known = answers("said" if split == "forget" else "utility", who, "x")
            for (item, entity, attribute), yes in zip(ITEMS, known, strict=True):
                text = _text(prompt, entity, attribute)
                yield {
                    "split": split, "item": item.replace("forget", split), "entity": entity, "attribute": attribute,
                    "subject": role, **text, "said": text["answer"] if yes else "I do not know.",
                    "rougeL_recall": float(yes), "contains": float(yes), "prob": 0.1 + 0.8 * yes, "prob_wrong": 0.1,
                    "prob_normalised": 0.5, "truth_ratio": 0.5,
                }  # fmt: skip

    return rows


def _only(id: str, rows: Callable[[str, str], Rows]) -> Callable[[str, str], Rows]:
    """The columns that an evidence's table has."""

    def chosen(candidate: str, prompt: str) -> Rows:
        names = make(id).row._fields  # type: ignore[attr-defined]
        for row in rows(candidate, prompt):
            yield {name: row.get(name) for name in names}

    return chosen


def _layers(candidate: str, prompt: str) -> Rows:
    for role, who in _everyone(candidate):
        for split in ("forget", "retain"):
            for layer in range(LAYERS):
                value = 0.2 + (KNOWS[who]["stored"] - 0.2) * layer / (LAYERS - 1)
                for attribute in ("all", "city", "job"):
                    yield {
                        "layer": layer, "subject": role, "split": split, "attribute": attribute, "accuracy": value,
                        "low": max(value - 0.1, 0.0), "high": min(value + 0.1, 1.0), "chance": 0.2, "shuffled": 0.21,
                        "items": 20, "entities": 10, "view": f"{split}, {attribute}",
                    }  # fmt: skip


def _cka(candidate: str, prompt: str) -> Rows:
    for subject, against in (("candidate", "original"), ("reference", "original"), ("candidate", "reference")):
        for split in ("forget", "retain"):
            for layer in range(LAYERS):
                value = 1 - 0.1 * layer
                yield {
                    "layer": layer, "subject": subject, "against": against, "split": split, "biased": value,
                    "debiased": value - 0.02, "low": value - 0.1, "high": min(value + 0.05, 1.0), "items": 20,
                    "view": f"{split}, to the {against}",
                }  # fmt: skip


def _map(candidate: str, prompt: str) -> Rows:
    rng = np.random.default_rng(0)
    for method, layers in (("pca", range(LAYERS)), ("umap", (2, 4))):
        for layer in layers:
            for role, _ in _everyone(candidate):
                for split in ("forget", "retain"):
                    for item, entity, attribute in ITEMS:
                        x, y = rng.normal(size=2)
                        yield {
                            "method": method, "layer": layer, "subject": role, "split": split, "trustworthiness": 0.91,
                            "item": item.replace("forget", split), "entity": entity, "attribute": attribute, "x": x,
                            "y": y, **_text(prompt, entity, attribute),
                        }  # fmt: skip


def _relearn(candidate: str, prompt: str) -> Rows:
    for role, who in _everyone(candidate):
        for seed in ("all", "0", "1", "2"):
            for step in (0,) if role == "original" else (0, 10, 40):
                top = KNOWS[who]["recoverable"]
                value = top if role == "original" else KNOWS[who]["said"] + (top - KNOWS[who]["said"]) * step / 40
                yield {
                    "subject": role, "split": "forget", "seed": seed, "step": step, "recovery": value,
                    "low": max(value - 0.1, 0.0), "high": min(value + 0.1, 1.0), "retain_recall": 0.9,
                    "steps_to_recover": "10", "items": 10,
                    "entities": 5,
                }  # fmt: skip


def _formats(candidate: str, prompt: str) -> Rows:
    for role, who in _everyone(candidate):
        for format in ("none", "int8", "nf4"):
            value = KNOWS[who]["said"]
            yield {
                "format": format, "subject": role, "split": "forget", "recall": value, "low": max(value - 0.1, 0.0),
                "high": min(value + 0.1, 1.0), "retain_recall": 0.95, "items": 20,
            }  # fmt: skip


def _heads(candidate: str, prompt: str) -> Rows:
    for role, who in _everyone(candidate):
        for layer in ("any", "1", "2", "3", "4"):
            value = KNOWS[who]["recoverable"]
            yield {
                "layer": layer, "subject": role, "split": "forget", "hit_rate": value, "low": max(value - 0.1, 0.0),
                "high": min(value + 0.1, 1.0), "median_rank": 3.0, "items": 20,
            }  # fmt: skip


def _weights(candidate: str, prompt: str) -> Rows:
    for role, who in _everyone(candidate)[1:]:
        for layer in range(LAYERS - 1):
            for module in ("attention", "mlp"):
                changed = 0.0 if who == "untouched" else 0.01 * (layer + 1)
                yield {
                    "subject": role, "tensor": f"block.{layer}.{module}", "where": f"block {layer}", "layer": layer,
                    "module": module, "elements": 64, "identical": float(changed == 0), "relative": changed,
                    "largest": changed, "stable_rank": None, "effective_rank": None,
                }  # fmt: skip


def _typed(id: str) -> Callable[[str, str], Rows]:
    """Rows for an evidence that no page treats on its own: every column filled by its type."""
    hints = get_type_hints(make(id).row)  # type: ignore[call-overload]
    fixed: dict[str, Any] = {"low": 0.2, "high": 0.9, "chance": 0.1, "shuffled": 0.1}

    def rows(candidate: str, prompt: str) -> Rows:
        for role, who in _everyone(candidate):
            for split in ("forget", "retain") if "split" in hints else ("",):
                for layer in range(1, LAYERS) if "layer" in hints else (1,):
                    row: dict[str, Any] = {}
                    for name, hint in hints.items():
                        kind = str if "str" in str(hint) else int if "int" in str(hint) else float
                        row[name] = {str: "made up", int: 1, float: KNOWS[who]["stored"]}[kind]
                    row |= {name: value for name, value in fixed.items() if name in hints}
                    given = {"subject": role, "split": split, "layer": layer, "against": "original"}
                    yield row | {name: value for name, value in given.items() if name in hints}

    return rows


def _texts(id: str) -> Callable[[str, str], Rows]:
    """Rows with a text per item: two families of three runs each; what the table has besides is filled by type."""
    hints = get_type_hints(make(id).row)  # type: ignore[call-overload]

    def rows(candidate: str, prompt: str) -> Rows:
        filled = next(_typed(id)(candidate, prompt))
        for role, who in _everyone(candidate):
            known = answers("recoverable", who, "x")
            for (item, entity, attribute), yes in zip(ITEMS, known, strict=True):
                text = _text(prompt, entity, attribute)
                for family in ("prefix", "role play"):
                    for run in range(3):
                        right = bool(yes) and run == 0
                        row = {
                            **text, "item": item, "entity": entity, "attribute": attribute, "subject": role,
                            "split": "forget", "family": family, "run": run, "wanted": text["answer"],
                            "prompt": f"{family}: {text['prompt']}", "score": float(right),
                            "said": f"Surely {text['answer']}." if right else prompt or "I cannot tell.",
                        }  # fmt: skip
                        yield {name: row.get(name, filled[name]) for name in hints}

    return rows


def _curve(id: str) -> Callable[[str, str], Rows]:
    """A ROC curve of each subject, with a first point that has no value."""
    hints = get_type_hints(make(id).row)  # type: ignore[call-overload]

    def rows(candidate: str, prompt: str) -> Rows:
        filled = next(_typed(id)(candidate, prompt))
        for role, who in _everyone(candidate):
            for rate in (0.0, 0.001, 0.1, 0.3, 0.6, 1.0):
                hit = None if rate == 0.001 else rate ** (1.1 - KNOWS[who]["stored"]) if rate else 0.0
                row = {
                    "false_positive_rate": rate, "subject": role, "true_positive_rate": hit, "chance": rate,
                    "low": None if hit is None else max(hit - 0.1, 0.0),
                    "high": None if hit is None else min(hit + 0.1, 1.0), "auc": KNOWS[who]["stored"], "auc_low": 0.1,
                    "auc_high": 0.9,
                }  # fmt: skip
                yield {name: row.get(name, filled[name]) for name in hints}

    return rows


def _ranks(id: str) -> Callable[[str, str], Rows]:
    """A curve over layers of each item."""
    hints = get_type_hints(make(id).row)  # type: ignore[call-overload]

    def rows(candidate: str, prompt: str) -> Rows:
        filled = next(_typed(id)(candidate, prompt))
        for role, who in _everyone(candidate):
            for item, entity, _ in ITEMS:
                for layer in range(1, LAYERS):
                    row = {"layer": layer, "item": item, "entity": entity, "subject": role, "split": "forget"}
                    row["rank"] = 1 + 100 * (1 - KNOWS[who]["stored"]) / layer
                    yield {name: row.get(name, filled[name]) for name in hints}

    return rows


def _features(candidate: str, prompt: str) -> Rows:
    for role, who in _everyone(candidate):
        for layer in (2, 3):
            for feature in range(12):
                value = KNOWS[who]["stored"] * feature / 4
                words = [f"{prompt[:20]} token", "of", "text"]
                shown = {r: [0.0, round(KNOWS[w]["stored"], 2), 0.1] for r, w in _everyone(candidate)}
                card = role == "original" and feature % 2 == 0
                yield {
                    "layer": layer, "feature": feature, "subject": role, "forget": value, "retain": value / 2,
                    "rate": 0.2, "carries": feature / 10, "histogram": "[10, 4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1]",
                    "top": 2.0, "promotes": json.dumps(words) if card else "",
                    "suppresses": json.dumps(words) if card else "",
                    "contexts": json.dumps([{"item": "forget:0", "tokens": words, **shown}]) if card else "",
                }  # fmt: skip


ROWS: dict[str, Callable[[str, str], Rows]] = {
    "behaviour.recall": _only("behaviour.recall", _asked("forget")),
    "behaviour.probability": _only("behaviour.probability", _asked("forget")),
    "utility.retain": _only("utility.retain", _asked("retain")),
    "drift.cka": _cka,
    "drift.map": _map,
    "probes.linear": _layers,
    "probes.truth": _only("probes.truth", _layers),
    "attacks.relearn": _relearn,
    "attacks.quantization": _formats,
    "attacks.head_projection": _heads,
    "concepts.weight_delta": _weights,
    "sae.features": _features,
}


def rows_of(id: str) -> Callable[[str, str], Rows]:
    """How the rows of an evidence are made up: by hand, or by the columns that it has."""
    names = set(make(id).row._fields)  # type: ignore[attr-defined]
    shapes = (({"item", "subject", "said"}, _texts), ({"true_positive_rate"}, _curve), ({"item", "layer"}, _ranks))
    shaped = next((made for columns, made in shapes if columns <= names), _typed)
    return ROWS.get(id) or shaped(id)


def copied(out: Path) -> Run:
    """The whole run, shapes and all, made by whoever comes first and copied for every other worker and test."""
    kept = STORE / f"made-up-{views().name}-{code_digest('tests/pages')}"
    STORE.mkdir(parents=True, exist_ok=True)
    with locked(STORE / "made-up.lock"):
        if not kept.is_dir():
            partial = kept.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            with shapes.registered():
                build(partial)
            os.replace(partial, kept)
    shutil.copytree(kept, out)
    return Run(out)


def with_every_status(out: Path) -> Run:
    """A run in which each way of having no number occurs: not applicable, not identifiable, failed, and not there."""
    run = copied(out)
    (out / "manifest.json").unlink()
    run.put("hides", found("probes.linear", "hides", fails=NotApplicable(f"No item has a label. {HOSTILE}")))
    run.put("hides", found("attacks.relearn", "hides", fails=NotIdentifiable("Only 3 entities.")))
    run.put("untouched", found("drift.cka", "untouched", fails=RuntimeError("out of luck")))
    (out / "findings" / "untouched" / "drift.map.json").unlink()
    return run
