"""Does it still say what it was to keep?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

from audit import stats
from audit.evidence.behaviour.recall import check_metric, metric_of, score_all, score_item, scored_by
from audit.stats import Scores
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role

if TYPE_CHECKING:
    from audit.bench import Bench


class Row(NamedTuple):
    """One answer of one subject about a fact that was to be kept."""

    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    subject: Annotated[str, "role of the model that answered"]
    prompt: Annotated[str, "the question"]
    answer: Annotated[str, "the true answer"]
    said: Annotated[str, "what the model said: greedy, up to the first line break"]
    score: Annotated[float, "the measure that the settings name: the higher, the more of the answer is said; 0 to 1"]
    rougeL_recall: Annotated[float, "share of the true answer's words that were said in order, 0 to 1"]
    contains: Annotated[float, "1 where the whole true answer was said word for word, else 0"]


@dataclass(frozen=True)
class Retain:
    """Recall on the retain corpus: the share of the original's usefulness that is left."""

    items: int = 300
    """Most items asked, spread evenly over the entities and the same for every subject; 0 asks all."""
    metric: str = "rougeL_recall"
    """`rougeL_recall` or `contains`."""

    title: ClassVar[str] = "Retained recall"
    question: ClassVar[str] = "Does the model still answer what it was to keep?"
    blind_to: ClassVar[str] = (
        "Every ability that the retain corpus does not ask for: other subjects, other languages, reasoning, and the "
        "quality of long answers."
    )
    formula: ClassVar[str] = "mean ROUGE-L recall on retain items; residual = candidate / original, floor 0"
    source: ClassVar[str] = "Retain ROUGE of TOFU (Maini et al. 2024), ROUGE-L recall with stemmer"
    place: ClassVar[Place] = "utility"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "score", hover=("prompt", "answer", "said"),
        x_title="subject", y_title="recall", title="How much of each retained answer is said",
    )  # fmt: skip
    cost: ClassVar[float] = 0.3

    def __post_init__(self) -> None:
        check_metric(self.metric)

    def measure(self, bench: Bench) -> Reading:
        """Ask every subject the same retain items; raises NotApplicable without a retain corpus."""
        corpus = bench.corpus("retain")
        limit = self.items or None
        chosen = [int(i) for i in bench.subset("retain", limit)]
        items = [corpus.items[i] for i in chosen]
        named = corpus.entities
        entities = [named[i] for i in chosen]
        asked = {role: bench.says(role, "retain", limit) for role in bench.roles}

        def sample(role: Role) -> stats.Sample:
            values = score_all(asked[role], items, metric_of(bench, self.metric))
            return stats.mean(Scores([item.id for item in items], entities, values), seed=bench.seed)

        panel = stats.against_chance(sample("original"), sample("candidate"), chance=0.0, split="retain")
        rows = [
            Row(
                item.id, entity, role, item.prompt, item.answer, text,
                *(score_item(text, item, name) for name in scored_by(bench, self.metric)),
            )
            for role, said in asked.items()
            for item, entity, text in zip(items, entities, said, strict=True)
        ]  # fmt: skip
        note = (
            f"{bench.case.candidate.name} says {panel.candidate.value:.0%} of the retained answers, the original "
            f"{panel.original.value:.0%} ({len(items)} of {len(corpus)} items asked)."
        )
        return Reading(rows, panel, note)
