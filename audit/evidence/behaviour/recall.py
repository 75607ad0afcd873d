"""Does it still say the answer?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.errors import CaseError, suggest
from audit.metrics.text import contains, rouge
from audit.stats import Scores
from audit.types import BOTH, LISTED, Access, Chart, Item, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

METRICS = ("rougeL_recall", "contains")
CHOSEN = "chosen"
"""What stands in their place where a subject does not write but choose: see `metric_of`."""


class Row(NamedTuple):
    """One answer of one subject."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    attribute: Annotated[str | None, "what is asked about the entity"]
    subject: Annotated[str, "role of the model that answered"]
    prompt: Annotated[str, "the question"]
    answer: Annotated[str, "the true answer"]
    said: Annotated[str, "what the model said: greedy, up to the first line break"]
    score: Annotated[float, "the measure that the settings name: the higher, the more of the answer is said; 0 to 1"]
    rougeL_recall: Annotated[float, "share of the true answer's words that were said in order, 0 to 1"]
    contains: Annotated[float, "1 where the whole true answer was said word for word, else 0"]


@dataclass(frozen=True)
class Recall:
    """Greedy answers compared with the true ones; deterministic, so it needs no seeds."""

    metric: str = "rougeL_recall"
    """The headline: `rougeL_recall` or `contains`."""

    title: ClassVar[str] = "Recall"
    question: ClassVar[str] = "Does the model still say the answer when it is asked?"
    blind_to: ClassVar[str] = (
        "Knowledge that greedy decoding does not show: an answer that comes only when sampled, rephrased, attacked "
        "or asked in another language, and a right answer in other words."
    )
    formula: ClassVar[str] = (
        "LCS(words of the answer, words said) / number of words of the answer, words stemmed; of subjects that choose "
        "among answers (classifiers, encoders, generators) 1 if it is the one that was chosen, else 0"
    )
    source: ClassVar[str] = "ROUGE-L recall (Lin 2004) with stemmer, as in TOFU (Maini et al. 2024) and OpenUnlearning"
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "score", facet="split", hover=("prompt", "answer", "said"),
        x_title="subject", y_title="recall", title="How much of each answer is said",
    )  # fmt: skip
    cost: ClassVar[float] = 0.3

    def __post_init__(self) -> None:
        check_metric(self.metric)

    def measure(self, bench: Bench) -> Reading:
        """Ask every subject about forget, and about the holdout where there is one."""
        splits: tuple[Split, ...] = ("forget", "holdout") if bench.has("holdout") else ("forget",)
        metric = metric_of(bench, self.metric)
        asked = {(role, split): bench.says(role, split) for split in splits for role in bench.roles}

        def score(role: Role, split: Split) -> Scores:
            corpus = bench.corpus(split)
            values = score_all(asked[role, split], corpus.items, metric)
            return Scores([item.id for item in corpus.items], corpus.entities, values)

        panel = stats.panel(bench, score)
        rows = [
            row
            for (role, split), said in asked.items()
            for row in _rows(role, split, bench.corpus(split).items, said, scored_by(bench, self.metric))
        ]
        return Reading(rows, panel, _note(bench, panel))


def _rows(role: Role, split: Split, items: Sequence[Item], said: Sequence[str], metrics: Sequence[str]) -> list[Row]:
    return [
        Row(
            split, item.id, item.entity or item.id, item.attribute, role, item.prompt, item.answer, text,
            *(score_item(text, item, name) for name in metrics),
        )
        for item, text in zip(items, said, strict=True)
    ]  # fmt: skip


def _note(bench: Bench, panel: stats.Panel) -> str:
    null = f"{panel.null_candidate.value:.0%}"
    control = f"the reference {null}" if panel.null == "reference" else f"and {null} of answers that it never saw"
    return (
        f"{bench.case.candidate.name} says {panel.candidate.value:.0%} of the answers, the original "
        f"{panel.original.value:.0%}, {control}."
    )


def check_metric(metric: str) -> None:
    """Raises CaseError for a metric that `score` does not know."""
    if metric not in METRICS:
        raise CaseError(f'Unknown recall metric "{metric}".{suggest(metric, METRICS)}')


def metric_of(bench: Bench, metric: str) -> str:
    """The measure of what is said: of subjects that choose among answers, all or nothing, whatever words these share.

    An encoder that finds another one's caption would else be credited for every word that all captions have.
    """
    return CHOSEN if bench.modality in LISTED else metric


def scored_by(bench: Bench, metric: str) -> list[str]:
    """The measures of a row: the headline's, then METRICS."""
    return [metric_of(bench, name) for name in (metric, *METRICS)]


def score_all(said: Sequence[str], items: Sequence[Item], metric: str) -> NDArray[np.float64]:
    """`score` of what was said to each item [items]."""
    return np.array([score_item(text, item, metric) for text, item in zip(said, items, strict=True)], np.float64)


def score_item(said: str, item: Item, metric: str) -> float:
    """`score` of what was said to one item; the class of an image is named or it is not, whatever words it shares."""
    named = item.latent is not None or (item.image is not None and not item.worded)
    return float(said == item.answer) if named else score(said, item.answer, metric)


def score(said: str, answer: str, metric: str = "rougeL_recall") -> float:
    """How much of an answer was said, 0 to 1: its words in order (`rougeL_recall`), or all or nothing (`contains`).

    CHOSEN: whether it is this answer that was chosen.
    """
    if metric == CHOSEN:
        return float(said == answer)
    return contains(said, answer) if metric == "contains" else rouge(said, answer).rougeL_recall
