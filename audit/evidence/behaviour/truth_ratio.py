"""Does it find the true answer likelier than false ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import CaseError, NotApplicable, suggest
from audit.evidence.behaviour._reading import control_words, has_end, panel_of_items, read_splits, with_wrong_answers
from audit.evidence.behaviour.probability import item_rows
from audit.metrics.tofu import AGGREGATORS
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

HEADLINES = ("prob_mean", "true_better")
"""The aggregators that rise with knowledge. The third, closer_to_1_better, falls with it and rises again where a model
prefers what is false, so that no scale from "as never learned" to "as in the original" can be laid along it."""


class Row(NamedTuple):
    """One item as one subject sees it."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    attribute: Annotated[str | None, "what is asked about the entity"]
    subject: Annotated[str, "role of the model"]
    score: Annotated[float, "the aggregator that the settings name: the higher, the more it knows; 0 to 1"]
    truth_ratio: Annotated[float, "R, wrong answers over right one, per token: near 0 it knows, near 1 it cannot tell"]
    closer_to_1_better: Annotated[float, "min(R, 1/R), TOFU's forget score: the higher, the LESS it knows; 0 to 1"]
    true_better: Annotated[float, "max(0, 1 - R), TOFU's score of what is kept: the higher, the more it knows; 0 to 1"]
    prob_mean: Annotated[float, "right / (right + wrong): the higher, the more it knows; 0.5 cannot tell; 0 to 1"]
    published: Annotated[
        float | None,
        "R with the end token, as TOFU's and OpenUnlearning's code count it (in log space, without their 1e-10); empty "
        "where the tokenizer has none",
    ]


@dataclass(frozen=True)
class TruthRatio:
    """TOFU's truth ratio in its three aggregators, from the one pass that all evidence shares."""

    aggregator: str = "prob_mean"
    """The headline, one that rises with knowledge: `prob_mean` or `true_better`."""

    title: ClassVar[str] = "Truth ratio"
    question: ClassVar[str] = "Does the model find the true answer likelier than false ones of the same form?"
    blind_to: ClassVar[str] = (
        "How likely either is: a model pushed away from every answer alike keeps its ratio, and one pushed below the "
        "false answers (a ratio far above 1) has been trained on just these facts, which looks like ignorance here."
    )
    formula: ClassVar[str] = (
        "R = geometric mean over wrong answers of p(wrong | prompt)^(1/T) / p(paraphrased answer, else answer | "
        "prompt)^(1/T); closer_to_1_better = min(R, 1/R); true_better = max(0, 1 - R); prob_mean = 1 / (1 + R)"
    )
    source: ClassVar[str] = (
        "TOFU (Maini et al. 2024), aggregators of OpenUnlearning; ratios in log space, without its 1e-10 in the "
        "denominator. Both also count the end-of-text token after each answer: their ratio is the column published, "
        "all others here leave it out"
    )
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "score", facet="split", hover=("item", "truth_ratio", "true_better"),
        x_title="subject", y_title="weight of the true answer", title="The true answer against false ones",
    )  # fmt: skip
    cost: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        if self.aggregator not in HEADLINES:
            raise CaseError(
                f'The aggregator "{self.aggregator}" cannot be the headline, since it does not rise with knowledge; '
                f"expected {' or '.join(HEADLINES)}.{suggest(self.aggregator, HEADLINES)}"
            )

    def measure(self, bench: Bench) -> Reading:
        """Read every subject's ratios on forget, and on the holdout where there is one.

        Raises NotApplicable when no item has wrong answers.
        """
        found = {(role, split): ratios(bench, role, split) for split in read_splits(bench) for role in bench.roles}
        panel = panel_of_items(
            bench,
            lambda role, split: self._scores(found[role, split], with_wrong_answers(bench, split)),
            lambda role, split: with_wrong_answers(bench, split),
        )
        rows = [row for (role, split), values in found.items() for row in self._rows(bench, role, split, values)]
        left_out = int((~with_wrong_answers(bench, "forget")).sum())
        note = (
            f"{bench.case.candidate.name} gives the true answer {panel.candidate.value:.0%} of the weight against a "
            f"false one, the original {panel.original.value:.0%}, {control_words(panel)}"
            + (" (50% cannot tell)" if self.aggregator == "prob_mean" else "")
            + (f"; {left_out} items without wrong answers are left out." if left_out else ".")
            + _published([row for row in rows if row.subject == "candidate" and row.split == "forget"])
        )
        return Reading(rows, panel, note)

    def _rows(self, bench: Bench, role: Role, split: Split, values: NDArray[np.float64]) -> list[Row]:
        ended = ratios(bench, role, split, "published_logprob") if has_end(bench, role, split) else None
        rows = []
        for k, item in enumerate(bench.corpus(split).items):
            if item.wrong_answers:
                each = {name: float(of([values[k]])[0]) for name, of in AGGREGATORS.items()}
                rows.append(
                    Row(
                        split, item.id, item.entity or item.id, item.attribute, role, each[self.aggregator],
                        float(values[k]), **each, published=None if ended is None else float(ended[k]),
                    )
                )  # fmt: skip
        return rows

    def _scores(self, ratio: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
        scores = np.full(len(ratio), np.nan)
        scores[known] = AGGREGATORS[self.aggregator](ratio[known])
        return scores


def ratios(bench: Bench, role: Role, split: Split, column: str = "mean_logprob") -> NDArray[np.float64]:
    """Truth ratio R of each item of a corpus [items], NaN where an item has no wrong answers.

    With the column `published_logprob` of `Bench.likelihood` the end token of each answer counts.
    Raises NotApplicable when no item has any.
    """
    items = bench.corpus(split).items
    if not any(item.wrong_answers for item in items):
        raise NotApplicable(
            f"No item of the {split} corpus has wrong answers (`wrong_answers`, TOFU's perturbed_answer), which the "
            "true one is weighed against; add some of the same form."
        )
    found = item_rows(bench.likelihood(role, split), items, role, split, column)
    return np.array([np.nan if row.truth_ratio is None else row.truth_ratio for row in found])


def _published(rows: Sequence[Row]) -> str:
    values = [row.published for row in rows if row.published is not None]
    if not values:
        return ""
    mean = AGGREGATORS["closer_to_1_better"](values).mean()
    return (
        f" With the end token, as TOFU's and OpenUnlearning's code count it, its forget truth ratio, the mean of "
        f"min(R, 1/R), is {mean:.2f}."
    )
