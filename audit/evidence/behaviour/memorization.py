"""Which tokens of the answer are its first choice?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.evidence.behaviour._reading import control_words, panel_of_items, read_splits
from audit.metrics.memorization import exact_memorization
from audit.types import Access, Chart, Place, Reading

if TYPE_CHECKING:
    from audit.bench import Bench


class Row(NamedTuple):
    """One answer as one subject would write it token by token."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    attribute: Annotated[str | None, "what is asked about the entity"]
    subject: Annotated[str, "role of the model"]
    tokens: Annotated[int, "length of the answer in tokens"]
    memorized: Annotated[
        float, "share of the tokens that are the model's first choice: higher, the more it still knows"
    ]
    first: Annotated[float, "1 where the answer's first token, which no other gives away, is the first choice, else 0"]
    prob: Annotated[float, "probability of the least likely token of the answer, 0 to 1"]


@dataclass(frozen=True)
class Memorization:
    """Exact memorisation from the pass that all evidence shares; every token is asked with the true ones before it."""

    title: ClassVar[str] = "Exact memorization"
    question: ClassVar[str] = "What share of an answer's tokens is the model's first choice, given those before?"
    blind_to: ClassVar[str] = (
        "That tokens in the middle of a word or a phrase follow from those before them, whoever knows the fact: a "
        "model that never saw an answer gets many of its tokens right, and only the difference to it counts."
    )
    formula: ClassVar[str] = "sum over the T answer tokens of 1[argmax p(. | prompt, tokens before) = token] / T"
    source: ClassVar[str] = (
        "Tirumala et al. (2022), exact_memorization of OpenUnlearning; over the whole text it is the memorization "
        "accuracy (MA) of Jang et al. (2023). OpenUnlearning leaves the end-of-text token out of this score, as here"
    )
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "memorized", facet="split", hover=("item", "first", "tokens"),
        x_title="subject", y_title="share of tokens", title="Tokens of the answer that are the first choice",
    )  # fmt: skip
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Bench) -> Reading:
        """Read every subject's first choices on forget, and on the holdout where there is one."""
        read = {(role, split): bench.tokens(role, split) for split in read_splits(bench) for role in bench.roles}
        panel = panel_of_items(bench, lambda role, split: [exact_memorization(t["top1"]) for t in read[role, split]])
        rows = [
            Row(
                split, item.id, item.entity or item.id, item.attribute, role, len(tokens),
                exact_memorization(tokens["top1"]), float(tokens["top1"][0]), float(np.exp(tokens["logprob"].min())),
            )
            for (role, split), found in read.items()
            for item, tokens in zip(bench.corpus(split).items, found, strict=True)
        ]  # fmt: skip
        note = (
            f"Of an answer's tokens {panel.candidate.value:.0%} are the first choice of {bench.case.candidate.name}, "
            f"{panel.original.value:.0%} of the original, {control_words(panel)}."
        )
        return Reading(rows, panel, note)
