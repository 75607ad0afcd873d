"""How useful is it still, by TOFU's measure?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.evidence.behaviour._reading import has_end
from audit.evidence.behaviour.probability import item_rows
from audit.evidence.behaviour.recall import score
from audit.metrics.tofu import harmonic_mean, true_better
from audit.stats import Sample, Scores
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from audit.bench import Bench

CORPORA: dict[Split, str] = {"retain": "retain", "real_authors": "real authors", "world_facts": "world facts"}
METRICS = ("probability", "ROUGE-L recall", "truth ratio")
PARTS = len(CORPORA) * len(METRICS)
ALL = "model utility"
Part = tuple[Split, str]
"""A corpus and a measure."""


class Row(NamedTuple):
    """One part of one subject's utility, or the whole."""

    subject: Annotated[str, "role of the model"]
    part: Annotated[str, "corpus and measure; the last row of a subject is the harmonic mean of its parts"]
    split: Annotated[str, "corpus: retain, real_authors or world_facts; all for the whole"]
    metric: Annotated[str, "measure: the higher, the more is kept"]
    value: Annotated[float, "mean over the items, or harmonic mean over the parts, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    items: Annotated[int, "number of items behind it"]
    parts: Annotated[str, "how many of TOFU's nine parts the case has"]
    published: Annotated[
        float | None,
        "value with the end token, as TOFU's and OpenUnlearning's code count it; empty where the tokenizer has none",
    ]


@dataclass(frozen=True)
class ModelUtility:
    """TOFU's model utility over the parts that the case has corpora for; it says how many of the nine these are."""

    items: int = 300
    """Most retain items, the same as for retained recall; 0 takes all."""

    title: ClassVar[str] = "Model utility"
    question: ClassVar[str] = "How much of the model's usefulness is left, by TOFU's measure?"
    blind_to: ClassVar[str] = (
        "Every ability that these questions do not ask for, and which part fell: a harmonic mean is close to its "
        "lowest part. Over fewer than nine parts it is not comparable with published values."
    )
    formula: ClassVar[str] = (
        "harmonic mean of {retain, real authors, world facts} x {probability (on the last two as a share of right and "
        "wrong answers), ROUGE-L recall, mean max(0, 1 - truth ratio)}; residual = candidate / original, floor 0"
    )
    source: ClassVar[str] = (
        "TOFU (Maini et al. 2024), hm_aggregate of OpenUnlearning. Both count the end-of-text token after each answer "
        "too, in probability and truth ratio: their number is the column published, all others leave it out"
    )
    place: ClassVar[Place] = "utility"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT, Access.LOGITS})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "part", "value", low="low", high="high", hover=("items", "parts"),
        x_title="part", y_title="utility", title="What is kept, part by part",
    )  # fmt: skip
    cost: ClassVar[float] = 1.3

    def measure(self, bench: Bench) -> Reading:
        """Score every subject on what the case has of the parts; raises NotApplicable without a retain corpus."""
        bench.corpus("retain")
        splits = [split for split in CORPORA if bench.has(split)]
        parts = {role: self._parts(bench, role, splits) for role in bench.roles}
        common = [part for part in parts["original"] if all(part in found for found in parts.values())]
        whole = {role: combined([found[part] for part in common]) for role, found in parts.items()}
        panel = stats.against_chance(whole["original"], whole["candidate"], chance=0.0, split="retain")
        share = f"{len(common)} of {PARTS}"
        ended = {role: self._published(bench, role, common) for role in bench.roles}
        rows = [
            row
            for role, found in parts.items()
            for row in (
                *(
                    _row(role, part, found[part], share, _items(found[part]), published)
                    for part, published in zip(common, ended[role][:-1], strict=True)
                ),
                _row(role, None, whole[role], share, _asked(found, common), ended[role][-1]),
            )
        ]
        return Reading(rows, panel, _note(bench, panel, parts["candidate"], common, ended["candidate"][-1]))

    def _parts(self, bench: Bench, role: Role, splits: list[Split]) -> dict[Part, Sample]:
        return {
            (split, metric): stats.mean(scores, seed=bench.seed)
            for split in splits
            for metric, scores in self._scores(bench, role, split).items()
            if np.any(scores.used)  # type: ignore[arg-type]
        }

    def _published(self, bench: Bench, role: Role, parts: list[Part]) -> list[float | None]:
        """The value of each part with the end token counted, then the whole; None where the tokenizer has none."""
        splits = list(dict.fromkeys(split for split, _ in parts))
        if not all(has_end(bench, role, split) for split in splits):
            return [None] * (len(parts) + 1)
        scores = {split: self._scores(bench, role, split, "published_logprob") for split in splits}
        values = [stats.mean(scores[split][metric], seed=bench.seed).value for split, metric in parts]
        return [*values, harmonic_mean(values)]

    def _scores(self, bench: Bench, role: Role, split: Split, column: str = "mean_logprob") -> Mapping[str, Scores]:
        """The three measures of one corpus; an item that has no wrong answers is left out where they are needed."""
        corpus = bench.corpus(split)
        limit = self.items or None if split == "retain" else None
        chosen = bench.subset(split, limit)
        items, entities = [corpus.items[i] for i in chosen], [corpus.entities[i] for i in chosen]
        every = item_rows(bench.likelihood(role, split), corpus.items, role, split, column)
        read = [every[i] for i in chosen]
        said = bench.says(role, split, limit)
        values = {
            "probability": [row.prob if split == "retain" else row.prob_normalised for row in read],
            "ROUGE-L recall": [score(text, item.answer) for text, item in zip(said, items, strict=True)],
            "truth ratio": [None if r.truth_ratio is None else float(true_better([r.truth_ratio])[0]) for r in read],
        }
        ids = [item.id for item in items]
        return {metric: Scores(ids, entities, *_used(numbers)) for metric, numbers in values.items()}


def _used(numbers: list[float | None] | list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Values, and which items have one: None is an item without wrong answers; a NaN is an error that Scores raises."""
    values = np.array([np.nan if number is None else number for number in numbers], np.float64)
    return values, np.array([number is not None for number in numbers])


def combined(parts: list[Sample]) -> Sample:
    """Harmonic mean of some means, draw by draw; corpora are resampled on their own. 0 as soon as one part is 0."""
    draws = np.stack([part.draws for part in parts])
    positive = (draws > 0).all(0)
    inverse = np.divide(1.0, draws, out=np.ones_like(draws), where=draws > 0)
    return Sample(
        harmonic_mean([part.value for part in parts]),
        np.where(positive, len(parts) / inverse.sum(0), 0.0),
        min(part.n for part in parts),
    )


def _items(sample: Sample) -> int:
    return int(np.any(sample.scores.used, axis=0).sum()) if sample.scores is not None else 0  # type: ignore[arg-type]


def _asked(parts: Mapping[Part, Sample], common: list[Part]) -> int:
    """Items behind the whole: each counts once, however many measures it enters."""
    splits = {split for split, _ in common}
    return sum(max(_items(parts[part]) for part in common if part[0] == split) for split in splits)


def _row(role: Role, part: Part | None, sample: Sample, share: str, items: int, published: float | None) -> Row:
    estimate = sample.estimate(0.0)
    split, metric = part or ("all", "harmonic mean")
    name = f"{CORPORA[part[0]]}: {metric}" if part else ALL
    return Row(role, name, split, metric, estimate.value, estimate.low, estimate.high, items, share, published)


def _note(
    bench: Bench, panel: stats.Panel, parts: Mapping[Part, Sample], common: list[Part], published: float | None
) -> str:
    lowest = min(common, key=lambda part: parts[part].value)
    missing = [split for split in CORPORA if not bench.has(split)]
    partly = (
        f" over {len(common)} of nine parts"
        + (f" (no corpus for {' and '.join(missing)})" if missing else " (no wrong answers for the others)")
        + ", not comparable with published values,"
        if len(common) < PARTS
        else " over all nine parts"
    )
    return (
        f"Model utility of {bench.case.candidate.name}{partly} is {panel.candidate.value:.2f}, of the original "
        f"{panel.original.value:.2f}; its lowest part is {CORPORA[lowest[0]]} by {lowest[1]}, "
        f"{parts[lowest].value:.2f}."
        + (
            f" With the end token, as TOFU's and OpenUnlearning's code count it, it is {published:.2f}."
            if published is not None
            else ""
        )
    )
