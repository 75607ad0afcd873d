"""Can its truth ratios be told from those of a model that never saw the facts?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.evidence.behaviour._reading import has_end, with_wrong_answers
from audit.evidence.behaviour.truth_ratio import ratios
from audit.metrics.tofu import KS, forget_quality
from audit.stats import Sample
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench


Pair = tuple["NDArray[np.float64]", "NDArray[np.float64]"]
"""Truth ratios of a subject and of what it is compared with [items] each."""


class Row(NamedTuple):
    """One item's place in the distribution of one subject's truth ratios; the last columns are the subject's."""

    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    log_ratio: Annotated[float, "log10 of the truth ratio: below 0 it prefers the true answer, 0 cannot tell"]
    share: Annotated[float, "share of the subject's items of this corpus at or below this ratio, 0 to 1"]
    compared_with: Annotated[str, "whose ratios the subject's are compared with"]
    knows_more: Annotated[float, "how far its curve rises above that of the comparison, at most: knowledge; 0 to 1"]
    knows_less: Annotated[float, "how far it falls below, at most: it avoids the true answer; 0 to 1"]
    ks: Annotated[float, "Kolmogorov-Smirnov statistic, the larger of the two: 0 where they cannot be told apart"]
    p_value: Annotated[
        float, "TOFU's forget quality: the HIGHER, the less can be told apart; items taken as independent"
    ]
    published_ks: Annotated[
        float | None, "ks of ratios with the end token, as TOFU's and OpenUnlearning's code count it; empty without one"
    ]
    published: Annotated[
        float | None, "p_value of ratios with the end token, as TOFU's and OpenUnlearning's code count it; else empty"
    ]


@dataclass(frozen=True)
class ForgetQuality:
    """TOFU's forget quality, with the direction of the difference and without the need for a retrained model."""

    title: ClassVar[str] = "Forget quality"
    question: ClassVar[str] = "Can the model's truth ratios be told from those of a model that never saw the facts?"
    blind_to: ClassVar[str] = (
        "Which items differ, and what a small sample cannot show: a p-value rises with fewer items, and falls for "
        "every difference, also that of a model which only writes differently. It takes items of one entity as "
        "independent; the interval does not."
    )
    formula: ClassVar[str] = (
        "D = max over r of |F(r) - F0(r)| for the shares F, F0 of truth ratios at or below r; forget quality = p-value "
        "of D; headline = max(F - F0) - max(F0 - F), above 0 where the model knows more than the comparison"
    )
    source: ClassVar[str] = (
        "TOFU (Maini et al. 2024), two-sample Kolmogorov-Smirnov test; without a reference, where the original tools "
        "give nothing, the facts of the holdout on the same model are the comparison. Both tools count the end-of-text "
        "token after each answer too: their numbers are the columns published, all others leave it out"
    )
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "line", "log_ratio", "share", facet="split", hover=("item", "entity"),
        x_title="log10 of the truth ratio", y_title="share of items", title="Distribution of the truth ratios",
    )  # fmt: skip
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Bench) -> Reading:
        """Compare every subject's ratios with the reference's, or with its own on the holdout."""
        null = bench.null
        other: Split = "forget" if null == "reference" else "holdout"
        splits: tuple[Split, ...] = ("forget", other)
        found = {(role, split): _ratios(bench, role, split) for split in dict.fromkeys(splits) for role in bench.roles}

        def pair(role: Role) -> Pair:
            return found[role, "forget"], found["reference" if null == "reference" else role, other]

        tests = {role: forget_quality(*pair(role)) for role in bench.roles}

        def sample(role: Role) -> Sample:
            ours, theirs = pair(role)
            return signed_distance(ours, _entities(bench, "forget"), theirs, _entities(bench, other), bench.seed)

        original, candidate = sample("original"), sample("candidate")
        floor = stats.constant(0.0, original)  # the comparison against itself
        reference = floor if null == "reference" else None
        panel = stats.Panel(original, candidate, floor, floor, null, reference)
        published = {role: _published(bench, role, null) for role in bench.roles}
        rows = [
            row
            for role in bench.roles
            for row in _rows(bench, role, found, pair(role), (tests[role], published[role]), null)
        ]
        return Reading(rows, panel, _note(bench, pair("candidate"), tests["candidate"], published["candidate"], panel))


def _ratios(bench: Bench, role: Role, split: Split, column: str = "mean_logprob") -> NDArray[np.float64]:
    """Truth ratios of the items that have wrong answers [items]; one that is not a number raises in what reads it."""
    return ratios(bench, role, split, column)[with_wrong_answers(bench, split)]


def _entities(bench: Bench, split: Split) -> list[str]:
    corpus = bench.corpus(split)
    return [e for e, item in zip(corpus.entities, corpus.items, strict=True) if item.wrong_answers]


def _published(bench: Bench, role: Role, null: str) -> KS | None:
    """The test on ratios that count the end token; None where one of the two tokenizers has none."""
    others: tuple[Role, Split] = ("reference", "forget") if null == "reference" else (role, "holdout")
    sides: tuple[tuple[Role, Split], ...] = ((role, "forget"), others)
    if not all(has_end(bench, *side) for side in sides):
        return None
    return forget_quality(*(_ratios(bench, *side, "published_logprob") for side in sides))


def signed_distance(
    ours: NDArray[np.float64], entities: list[str], theirs: NDArray[np.float64], others: list[str], seed: int = 0
) -> Sample:
    """max(F - F0) - max(F0 - F) of two sets of ratios, with entity draws.

    Unlike D it is around 0, not above, for two models that never knew; the same entities are drawn on both sides
    where they are the same.
    """
    above, below = one_sided(ours, theirs)
    weights, index = stats.entity_weights(entities, seed=seed)
    other_weights, other_index = stats.entity_weights(others, seed=seed)
    draws = np.subtract(*one_sided(ours, theirs, weights[:, index], other_weights[:, other_index]))
    value = float(above[0] - below[0])
    return Sample(value, np.where(np.isfinite(draws), draws, value), min(weights.shape[1], other_weights.shape[1]))


def one_sided(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    other_weights: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """max(F - F0) and max(F0 - F) of two weighted samples, [draws] each; the larger is the KS statistic.

    Weights are [draws, items]; without them every item counts once and there is one draw.
    """
    weights = np.ones((1, len(ours))) if weights is None else weights
    other_weights = np.ones((1, len(theirs))) if other_weights is None else other_weights
    points = np.unique(np.concatenate([ours, theirs]))
    gap = _shares(ours, weights, points) - _shares(theirs, other_weights, points)
    return np.maximum(gap.max(1), 0.0), np.maximum(-gap.min(1), 0.0)


def _shares(values: NDArray[np.float64], weights: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the weight at or below each point [draws, points]."""
    order = np.argsort(values, kind="stable")
    total = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], 1)], 1)
    return np.asarray(total[:, np.searchsorted(values[order], at, "right")] / total[:, -1:])


def _rows(
    bench: Bench,
    role: Role,
    found: dict[tuple[Role, Split], NDArray[np.float64]],
    pair: Pair,
    tests: tuple[KS, KS | None],
    null: str,
) -> list[Row]:
    test, published = tests
    above, below = one_sided(*pair)
    compared = "the reference's" if null == "reference" else "its own on the holdout"
    rows = []
    for (whose, split), values in found.items():
        if whose == role:
            known = np.sort(values)
            asked = [item for item in bench.corpus(split).items if item.wrong_answers]
            rows += [
                Row(
                    role, split, item.id, item.entity or item.id, float(np.log10(ratio)),
                    float(np.searchsorted(known, ratio, "right") / len(known)), compared,
                    float(above[0]), float(below[0]), test.statistic, test.p_value,
                    published.statistic if published else None, published.p_value if published else None,
                )
                for ratio, item in sorted(zip(values, asked, strict=True), key=lambda found: found[0])
            ]  # fmt: skip
    return rows


def _note(bench: Bench, pair: Pair, test: KS, published: KS | None, panel: stats.Panel) -> str:
    other = "the reference's" if panel.null == "reference" else "its own for facts that it never saw"
    above, below = one_sided(*pair)
    ended = (
        f" ({published.p_value:.3g} with the end token, as TOFU's and OpenUnlearning's code count it)"
        if published
        else ""
    )
    less = " It prefers false answers more than a model that never knew would." if panel.candidate.value < -0.1 else ""
    return (
        f"The truth ratios of {bench.case.candidate.name} lie {panel.candidate.value:+.2f} from {other} (knows more by "
        f"up to {above[0]:.2f}, less by up to {below[0]:.2f}; original {panel.original.value:+.2f}; 0 cannot be told "
        f"apart); forget quality, the p-value, is {test.p_value:.3g}{ended}.{less}"
    )
