"""How much of the answer must be given before it writes the rest by itself?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

from audit.evidence.behaviour._reading import control_words, panel_of_items, read_splits
from audit.metrics.memorization import extraction_strength
from audit.types import Access, Chart, Item, Place, Reading, Role, Split

if TYPE_CHECKING:
    import numpy as np

    from audit.bench import Bench


class Row(NamedTuple):
    """One answer as one subject would continue it."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    attribute: Annotated[str | None, "what is asked about the entity"]
    subject: Annotated[str, "role of the model"]
    tokens: Annotated[int, "length of the answer in tokens"]
    given: Annotated[
        int, "tokens of the answer that must be given before every further one is the model's first choice"
    ]
    strength: Annotated[float, "1 - given / tokens: the higher, the more it still knows; 0 to 1"]
    published: Annotated[float, "the same as OpenUnlearning's code has it, never below 1 / tokens; 0 to 1"]


@dataclass(frozen=True)
class ExtractionStrength:
    """The longest end of each answer that the model would write by itself, from the pass that all evidence shares."""

    title: ClassVar[str] = "Extraction strength"
    question: ClassVar[str] = "How much of an answer must be given away before the model writes the rest by itself?"
    blind_to: ClassVar[str] = (
        "Everything that stands before the last token that the model gets wrong, and an answer in other words. The "
        "ends of sentences are easy to guess, so that only the difference to the control counts."
    )
    formula: ClassVar[str] = (
        "1 - k / T, k the first place from where on every answer token is the argmax, teacher forced"
    )
    source: ClassVar[str] = (
        "Carlini et al. (2021), as in OpenUnlearning; there an answer of T tokens with nothing right scores 1 / T "
        "(column published), here 0. OpenUnlearning leaves the end-of-text token out of this score, as here"
    )
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "strength", facet="split", hover=("item", "given", "tokens"),
        x_title="subject", y_title="extraction strength", title="Share of each answer that comes by itself",
    )  # fmt: skip
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Bench) -> Reading:
        """Read every subject's first choices on forget, and on the holdout where there is one."""
        read = {
            (role, split): bench.tokens(role, split) for split in read_splits(bench) for role in bench.roles
        }  # fmt: skip
        panel = panel_of_items(bench, lambda role, split: [extraction_strength(t["top1"]) for t in read[role, split]])
        rows = [
            _row(item, tokens, role, split)
            for (role, split), found in read.items()
            for item, tokens in zip(bench.corpus(split).items, found, strict=True)
        ]
        note = (
            f"{bench.case.candidate.name} writes the last {panel.candidate.value:.0%} of an answer by itself, the "
            f"original {panel.original.value:.0%}, {control_words(panel)}."
        )
        return Reading(rows, panel, note)


def _row(item: Item, tokens: np.ndarray, role: Role, split: Split) -> Row:
    """One item of one subject from the TOKEN records of its answer."""
    strength = extraction_strength(tokens["top1"])
    return Row(
        split, item.id, item.entity or item.id, item.attribute, role, len(tokens),
        round((1 - strength) * len(tokens)), strength, extraction_strength(tokens["top1"], as_open_unlearning=True),
    )  # fmt: skip
