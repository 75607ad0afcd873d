"""Does it still write like a language model?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.errors import CaseError, suggest
from audit.metrics.text import distinct, ngram_entropy, words
from audit.stats import Sample, Scores
from audit.types import Access, Chart, Item, Place, Reading, Role, Split

if TYPE_CHECKING:
    from audit.bench import Bench

METRICS = ("unrepeated", "entropy")


class Row(NamedTuple):
    """One text of one subject."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    subject: Annotated[str, "role of the model that answered"]
    prompt: Annotated[str, "the question"]
    said: Annotated[str, "what the model said: greedy, up to the first line break"]
    score: Annotated[float, "the measure that the settings name: the higher, the more fluent"]
    length: Annotated[int, "number of words said"]
    unrepeated: Annotated[float, "share of word pairs that are different; 1 for a single word, 0 for none; 0 to 1"]
    repetition: Annotated[float, "share of runs of four words that repeat another (rep-4): higher is worse; 0 to 1"]
    unique: Annotated[float, "share of the words that are different; longer texts have less; 0 to 1"]
    entropy: Annotated[float, "weighted entropy of word pairs and triples (RWKU), in bits: 0 for one word or a loop"]


@dataclass(frozen=True)
class Fluency:
    """Repetition and n-gram entropy of the answers; the headline is what the original's fluency leaves of them."""

    metric: str = "unrepeated"
    """The headline: `unrepeated`, or `entropy` for answers of several words."""
    items: int = 300
    """Most retain items asked, the same as for retained recall; 0 asks all."""

    title: ClassVar[str] = "Fluency"
    question: ClassVar[str] = "Does the model still write sentences, or does it repeat itself or fall silent?"
    blind_to: ClassVar[str] = (
        "Nonsense that does not repeat itself, which has a high entropy, and wrong or unhelpful answers in good "
        "language. Short answers can hardly repeat themselves."
    )
    formula: ClassVar[str] = (
        "unrepeated = distinct word pairs / word pairs of a text; entropy = (2/3 H2 + 4/3 H3) / 2, Hn = -sum p log2 p "
        "over its n-grams; residual = candidate / original on retain, floor 0"
    )
    source: ClassVar[str] = (
        "Fluency of RWKU (Jin et al. 2024) and ROME (Meng et al. 2022); distinct-2 of Li et al. (2016); rep-4 of "
        "Welleck et al. (2020); words cut as in recall instead of by nltk"
    )
    place: ClassVar[Place] = "utility"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "score", facet="split", hover=("prompt", "said", "repetition"),
        x_title="subject", y_title="fluency", title="How fluent the answers are",
    )  # fmt: skip
    cost: ClassVar[float] = 0.3

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise CaseError(f'Unknown fluency measure "{self.metric}".{suggest(self.metric, METRICS)}')

    def measure(self, bench: Bench) -> Reading:
        """Read every subject's answers about retain and forget; raises NotApplicable without a retain corpus."""
        asked: tuple[tuple[Split, int | None], ...] = (("retain", self.items or None), ("forget", None))
        rows = {(role, split): self._rows(bench, role, split, limit) for split, limit in asked for role in bench.roles}

        def sample(role: Role, split: Split) -> Sample:
            found = rows[role, split]
            scores = Scores([r.item for r in found], [r.entity for r in found], np.array([r.score for r in found]))
            return stats.mean(scores, seed=bench.seed)

        panel = stats.against_chance(sample("original", "retain"), sample("candidate", "retain"), 0.0, "retain")
        forget, before = sample("candidate", "forget").value, sample("original", "forget").value
        repeated = np.mean([row.repetition for row in rows["candidate", "forget"]])
        silent = np.mean([row.length == 0 for row in rows["candidate", "forget"]])
        note = (
            f"{bench.case.candidate.name} reaches {panel.candidate.value:.2f} on retained questions (original "
            f"{panel.original.value:.2f}) and {forget:.2f} on forgotten ones (original {before:.2f}), where "
            f"{repeated:.0%} of its runs of four words repeat another and {silent:.0%} of its answers hold no word."
        )
        return Reading([row for part in rows.values() for row in part], panel, note)

    def _rows(self, bench: Bench, role: Role, split: Split, limit: int | None) -> list[Row]:
        corpus = bench.corpus(split)
        items = [corpus.items[i] for i in bench.subset(split, limit)]
        said = bench.says(role, split, limit)
        return [self._row(item, text, role, split) for item, text in zip(items, said, strict=True)]

    def _row(self, item: Item, said: str, role: Role, split: Split) -> Row:
        text = words(said)
        found = {"unrepeated": distinct(text, 2) if text else 0.0, "entropy": ngram_entropy(text)}
        return Row(
            split, item.id, item.entity or item.id, role, item.prompt, said, found[self.metric], len(text),
            found["unrepeated"], 1 - distinct(text, 4), distinct(text, 1) if text else 0.0, found["entropy"],
        )  # fmt: skip
