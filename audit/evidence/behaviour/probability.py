"""How likely does it find the answer?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.stats import Scores
from audit.types import BOTH, Access, Chart, Item, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    import pandas as pd

    from audit.bench import Bench

WIDEST = 50.0
"""Log-ratios are cut at e^±50, so that a wrecked model's vanishing probabilities still give finite ratios."""


class Row(NamedTuple):
    """One item as one subject sees it."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    attribute: Annotated[str | None, "what is asked about the entity"]
    subject: Annotated[str, "role of the model"]
    prob: Annotated[float, "probability of the true answer, per token (geometric mean), 0 to 1"]
    prob_wrong: Annotated[float | None, "the same for the wrong answers, their mean, 0 to 1"]
    prob_normalised: Annotated[float | None, "prob as a share of prob and the wrong answers' together, 0 to 1"]
    truth_ratio: Annotated[float | None, "wrong over right, per token: near 0 it knows, near or above 1 it does not"]
    published: Annotated[
        float | None, "prob with the end token, as TOFU's and OpenUnlearning's code count it; empty where there is none"
    ]


@dataclass(frozen=True)
class Probability:
    """Teacher-forced likelihood of the true answer, from the one pass that all evidence shares."""

    title: ClassVar[str] = "Answer probability"
    question: ClassVar[str] = "How likely does the model find the true answer?"
    blind_to: ClassVar[str] = (
        "Knowledge in other words than the answer's own, and knowledge that a low probability hides: a model pushed "
        "away from one wording may still tell it from false ones (see the truth ratio)."
    )
    formula: ClassVar[str] = (
        "prob = p(answer | prompt)^(1/T) = exp(mean log-probability of its T tokens); "
        "prob_normalised = prob / (prob + sum over wrong answers); "
        "truth_ratio = geometric mean over wrong answers / prob of the paraphrased answer (else the answer)"
    )
    source: ClassVar[str] = (
        "TOFU (Maini et al. 2024), geometric mean over wrong answers as in its code; OpenUnlearning. Both count the "
        "end-of-text token after the answer too: their number is the column published, all others here leave it out"
    )
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "prob", facet="split", hover=("item", "prob_wrong", "truth_ratio"),
        x_title="subject", y_title="probability per token", title="Probability of the true answer",
    )  # fmt: skip
    cost: ClassVar[float] = 1.0

    def measure(self, bench: Bench) -> Reading:
        """Read every subject's likelihood of forget, and of the holdout where there is one."""
        splits: tuple[Split, ...] = ("forget", "holdout") if bench.has("holdout") else ("forget",)
        rows = {
            (role, split): item_rows(bench.likelihood(role, split), bench.corpus(split).items, role, split)
            for split in splits
            for role in bench.roles
        }

        def score(role: Role, split: Split) -> Scores:
            found = rows[role, split]
            return Scores([r.item for r in found], [r.entity for r in found], np.array([r.prob for r in found]))

        panel = stats.panel(bench, score)
        null = f"{panel.null_candidate.value:.2f}"
        control = f"to the reference {null}" if panel.null == "reference" else f"and {null} for facts that it never saw"
        note = (
            f"To {bench.case.candidate.name} a token of the true answer has probability {panel.candidate.value:.2f}, "
            f"to the original {panel.original.value:.2f}, {control}."
            + _published(bench.case.candidate.name, rows["candidate", "forget"])
        )
        return Reading([row for part in rows.values() for row in part], panel, note)


def _published(name: str, rows: list[Row]) -> str:
    values = [row.published for row in rows if row.published is not None]
    if len(values) < len(rows):
        return ""
    return f" With the end token, as TOFU's and OpenUnlearning's code count it, it is {np.mean(values):.2f} to {name}."


def item_rows(
    likelihood: pd.DataFrame, items: tuple[Item, ...], role: Role, split: Split, column: str = "mean_logprob"
) -> list[Row]:
    """One row an item from the log-probabilities of its variants (columns of `Bench.likelihood`).

    With the column `published_logprob` all numbers count the end token, and are NaN where the tokenizer has none.
    """
    found: dict[tuple[str, str], list[float]] = {}
    ended = dict(likelihood.loc[likelihood["variant"] == "answer", ["item", "published_logprob"]].to_numpy())
    for item, variant, logprob in likelihood[["item", "variant", column]].itertuples(index=False):
        found.setdefault((item, variant), []).append(float(logprob))
    rows = []
    for item in items:
        right = found[item.id, "answer"][0]
        wrong = np.array(found.get((item.id, "wrong"), []))
        paraphrased = found.get((item.id, "paraphrased_answer"), [right])[0]
        against = against_wrong(right, paraphrased, wrong) if len(wrong) else (None, None, None)
        published = None if np.isnan(ended[item.id]) else float(np.exp(ended[item.id]))
        numbers = (float(np.exp(right)), *against, published)
        rows.append(Row(split, item.id, item.entity or item.id, item.attribute, role, *numbers))
    return rows


def against_wrong(right: float, paraphrased: float, wrong: np.ndarray) -> tuple[float, float, float]:
    """Mean probability of the wrong answers, normalised probability, truth ratio; arguments in nats per token.

    Ratios are taken in log space: OpenUnlearning adds 1e-10 to the denominator, which for a model that finds every
    answer impossible turns "cannot tell" into a ratio of 0, "knows".
    """
    normalised = 1 / (1 + np.exp(np.clip(wrong - right, -WIDEST, WIDEST)).sum())
    ratio = np.exp(np.clip(wrong.mean() - paraphrased, -WIDEST, WIDEST))
    return float(np.exp(wrong).mean()), float(normalised), float(ratio)
