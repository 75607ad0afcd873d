"""Does it say the answer when the question is put in other words?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import NotApplicable
from audit.evidence.behaviour._reading import control_words, panel_of_rows
from audit.evidence.behaviour.recall import check_metric, score
from audit.types import Access, Chart, Item, Place, Reading, Role, Split

if TYPE_CHECKING:
    from audit.bench import Bench


class Row(NamedTuple):
    """One answer of one subject to one wording."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    subject: Annotated[str, "role of the model that answered"]
    wording: Annotated[int, "0 the item's own prompt, which does not count here, then its paraphrases from 1"]
    prompt: Annotated[str, "the question in this wording"]
    answer: Annotated[str, "the true answer"]
    said: Annotated[str, "what the model said: greedy, up to the first line break"]
    score: Annotated[float, "how much of the answer was said to this wording: higher, the more it still says; 0 to 1"]
    best: Annotated[float, "the highest score of the item's paraphrases: the worst case for forgetting; 0 to 1"]


@dataclass(frozen=True)
class Paraphrase:
    """Recall at the best of an item's paraphrased prompts, as many for every item and every subject.

    A maximum rises with the number of tries, so that items with fewer paraphrases than most are left out.
    """

    most: int = 5
    """Most paraphrases asked of an item."""
    metric: str = "rougeL_recall"
    """`rougeL_recall` or `contains`."""

    title: ClassVar[str] = "Paraphrases, worst case"
    question: ClassVar[str] = "Does the model say the answer to at least one rewording of the question?"
    blind_to: ClassVar[str] = (
        "Wordings that the corpus does not hold, and other languages. A best of several tries is higher by chance "
        "alone, also for a model that never knew; the control has just as many tries."
    )
    formula: ClassVar[str] = "mean over items of the maximum over K paraphrased prompts of the recall of what is said"
    source: ClassVar[str] = (
        "Worst case over paraphrases as in JensUn (2025) and Patil et al. (2024), with recall as judge"
    )
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "wording", "score", facet="split", hover=("prompt", "answer", "said"),
        x_title="wording (0: the item's own)", y_title="recall", title="What is said to each wording",
    )  # fmt: skip
    cost: ClassVar[float] = 0.6

    def __post_init__(self) -> None:
        check_metric(self.metric)

    def measure(self, bench: Bench) -> Reading:
        """Ask every paraphrase of forget, and of the holdout where that is the control.

        Raises NotApplicable when no item has paraphrases.
        """
        splits = bench.splits
        number = self._number(bench, splits)
        chosen = {
            s: [i for i, item in enumerate(bench.corpus(s).items) if len(item.paraphrases) >= number] for s in splits
        }
        rows = {
            (role, split): self._rows(bench, role, split, chosen[split], number)
            for split in splits
            for role in bench.roles
        }

        panel = panel_of_rows(bench, rows, "best")
        own = np.mean([row.score for row in rows["candidate", "forget"] if row.wording == 0])
        left_out = len(bench.corpus("forget")) - len(chosen["forget"])
        note = (
            f"At the best of {number} paraphrase{'s' if number > 1 else ''} {bench.case.candidate.name} says "
            f"{panel.candidate.value:.0%} of the answers (to the question itself {own:.0%}), the original "
            f"{panel.original.value:.0%}, {control_words(panel)}"
            + (f"; {left_out} items with fewer paraphrases are left out." if left_out else ".")
        )
        return Reading([row for part in rows.values() for row in part], panel, note)

    def _number(self, bench: Bench, splits: tuple[Split, ...]) -> int:
        """How many paraphrases most items have, on every corpus that is read."""
        numbers = []
        for split in splits:
            counts = Counter(min(self.most, len(i.paraphrases)) for i in bench.corpus(split).items if i.paraphrases)
            if not counts:
                raise NotApplicable(
                    f"No item of the {split} corpus has paraphrases (`paraphrases`, TOFU's paraphrased_question): add "
                    "the same question in other words."
                )
            numbers.append(max(counts, key=lambda count: (counts[count], count)))
        return min(numbers)

    def _rows(self, bench: Bench, role: Role, split: Split, chosen: list[int], number: int) -> list[Row]:
        own = bench.says(role, split)
        items = [bench.corpus(split).items[i] for i in chosen]
        pairs = [(item, prompt) for item in items for prompt in item.paraphrases[:number]]
        said = bench.asks(role, [item for item, _ in pairs], [prompt for _, prompt in pairs], f"paraphrases ({split})")
        rows = []
        for k, (item, place) in enumerate(zip(items, chosen, strict=True)):
            texts = [own[place], *said[k * number : (k + 1) * number]]
            rows += self._item(item, texts, role, split)
        return rows

    def _item(self, item: Item, texts: list[str], role: Role, split: Split) -> list[Row]:
        scores = [score(text, item.answer, self.metric) for text in texts]
        prompts = [item.prompt, *item.paraphrases]
        return [
            Row(
                split, item.id, item.entity or item.id, role, k, prompts[k], item.answer, text, scores[k],
                max(scores[1:]),
            )
            for k, text in enumerate(texts)
        ]  # fmt: skip
