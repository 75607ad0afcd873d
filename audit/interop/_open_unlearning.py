"""OpenUnlearning's metrics recomputed from the per-item values of an EVAL file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.interop.cards import AUC_MUSE, direction
from audit.interop.names import plain
from audit.interop.result import Metric, entities_of, mean_of, metric, per_item, row, sample_of
from audit.interop.values import Values, by_index, number, together, what_is
from audit.metrics import auc as areas
from audit.metrics import tofu
from audit.stats import Sample, entity_weights

if TYPE_CHECKING:
    from audit.interop.open_unlearning import Evaluation

AUTHOR = 20
"""TOFU asks 20 questions about each author, in a row."""
SPLITS = {"forget": "forget", "retain": "retain", "ra": "real authors", "wf": "world facts"}
PARTS = {
    f"{part}_{score}": f"{part}_{name}"
    for part in ("retain", "ra", "wf")
    for score, name in (
        ("Prob", "Q_A_Prob" if part == "retain" else "Q_A_Prob_normalised"),
        ("ROUGE", "Q_A_ROUGE"),
        ("Truth_Ratio", "Truth_Ratio"),
    )
}
"""The nine parts of model utility and the metrics that hold them."""
NO_REFERENCE = (
    "No results of a model that never saw the forget set are among the files: import its EVAL file too, or give it "
    "with --reference."
)


def canonical(name: str) -> str:
    """The tool's own spelling of a metric, so that two files that spell it differently are compared."""
    if re.fullmatch(r"(?i:(forget|retain|ra|wf)_truth_ratio)", name):
        split = name.split("_")[0].lower()
        return f"{split}_truth_ratio" if split == "forget" else f"{split}_Truth_Ratio"
    return plain(name)


def items_of(block: Mapping[str, Any] | None) -> Any:
    """`value_by_index` as the code writes it, or `values_by_index` as the docs say."""
    if block is None:
        return None
    return block.get("value_by_index", block.get("values_by_index"))


def why_null(name: str) -> str:
    """Why OpenUnlearning leaves a number empty."""
    return "OpenUnlearning leaves it empty without the retain model's results." if name == "forget_quality" else ""


def recompute(one: Evaluation, name: str, id: str, reference: Evaluation | None) -> Metric:
    """A metric from its items, beside what the file says."""
    key = canonical(name)
    if key == "forget_quality":
        return _forget_quality(one, id, reference)
    if key == "model_utility":
        return _model_utility(one, id)
    if key == "privleak":
        return _privleak(one, id, reference)
    if key.startswith("mia_"):
        return _membership(one, name, id)
    stated = number((one.block(name) or {}).get("agg_value"))
    notes = _notes(one, name)
    if one.index(name) is None:
        return metric(id, [row(name, direction(id), stated, None, [*notes, "The file holds no per-item values."])])
    found, gaps = score(one, name)
    return metric(id, [row(name, direction(id), stated, found, [*notes, gaps])], found, split_of(name))


def _notes(one: Evaluation, name: str) -> list[str]:
    """What the file holds instead of a number, and a SUMMARY that contradicts its EVAL."""
    raw = (one.block(name) or {}).get("agg_value")
    notes = [] if number(raw) is not None else [f"The file's aggregate is {what_is(raw)}. {why_null(name)}".strip()]
    own, other = number(raw), number(one.summary.get(name))
    if own is not None and other is not None and abs(other - own) > 1e-9:
        notes.append(f"SUMMARY says {other:.6g}, EVAL says {own:.6g}.")
    return notes


def split_of(name: str) -> str:
    return SPLITS.get(name.split("_")[0], "forget")


def block_of(one: Evaluation, name: str, count: int) -> int:
    """Items per author: TOFU's own sets come in blocks of 20; real authors, world facts and MUSE do not."""
    tofu_sets = split_of(name) in ("forget", "retain") and not any("mem_ROUGE" in key for key in one.data)
    return AUTHOR if tofu_sets and count % AUTHOR == 0 else 0


def score(one: Evaluation, name: str) -> tuple[Sample | None, str]:
    """The mean of a metric over its items, and what is missing."""
    values, scores = item_scores(one, name)
    return sample_of(values, scores, split_of(name), block_of(one, name, _count(one, name))), values.gaps


def _count(one: Evaluation, name: str) -> int:
    block = one.index(name)
    return len(block) if block is not None else 0


def item_scores(one: Evaluation, name: str) -> tuple[Values, np.ndarray[Any, np.dtype[np.float64]]]:
    """The score of each item, from the losses where the file holds them, else from the stored scores."""
    key = canonical(name)
    if key.lower().endswith("truth_ratio"):
        values, ratios = truth_ratios(one, name)
        forget = key.lower().startswith("forget")
        return values, tofu.closer_to_1_better(ratios) if forget else tofu.true_better(ratios)
    if key.endswith("_Prob_normalised"):
        base = key.removesuffix("_Prob_normalised")
        right, wrong = one.index(f"{base}_Prob"), one.index(f"{base}_PERT_Prob")
        if right is not None and wrong is not None:
            (p, others), gaps = together(_read(one, f"{base}_Prob", "prob"), _read(one, f"{base}_PERT_Prob", "prob"))
            scores = tofu.normalised_probability(p.means, others.sums[:, None]) if p.keys else p.means
            return Values(p.keys, p.lists, gaps), scores
    values = _read(one, name, field_of(one, name))
    return values, values.means


def field_of(one: Evaluation, name: str) -> str:
    block = one.index(name)
    first: Any = next(iter(block.values() if isinstance(block, Mapping) else block), {})
    if name.endswith("ROUGE"):
        return "rougeL_f1" if "mem_ROUGE" in name else "rougeL_recall"
    return next((field for field in ("prob", "score") if isinstance(first, Mapping) and field in first), "score")


def _read(one: Evaluation, name: str, field: str) -> Values:
    return by_index(one.index(name), field, f"{one.where}, {name}")


def truth_ratios(one: Evaluation, name: str) -> tuple[Values, np.ndarray[Any, np.dtype[np.float64]]]:
    """R = p_wrong / p_right of each item: from the losses, or as stored where the file lacks them."""
    part = name.split("_")[0]
    right = f"{part}_Q_A_PARA_Prob" if part in ("forget", "retain") else f"{part}_Q_A_Prob"
    wrong = f"{part}_Q_A_PERT_Prob"
    if one.index(right) is not None and one.index(wrong) is not None:
        (good, bad), gaps = together(_read(one, right, "avg_loss"), _read(one, wrong, "avg_loss"))
        return Values(good.keys, good.lists, gaps), tofu.truth_ratios(good.means, bad.means)
    values = _read(one, name, "score")
    return values, values.means


def _forget_quality(one: Evaluation, id: str, reference: Evaluation | None) -> Metric:
    stated, notes = one.in_file("forget_quality"), []
    if "forget_quality" in one.data or "forget_quality" in one.summary:
        notes = _notes(one, "forget_quality") if stated is None else []
    if reference is None or one.index("forget_truth_ratio") is None or reference.index("forget_truth_ratio") is None:
        why = "A reference compared with itself says nothing." if one.model.role == "reference" else NO_REFERENCE
        lines = [row("forget_quality", direction(id), stated, None, [*notes, why])]
        return metric(id, lines)
    mine, ratios = truth_ratios(one, "forget_truth_ratio")
    theirs, null = truth_ratios(reference, "forget_truth_ratio")
    test = tofu.forget_quality(ratios, null)
    notes += [f"Against {reference.name}.", mine.gaps, theirs.gaps, "A p-value has no interval."]
    tolerance = 1e-4 * abs(stated) if stated is not None else 0.0
    line = row("forget_quality", direction(id), stated, test.p_value, notes, tolerance)
    distance = row("ks_statistic", "0: like a model that never saw the forget set", None, test.statistic)
    items, entities = entities_of(mine.keys, "forget", block_of(one, "forget_truth_ratio", len(ratios)))
    return metric(id, [line, distance], test.p_value, items=per_item(mean_of(ratios, items, entities), "forget"))


def _model_utility(one: Evaluation, id: str) -> Metric:
    stated, notes = number((one.block("model_utility") or {}).get("agg_value")), _notes(one, "model_utility")
    missing = [name for name in PARTS.values() if one.index(name) is None]
    if missing:
        note = f"{len(missing)} of its nine parts have no per-item values ({missing[0]}, ...)."
        return metric(id, [row("model_utility", direction(id), stated, None, [*notes, note])])
    found: dict[str, Sample] = {}
    for part, name in PARTS.items():
        sample, gaps = score(one, name)
        if sample is None:
            return metric(id, [row("model_utility", direction(id), stated, None, [*notes, f"{name}: {gaps}"])])
        found[part] = sample
        notes += [f"{name}: {gaps}"] if gaps else []
    return metric(id, [row("model_utility", direction(id), stated, harmonic(found), notes)], harmonic(found),
                  items=per_item(None, ""))  # fmt: skip


def harmonic(found: Mapping[str, Sample]) -> Sample:
    """Model utility with its draws: parts on the same entities are resampled together."""
    draws = np.stack([sample.draws for sample in found.values()])
    with np.errstate(divide="ignore"):
        spread = len(draws) / (1 / draws).sum(axis=0)
    value = tofu.model_utility({part: sample.value for part, sample in found.items()})
    return Sample(value, spread, sum(found[f"{part}_Prob"].n for part in ("retain", "ra", "wf")))


def area(one: Evaluation, name: str) -> tuple[Sample, str] | None:
    """The area of one attack in OpenUnlearning's orientation, entities resampled on each side; None without scores."""
    block = one.block(name) or {}
    sides = []
    for side in ("forget", "holdout"):
        inner = block.get(side)
        index = items_of(inner) if isinstance(inner, Mapping) else None
        if index is None:
            return None
        sides.append(by_index(index, "score", f"{one.where}, {name}/{side}"))
    if not all(side.keys for side in sides):
        return None
    forget, holdout = sides
    weights: list[Any] = []
    entities = []
    for values, split in ((forget, "forget"), (holdout, "holdout")):
        _, names = entities_of(values.keys, split, block_of(one, "forget_", len(values.keys)))
        drawn, index = entity_weights(names)
        weights.append(drawn[:, index])
        entities.append(len(set(names)))
    draws = areas.auc_draws(holdout.means, forget.means, weights[1], weights[0])
    value = areas.membership_auc(forget.means, holdout.means).open_unlearning
    told = [f"{split}: {found.gaps}" for split, found in (("forget", forget), ("holdout", holdout)) if found.gaps]
    return Sample(value, draws, min(entities)), " ".join(told)


def _flip(sample: Sample, change: Callable[[Any], Any]) -> Sample:
    return Sample(float(change(sample.value)), change(sample.draws), sample.n)


def _membership(one: Evaluation, name: str, id: str) -> Metric:
    stated = one.in_file(name)
    notes = _notes(one, name) if name in one.data else []
    found = area(one, name)
    if found is None:
        note = "No scores of items: it cannot be recomputed and has no interval."
        other = None if stated is None else 1 - stated
        lines = [row(f"{name} (OpenUnlearning)", direction(id), stated, None, [*notes, note]),
                 row(f"{name} (MUSE)", AUC_MUSE, None, other, ["1 - the file's own."])]  # fmt: skip
        return metric(id, lines)
    sample, gaps = found
    lines = [
        row(f"{name} (OpenUnlearning)", direction(id), stated, sample, [*notes, gaps]),
        row(f"{name} (MUSE)", AUC_MUSE, None, _flip(sample, lambda x: 1 - x)),
    ]
    return metric(id, lines, sample, items=per_item(_scores(one, name), "forget"))


def _scores(one: Evaluation, name: str) -> Sample | None:
    inner = (one.block(name) or {}).get("forget")
    values = by_index(items_of(inner), "score", f"{one.where}, {name}/forget")
    return sample_of(values, values.means, "forget", block_of(one, "forget_", len(values.keys)))


def _privleak(one: Evaluation, id: str, reference: Evaluation | None) -> Metric:
    """From the items where they are there, else from the file's own areas."""
    stated = one.in_file("privleak")
    notes = _notes(one, "privleak") if "privleak" in one.data else []
    null, against = 0.5, "Against an area of 0.5: no results of a model that never saw the forget set are there."
    if reference is not None:
        theirs = area(reference, "mia_min_k")
        given = theirs[0].value if theirs else reference.in_file("mia_min_k")
        if given is not None:
            null, against = given, f"Against {reference.name}."
    mine = area(one, "mia_min_k")
    if mine is None:
        own = one.in_file("mia_min_k")
        found = None if own is None else areas.privleak(own, null)
        notes += [against, "From the file's own areas, so it has no interval."] if own is not None else []
        return metric(id, [row("privleak", direction(id), stated, found, notes)], found)
    sample = Sample(areas.privleak(mine[0].value, null), _privleak_draws(mine[0].draws, null), mine[0].n)
    notes += [against, mine[1], "The interval takes the reference's area as known."]
    return metric(id, [row("privleak", direction(id), stated, sample, notes)], sample)


def _privleak_draws(draws: Any, null: float) -> Any:
    return 100 * (null - draws) / (1 - null + areas.EPSILON)


def question(prompt: str) -> str:
    """The question within a chat template that was written out as text."""
    match = re.search(r"(?:^|[.\n])user\n\n(.*?)\s*(?:assistant\s*)?$", prompt, re.S)
    return (match[1] if match else prompt).strip()
