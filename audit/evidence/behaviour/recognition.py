"""Is the answer recognised from the image, known as text, or both?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.errors import NotApplicable
from audit.evidence.behaviour.recall import check_metric, score
from audit.stats import Scores
from audit.types import Access, Chart, Corpus, Item, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

IMAGE, TEXT, OTHER = "its image", "text alone", "another image"
WAYS = (IMAGE, TEXT, OTHER)


class Row(NamedTuple):
    """One answer of one subject to one way of asking."""

    way: Annotated[str, "what was given: its image, the question in text alone, or another entity's image (control)"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about"]
    subject: Annotated[str, "role of the model that answered"]
    split: Annotated[str, "corpus of the item"]
    prompt: Annotated[str, "the question in this way of asking"]
    answer: Annotated[str, "the true answer"]
    said: Annotated[str, "what the model said: greedy, up to the first line break"]
    score: Annotated[float, "how much of the answer was said, 0 to 1"]
    probability: Annotated[float, "probability of the true answer, per token (geometric mean), 0 to 1"]
    shown: Annotated[str, "the entity whose image was shown; empty for text alone"]


@dataclass(frozen=True)
class Recognition:
    """Ask for every fact with its image, by name in text alone, and with the image of another entity.

    Which of the first two ways gives more is chosen on one half of the entities and scored on the other, for every
    subject: a model that forgot the face but not the name still knows. Counted are items that can be asked in both
    ways; where none can, the image alone is asked. What comes with another's image is no recognition: it is what the
    question alone gives away.
    """

    metric: str = "rougeL_recall"
    """`rougeL_recall` or `contains`."""

    title: ClassVar[str] = "Recognised from the image or known as text"
    question: ClassVar[str] = "Does the model give the answer from the image, from the name in text, or from neither?"
    blind_to: ClassVar[str] = (
        "Other images of the same entity, other wordings, and facts that the corpus asks in one way only. A model can "
        "know a fact in text and a face by sight and still not join the two."
    )
    formula: ClassVar[str] = (
        "recall of what is said, by way of asking; headline = the way, image or text, that gives more on the other "
        "half of the entities"
    )
    source: ClassVar[str] = (
        "The split of visual recognition and textual facts: SIU and MMUBench (Li et al. 2024, arXiv:2405.12523); "
        "MLLMU-Bench (Liu et al. 2024, arXiv:2410.22108). Another entity's image as control: ours"
    )
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    reads: ClassVar[frozenset[Modality]] = frozenset({Modality.IMAGE_TEXT})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "way", "score", facet="split", hover=("prompt", "answer", "said", "shown"),
        x_title="what was given", y_title="recall", title="What is said to the image, to the name, to another's image",
    )  # fmt: skip
    cost: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        check_metric(self.metric)

    def measure(self, bench: Bench) -> Reading:
        """Ask in every way; raises NotApplicable when no item to forget has an image."""
        asked = {split: ways_of(bench, split) for split in bench.splits}
        ways = [way for way in WAYS if all(way in found for found in asked.values())]
        rows = {
            (role, split): [row for way in ways for row in self._rows(bench, role, split, way, asked[split][way])]
            for split in asked
            for role in bench.roles
        }
        headline = [way for way in ways if way != OTHER]

        def scored(role: Role, split: Split) -> Scores:
            corpus = bench.corpus(split)
            found = {(row.way, row.item): row.score for row in rows[role, split]}
            both = np.array([all((way, item.id) in found for way in headline) for item in corpus.items])
            table = np.zeros((len(headline), len(corpus)))
            for k, way in enumerate(headline):
                table[k, both] = [found[way, item.id] for item, yes in zip(corpus.items, both, strict=True) if yes]
            return Scores([item.id for item in corpus.items], corpus.entities, _best(bench, corpus, table, both), both)

        panel = stats.panel(bench, scored)
        return Reading([row for part in rows.values() for row in part], panel, _note(bench, rows, ways))

    def _rows(self, bench: Bench, role: Role, split: Split, way: str, asked: Mapping[str, Item]) -> list[Row]:
        """Rows of the items that can be asked in this way, in corpus order."""
        corpus = Corpus(split, tuple(asked.values()), f"{bench.corpus(split).source}, {way}")
        beside = bench.with_corpora({split: corpus})
        said = beside.says(role, split)
        logprob = beside.likelihood(role, split)["mean_logprob"].to_numpy()
        whose = {item.image.digest: name for item, name in _entities(bench.corpus(split)) if item.image}
        return [
            Row(
                way, item.id, name, role, split, item.prompt, item.answer, text,
                score(text, item.answer, self.metric), float(np.exp(line)),
                whose.get(item.image.digest, "") if item.image else "",
            )
            for (item, name), text, line in zip(_entities(corpus), said, logprob, strict=True)
        ]  # fmt: skip


def ways_of(bench: Bench, split: Split) -> dict[str, dict[str, Item]]:
    """The items of a split in each way of asking, by id: those that can be asked so, without their variants.

    Raises NotApplicable when none has an image.
    """
    seen = [plain(item) for item in bench.corpus(split).items if item.image]
    if not seen:
        raise NotApplicable(
            f"No item of the {split} corpus has an image, so nothing can be recognised: give each row an `image`, and "
            "the question without it as `text_prompt`."
        )
    named = [item for item in seen if item.text_prompt]
    texts = [dataclasses.replace(i, prompt=i.text_prompt, image=None, worded=False) for i in named]  # type: ignore[arg-type]
    others = {item.id: other for item in seen if (other := _another(bench, split, item, seen)) is not None}
    swapped = [dataclasses.replace(item, image=others[item.id].image) for item in seen if item.id in others]
    found = {IMAGE: seen, TEXT: texts, OTHER: swapped}
    return {way: {item.id: item for item in items} for way, items in found.items() if items}


def plain(item: Item) -> Item:
    """An item without its other wordings and answers, which would be read for nothing."""
    return dataclasses.replace(item, paraphrases=(), paraphrased_answer=None, wrong_answers=())


def _another(bench: Bench, split: Split, item: Item, items: Sequence[Item]) -> Item | None:
    """An item about another entity to which the same question has another answer, drawn anew for every item."""
    same = [
        other
        for other in items
        if (other.entity or other.id) != (item.entity or item.id)
        and other.attribute == item.attribute
        and other.answer != item.answer
        and other.image != item.image
    ]
    if not same:
        return None
    return same[int(bench.rng("another image", split, item.id).integers(len(same)))]


def _best(bench: Bench, corpus: Corpus, table: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Scores [items] of the way that gives more, chosen on half of the entities and scored on the other."""
    values = np.zeros(len(used))
    if len(table) == 1:
        return table[0]
    entities = np.asarray(corpus.entities)[used].tolist()
    values[used], _ = stats.cross_fit(table[:, used], entities, bench.seed)
    return values


def _entities(corpus: Corpus) -> list[tuple[Item, str]]:
    return list(zip(corpus.items, corpus.entities, strict=True))


def _note(bench: Bench, rows: Mapping[tuple[Role, Split], Sequence[Row]], ways: Sequence[str]) -> str:
    """Every way's mean over the same items, in the candidate, the original and the control."""
    control: tuple[Role, Split] = ("reference", "forget") if bench.null == "reference" else ("candidate", "holdout")
    beside = "the reference" if bench.null == "reference" else "of facts that it never saw"

    def mean(where: tuple[Role, Split], way: str) -> str:
        both = set.intersection(*({r.item for r in rows[where] if r.way == w} for w in ways))
        found = [row.score for row in rows[where] if row.way == way and row.item in both]
        return f"{np.mean(found):.0%}" if found else "not asked"

    words = {IMAGE: "from its image", TEXT: "from the name in text alone", OTHER: "with another's image"}
    parts = [
        f"{words[way]} {mean(('candidate', 'forget'), way)} (the original {mean(('original', 'forget'), way)}, "
        f"{beside} {mean(control, way)})"
        for way in ways
    ]
    return f"{bench.case.candidate.name} gives of the answers: {'; '.join(parts)}."
