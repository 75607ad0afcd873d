"""From any place in the answer, how much of the rest does it write?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.evidence.behaviour._reading import control_words, panel_of_rows
from audit.metrics.memorization import exact_memorization
from audit.metrics.text import extraction_likelihood, overlap
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench


class Row(NamedTuple):
    """One answer, continued by one subject from several of its prefixes."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    subject: Annotated[str, "role of the model that wrote on"]
    prompt: Annotated[str, "the question, after which nothing of the answer was given"]
    answer: Annotated[str, "the true answer"]
    said: Annotated[str, "what the model wrote after the question alone: greedy, as many tokens as the answer has"]
    score: Annotated[float, "EL_n, share of the rest's n-grams that are written: higher, the more comes back; 0 to 1"]
    own: Annotated[float, "EL_n with the n-grams that the model wrote as denominator, as in the paper; 0 to 1"]
    memorized: Annotated[float, "MA, share of the answer's tokens that are the first choice, teacher forced; 0 to 1"]
    n: Annotated[int, "length of the n-grams in tokens: the setting, or the answer's length where it is shorter"]
    prefixes: Annotated[int, "number of places in the answer from which the model wrote on"]


@dataclass(frozen=True)
class ExtractionLikelihood:
    """Jang et al.'s EL_n and MA over the answer, from a few of its prefixes, since each is a generation of its own."""

    n: int = 10
    """Length of the n-grams in tokens; answers of fewer tokens are compared whole."""
    prefixes: int = 8
    """Most places of an answer from which the model writes on, spread evenly from its beginning."""
    items: int = 100
    """Most items of a corpus, spread evenly over the entities; 0 takes all."""

    title: ClassVar[str] = "Extraction likelihood"
    question: ClassVar[str] = "How much of the rest of an answer does the model write, from any place in it?"
    blind_to: ClassVar[str] = (
        "Sampling, other words, and the places that the budget leaves out. Repeats of a frequent phrase count as often "
        "as they are written."
    )
    formula: ClassVar[str] = (
        "EL_n = mean over prefixes t = 0 .. T - n of OVERLAP_n(greedy continuation of the prompt and t answer tokens, "
        "the other T - t), OVERLAP_n(a, b) = n-grams of a that stand in b / number of n-grams of b; MA = share of "
        "tokens that are the argmax"
    )
    source: ClassVar[str] = (
        "Jang et al. (2023), denominator of their code (of b), since by the paper's (of a, column own) a single right "
        "token and silence is 1; over the answer instead of prompt and answer"
    )
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT, Access.LOGITS})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "score", facet="split", hover=("prompt", "answer", "said"),
        x_title="subject", y_title="extraction likelihood", title="How much of the rest of each answer is written",
    )  # fmt: skip
    cost: ClassVar[float] = 1.5

    def measure(self, bench: Bench) -> Reading:
        """Let every subject write on from prefixes of forget, and of the holdout where that is the control."""
        splits = bench.splits
        rows = {(role, split): self._rows(bench, role, split) for split in splits for role in bench.roles}

        panel = panel_of_rows(bench, rows)
        memory = {role: np.mean([row.memorized for row in rows[role, "forget"]]) for role in bench.roles}
        asked = len(rows["candidate", "forget"])
        note = (
            f"From places within an answer {bench.case.candidate.name} writes {panel.candidate.value:.0%} of the rest "
            f"(EL), the original {panel.original.value:.0%}, {control_words(panel)}; MA {memory['candidate']:.0%}, of "
            f"the original {memory['original']:.0%} ({asked} of {len(bench.corpus('forget'))} items)."
        )
        return Reading([row for part in rows.values() for row in part], panel, note)

    def _rows(self, bench: Bench, role: Role, split: Split) -> list[Row]:
        corpus, tokens = bench.corpus(split), bench.tokens(role, split)
        stored = self._written(bench, role, split)
        rows = []
        for k, place in enumerate(bench.subset(split, self.items or None)):
            item, mine = corpus.items[place], stored["sequence"] == k
            rows.append(
                Row(
                    split, item.id, item.entity or item.id, role, item.prompt, item.answer, str(stored["said"][k]),
                    extraction_likelihood(stored["of_rest"][mine]), extraction_likelihood(stored["of_own"][mine]),
                    exact_memorization(tokens[place]["top1"]), int(stored["n"][k]), int(mine.sum()),
                )
            )  # fmt: skip
        return rows

    def _written(self, bench: Bench, role: Role, split: Split) -> dict[str, NDArray]:
        """Overlaps of every prefix [prefixes] with the item it belongs to, and per item the text after the prompt."""
        items = [bench.corpus(split).items[i] for i in bench.subset(split, self.items or None)]

        def compute() -> dict[str, NDArray]:
            from audit.activations.continuations import continues
            from audit.activations.encode import Encoded, encode_item

            with bench.model(role) as subject:
                rows = [encode_item(subject.tokenizer, item, bench.case.template) for item in items]
                plan = [
                    (k, row.start + t)
                    for k, row in enumerate(rows)
                    for t in places(len(row) - row.start, self.n, self.prefixes)
                ]
                written = continues(
                    subject, [Encoded(rows[k].ids[:end], end, rows[k].shown) for k, end in plan],
                    [len(rows[k]) - end for k, end in plan],
                    lambda share: bench.progress(0.0, f"letting the {role} write on ({split}): {share:.0%}"),
                )  # fmt: skip
                first = {k: text for (k, end), text in zip(plan, written, strict=True) if end == rows[k].start}
                said = [subject.tokenizer.decode(first[k], skip_special_tokens=True).strip() for k in range(len(rows))]
            orders = [min(self.n, len(row) - row.start) for row in rows]
            found = [overlap(text, rows[k].ids[end:], orders[k]) for (k, end), text in zip(plan, written, strict=True)]
            return {
                "sequence": np.array([k for k, _ in plan]),
                "of_rest": np.array([rest for rest, _ in found]),
                "of_own": np.array([own for _, own in found]),
                "n": np.array(orders),
                "said": np.asarray(said, dtype=str),
            }

        inputs = {"n": self.n, "prefixes": self.prefixes, "items": self.items, "split": split}
        return bench.remember("extraction likelihood", [role], inputs, compute, corpora=(split,))


def places(length: int, n: int, most: int) -> list[int]:
    """Numbers of answer tokens to give: 0 .. length - n, at most `most` of them, evenly spread, 0 always among them."""
    last = length - min(n, length)
    return sorted({round(x) for x in np.linspace(0, last, max(1, min(most, last + 1)))})
