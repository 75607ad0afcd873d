"""How close is what it says to the answer, in each published variant of ROUGE?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

from audit.errors import CaseError, suggest
from audit.evidence.behaviour._reading import control_words, panel_of_rows, read_splits
from audit.metrics.text import cut_at, rouge
from audit.types import Access, Chart, Item, Place, Reading, Role, Split

if TYPE_CHECKING:
    from audit.bench import Bench

METRICS = ("rouge1_recall", "rougeL_recall", "rougeL_f1", "knowmem_f1", "knowmem_recall")


class Row(NamedTuple):
    """One answer of one subject."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    subject: Annotated[str, "role of the model that answered"]
    prompt: Annotated[str, "the question"]
    answer: Annotated[str, "the true answer"]
    said: Annotated[str, "what the model said: greedy, up to the first line break"]
    score: Annotated[float, "the variant that the settings name: the higher, the more of the answer is said; 0 to 1"]
    rouge1_recall: Annotated[float, "share of the answer's words that were said, in any order, stemmed; 0 to 1"]
    rougeL_recall: Annotated[float, "share of the answer's words that were said in order, stemmed (TOFU); 0 to 1"]
    rougeL_f1: Annotated[float, "words said in order against the length of both texts, stemmed: talk costs; 0 to 1"]
    knowmem_f1: Annotated[float, "the same unstemmed, the text cut where the model asks on (MUSE knowmem_f); 0 to 1"]
    knowmem_recall: Annotated[float, "rougeL_recall unstemmed, cut in the same way (MUSE knowmem_r); 0 to 1"]


@dataclass(frozen=True)
class RougeScores:
    """The greedy answers of recall, compared in every way that scoreboards use."""

    metric: str = "rougeL_f1"
    """The headline: `rouge1_recall`, `rougeL_recall`, `rougeL_f1`, `knowmem_f1` or `knowmem_recall`."""

    title: ClassVar[str] = "ROUGE"
    question: ClassVar[str] = "How close is what the model says to the true answer, word for word?"
    blind_to: ClassVar[str] = (
        "A right answer in other words, and a wrong one in the same: of two sentences that differ in the name alone "
        "most words agree."
    )
    formula: ClassVar[str] = (
        "recall = common / words of the answer; F1 = 2 P R / (P + R) with precision P = common / words said; common: "
        "words shared (ROUGE-1) or their longest common subsequence (ROUGE-L)"
    )
    source: ClassVar[str] = (
        'Lin (2004), rouge-score; stemmed as in TOFU and OpenUnlearning, unstemmed and cut at "Question:" as in MUSE '
        "(Shi et al. 2024)"
    )
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "score", facet="split", hover=("prompt", "answer", "said"),
        x_title="subject", y_title="ROUGE", title="How close each answer is to the true one",
    )  # fmt: skip
    cost: ClassVar[float] = 0.3

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise CaseError(f'Unknown ROUGE variant "{self.metric}".{suggest(self.metric, METRICS)}')

    def measure(self, bench: Bench) -> Reading:
        """Ask every subject about forget, and about the holdout where there is one."""
        rows = {
            (role, split): [
                self._row(item, text, role, split)
                for item, text in zip(bench.corpus(split).items, bench.says(role, split), strict=True)
            ]
            for split in read_splits(bench)
            for role in bench.roles
        }
        panel = panel_of_rows(bench, rows)
        note = (
            f"{self.metric} of what {bench.case.candidate.name} says is {panel.candidate.value:.2f}, of the original "
            f"{panel.original.value:.2f}, {control_words(panel, '.2f')}."
        )
        return Reading([row for part in rows.values() for row in part], panel, note)

    def _row(self, item: Item, said: str, role: Role, split: Split) -> Row:
        stemmed, plain = rouge(said, item.answer), rouge(cut_at(said), item.answer, stem=False)
        values = (*stemmed, plain.rougeL_f1, plain.rougeL_recall)
        score = dict(zip(METRICS, values, strict=True))[self.metric]
        entity = item.entity or item.id
        return Row(split, item.id, entity, role, item.prompt, item.answer, said, score, *values)
