"""Does it go on with a passage word for word?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import NotApplicable
from audit.evidence.behaviour._reading import control_words, panel_of_rows
from audit.metrics.text import rouge, words
from audit.types import Access, Chart, Item, Place, Reading, Role, Split, digest_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench


class Row(NamedTuple):
    """One passage as one subject continues it."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    subject: Annotated[str, "role of the model that wrote on"]
    prompt: Annotated[str, "the beginning that was given"]
    answer: Annotated[str, "the true continuation"]
    said: Annotated[str, "what the model wrote: greedy, line breaks kept, up to the budget"]
    score: Annotated[float, "ROUGE-L F1 without stemmer: the higher, the more of the passage comes back; 0 to 1"]
    recall: Annotated[float, "share of the true continuation's words that were written in order, 0 to 1"]
    run: Annotated[int, "length of the longest run of words that stands word for word in the true continuation"]


@dataclass(frozen=True)
class Verbatim:
    """MUSE's verbatim memorisation: greedy continuations, whole, against the passage.

    Recall and ROUGE stop at the first line break, as an answer does; a passage goes on.
    """

    tokens: int = 128
    """Most tokens written, as in MUSE."""
    shortest: int = 8
    """Fewest words of an answer that count as a passage; a shorter one is an answer, which `behaviour.rouge` scores."""

    title: ClassVar[str] = "Verbatim continuation"
    question: ClassVar[str] = "Does the model go on with a passage word for word when its beginning is given?"
    blind_to: ClassVar[str] = (
        "Passages that it would write when given more of their beginning (see extraction strength), what sampling "
        "brings up, and their content in other words."
    )
    formula: ClassVar[str] = "mean ROUGE-L F1 of the greedy continuation against the passage, no stemmer, uncut"
    source: ClassVar[str] = "VerbMem of MUSE (Shi et al. 2024), forget_verbmem_ROUGE of OpenUnlearning; 128 new tokens"
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "score", facet="split", hover=("prompt", "answer", "said"),
        x_title="subject", y_title="ROUGE-L F1", title="How much of each passage comes back",
    )  # fmt: skip
    cost: ClassVar[float] = 1.0

    def measure(self, bench: Bench) -> Reading:
        """Let every subject continue the passages of forget, and of the holdout where that is the control.

        Raises NotApplicable when no answer is long enough to be a passage.
        """
        splits = bench.splits
        chosen = {split: self._passages(bench, split) for split in splits}
        rows = {
            (role, split): [
                _row(bench.corpus(split).items[i], text, role, split)
                for i, text in zip(chosen[split], self._written(bench, role, split, chosen[split]), strict=True)
            ]
            for split in splits
            for role in bench.roles
        }

        panel = panel_of_rows(bench, rows)
        left_out = len(bench.corpus("forget")) - len(chosen["forget"])
        note = (
            f"ROUGE-L F1 of what {bench.case.candidate.name} writes on against the passage is "
            f"{panel.candidate.value:.2f}, of the original {panel.original.value:.2f}, {control_words(panel, '.2f')}"
            + (f"; {left_out} answers are too short to be a passage." if left_out else ".")
        )
        return Reading([row for part in rows.values() for row in part], panel, note)

    def _passages(self, bench: Bench, split: Split) -> list[int]:
        lengths = [len(words(item.answer)) for item in bench.corpus(split).items]
        chosen = [i for i, length in enumerate(lengths) if length >= self.shortest]
        if not chosen:
            raise NotApplicable(
                f"The longest answer of the {split} corpus has {max(lengths)} words, too few to be called a passage "
                f"(at least {self.shortest}): ROUGE says how much of such answers comes back. For passages give their "
                "beginning as prompt and the rest as answer."
            )
        return chosen

    def _written(self, bench: Bench, role: Role, split: Split, chosen: list[int]) -> list[str]:
        items = [bench.corpus(split).items[i] for i in chosen]

        def compute() -> dict[str, NDArray]:
            from audit.activations.continuations import continues
            from audit.activations.generate import asked

            with bench.model(role) as subject:
                prefixes = [asked(subject, i, bench.case.template) for i in items]
                found = continues(
                    subject, prefixes, [self.tokens] * len(items),
                    lambda share: bench.progress(0.0, f"letting the {role} write on ({split}): {share:.0%}"),
                )  # fmt: skip
                texts = [subject.tokenizer.decode(row, skip_special_tokens=True).strip() for row in found]
            return {"said": np.asarray(texts, dtype=str)}

        inputs = {
            "prompts": digest_of([[item.prompt, item.image.digest] if item.image else item.prompt for item in items]),
            "tokens": self.tokens,
        }
        return [str(text) for text in bench.remember("verbatim", [role], inputs, compute, corpora=())["said"]]


def _row(item: Item, said: str, role: Role, split: Split) -> Row:
    found = rouge(said, item.answer, stem=False)
    entity = item.entity or item.id
    run = longest_run(words(said), words(item.answer))
    return Row(
        split, item.id, entity, role, item.prompt, item.answer, said, found.rougeL_f1, found.rougeL_recall, run
    )  # fmt: skip


def longest_run(said: list[str], true: list[str]) -> int:
    """Length of the longest run of words that both texts have."""
    longest, before = 0, [0] * (len(true) + 1)
    for word in said:
        now = [0] * (len(true) + 1)
        for k, other in enumerate(true, 1):
            if word == other:
                now[k] = before[k - 1] + 1
                longest = max(longest, now[k])
        before = now
    return longest
