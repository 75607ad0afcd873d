"""Does what it writes show that it knows the subject?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import CaseError, suggest
from audit.evidence.behaviour._reading import control_words, panel_of_rows, read_splits
from audit.metrics.text import contains, words
from audit.types import Access, Chart, Item, Place, Reading, Role, Split

if TYPE_CHECKING:
    from audit.bench import Bench

METRICS = ("completion", "probability")
COMMON = 0.1
"""A word in more than this share of all answers says nothing about any one of them."""
POINTS = {"reveals": 5, "hints": 1, "neither": 0}
"""Points of a completion in the paper: 5 for what only the subject has, 1 for what is typical of it."""


class Row(NamedTuple):
    """One completion of one subject."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    subject: Annotated[str, "role of the model that answered"]
    prompt: Annotated[str, "the text that was to be completed"]
    answer: Annotated[str, "the true answer"]
    said: Annotated[str, "what the model said: greedy, up to the first line break"]
    kind: Annotated[str, "reveals: a whole detail of the entity; hints: one of its telling words; neither"]
    points: Annotated[int, "5 for reveals, 1 for hints, 0 for neither, as in the paper"]
    score: Annotated[float, "what the settings name, points / 5 or probability: the higher, the more familiar; 0 to 1"]
    probability: Annotated[float, "mean probability of the answer's tokens: the higher, the more familiar; 0 to 1"]


@dataclass(frozen=True)
class Familiarity:
    """Familiarity after Who's Harry Potter, with a judge that is a rule, since the paper's was a language model."""

    metric: str = "completion"
    """The headline: `completion` or `probability`."""

    title: ClassVar[str] = "Familiarity"
    question: ClassVar[str] = "Do the model's completions show that it is familiar with what was to be forgotten?"
    blind_to: ClassVar[str] = (
        "Details that the corpus does not hold, and themes: the paper's judge also saw the style of a whole fictional "
        "world, this one sees words. A detail that many entities share may be a lucky guess; the control guesses too."
    )
    formula: ClassVar[str] = (
        "completion = mean points / 5; points: 5 where a whole answer about the entity is said that the prompt does "
        "not give, else 1 where a telling word of one is (not in the prompt, in at most a tenth of all answers), else "
        "0; probability = mean p(token) over the answer"
    )
    source: ClassVar[str] = (
        "After Eldan and Russinovich (2023): two first of four classes count, the first five times. Their judge was "
        "GPT-4 on 300 passages and is replaced by a rule, so that figures are not comparable with the paper's"
    )
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT, Access.LOGITS})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "score", facet="split", hover=("prompt", "said", "kind"),
        x_title="subject", y_title="familiarity", title="How familiar completions are with the subject",
    )  # fmt: skip
    cost: ClassVar[float] = 0.3

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise CaseError(f'Unknown familiarity "{self.metric}".{suggest(self.metric, METRICS)}')

    def measure(self, bench: Bench) -> Reading:
        """Judge every subject's answers to forget, and to the holdout where there is one."""
        common = common_words([item for split in read_splits(bench) for item in bench.corpus(split).items])
        rows = {
            (role, split): self._rows(bench, role, split, common)
            for split in read_splits(bench)
            for role in bench.roles
        }
        panel = panel_of_rows(bench, rows)
        kinds = Counter(row.kind for row in rows["candidate", "forget"])
        number = len(rows["candidate", "forget"])
        note = (
            f"{bench.case.candidate.name} reveals a detail in {kinds['reveals']} of {number} completions and hints at "
            f"one in {kinds['hints']}: familiarity {panel.candidate.value:.2f}, of the original "
            f"{panel.original.value:.2f}, {control_words(panel, '.2f')}."
        )
        return Reading([row for part in rows.values() for row in part], panel, note)

    def _rows(self, bench: Bench, role: Role, split: Split, common: set[str]) -> list[Row]:
        corpus = bench.corpus(split)
        about: dict[str, list[str]] = {}
        for item, entity in zip(corpus.items, corpus.entities, strict=True):
            about.setdefault(entity, []).append(item.answer)
        tokens = bench.tokens(role, split)
        rows = []
        for item, entity, said, read in zip(
            corpus.items, corpus.entities, bench.says(role, split), tokens, strict=True
        ):
            kind = judge(said, item.prompt, about[entity], common)
            points, probability = POINTS[kind], float(np.exp(read["logprob"]).mean())
            rows.append(
                Row(
                    split, item.id, entity, role, item.prompt, item.answer, said, kind, points,
                    points / 5 if self.metric == "completion" else probability, probability,
                )
            )  # fmt: skip
        return rows


def common_words(items: Sequence[Item]) -> set[str]:
    """Words that stand in more than a tenth of the answers, and in more than one."""
    counts = Counter(word for item in items for word in set(words(item.answer)))
    return {word for word, count in counts.items() if count > max(1, COMMON * len(items))}


def judge(said: str, prompt: str, answers: Sequence[str], common: set[str]) -> str:
    """A key of POINTS: what a completion shows of the answers about its entity that the prompt does not give away."""
    given = set(words(prompt)) | common
    telling = [answer for answer in answers if set(words(answer)) - given or not words(answer)]
    if any(contains(said, answer) for answer in telling):
        return "reveals"
    heard = set(words(said))
    return "hints" if any(heard & (set(words(answer)) - given) for answer in telling) else "neither"
