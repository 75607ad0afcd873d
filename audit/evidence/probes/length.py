"""Length as a confound: can the forgotten labels be told from the lengths of the questions alone?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.errors import NotIdentifiable
from audit.evidence.probes._labelled import Labelled, Read, Reader, labelled, right
from audit.stats import conclude, panel
from audit.types import Access, Chart, Item, Place, Reading, Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

FEATURES = ("characters", "words", "longest word", "characters squared", "characters of the paraphrases")


class LengthRow(NamedTuple):
    """What lengths tell of the labels of one split; the same for every subject, since none is asked."""

    subject: Annotated[str, "role of the model; lengths are the same for all of them"]
    split: Annotated[str, "corpus whose items were read; on retain, each by training on the other half of its entities"]
    accuracy: Annotated[float, "share of items whose label was read correctly from lengths, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    chance: Annotated[float, "what guessing the most frequent training label would be expected to score, 0 to 1"]
    shuffled: Annotated[float, "mean accuracy of the same reader trained on labels dealt to other entities, 0 to 1"]
    above: Annotated[bool, "whether the whole interval lies above both chance and the shuffled labels"]
    items: Annotated[int, "number of items read"]
    entities: Annotated[int, "number of entities among them"]


@dataclass(frozen=True)
class Length:
    """A linear classifier that sees the lengths of an item's questions and nothing of any model.

    It is a check of the corpora, not of a model: all subjects get the same number, so that its normal outcome is that
    the instrument does not work here, which is good news for every other probe. Where lengths do tell the labels, a
    probe at the last prompt token may read lengths (a state can hold its own position) and not knowledge; the note then
    warns. Only what is known before the answer is admissible: characters and words of the prompt and its paraphrases.
    The answer's own length is not, because the label is the answer; nor are the wrong answers, which leave it out.
    """

    title: ClassVar[str] = "Length check"
    question: ClassVar[str] = "Can the forgotten labels be told from the lengths of the questions alone?"
    blind_to: ClassVar[str] = (
        "Every other confound, such as a word of the question that goes with a label; and how many tokens a question "
        "has in a given model, which is not the number of its characters."
    )
    formula: ClassVar[str] = (
        "accuracy = share of items whose label is argmax_c (W x + b)_c, x = characters of the prompt and their square, "
        "words, longest word, mean characters of the paraphrases; W, b by penalised discriminant analysis on retain "
        "items; lengths tell labels where the whole interval lies above chance and above shuffled labels"
    )
    source: ClassVar[str] = "Length bias of sentence embeddings: ESimCSE, Wu et al. 2021 (arXiv:2109.04380)"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    row: ClassVar[type] = LengthRow
    chart: ClassVar[Chart] = Chart(
        "bar", "split", "accuracy", low="low", high="high", null="chance", hover=("shuffled", "items", "entities"),
        x_title="corpus", y_title="labels read correctly", title="What the lengths of the questions tell of the labels",
    )  # fmt: skip
    cost: ClassVar[float] = 0.01

    folds: int = 5
    nulls: int = 20

    def __post_init__(self) -> None:
        probing.check_settings("prompt_last", self.folds, self.nulls)

    def measure(self, bench: Bench) -> Reading:
        """Read lengths in place of states; raises NotApplicable when items have no labels."""
        made = labelled(bench, self.folds, self.nulls)
        read = made.blank(1)
        at = {split: np.stack([lengths(item) for item in bench.corpus(split).items]) for split in made.scored}
        made.read(read, 0, [at["retain"]], at, reader)
        # No layer is chosen: a second line that is the same makes a choice without a difference.
        twice = {name: np.repeat(values, 2, axis=0) for name, values in read.items()}
        found = panel(bench, made.score(dict.fromkeys(bench.roles, twice)))
        rows = [row for role in bench.roles for row in table_of(made, role, read)]
        note = in_words(rows) + made.unread
        if conclude(found).residual is not None:  # only without a reference: forget lengths against holdout lengths
            raise NotIdentifiable(
                f"This instrument does not work here: lengths are the same for every model, and no candidate can be "
                f"read from them. {note}"
            )
        return Reading(rows, found, note)


def lengths(item: Item) -> NDArray[np.float32]:
    """The numbers of FEATURES for one item, from what is known before the answer."""
    words = item.prompt.split()
    size = len(item.prompt)
    others = [len(text) for text in item.paraphrases] or [size]
    return np.asarray([size, len(words), max(map(len, words), default=0), size**2, np.mean(others)], np.float32)


def reader(train: Sequence[NDArray[np.float32]], task: probing.Task, attribute: str) -> Reader:
    """A linear probe of lengths."""
    probe = probing.fit(train[0], task)
    return lambda features, truth: right(probe.predict(features), truth)


def table_of(made: Labelled, role: Role, read: Read) -> list[LengthRow]:
    """One row per split."""
    rows = []
    for row in made.rows(role, read, "lengths"):
        above = row.low > max(row.chance, row.shuffled)
        point = (row.accuracy, row.low, row.high, row.chance, row.shuffled, above)
        rows.append(LengthRow(role, row.split, *point, row.items, row.entities))
    return rows


def in_words(rows: Sequence[LengthRow]) -> str:
    """Whether lengths tell the labels, and what that means."""
    own = {row.split: row for row in rows if row.subject == "candidate"}
    forget = own["forget"]
    numbers = f"{forget.accuracy:.0%} of forgotten labels, where chance is {forget.chance:.0%}"
    told = [split for split, row in own.items() if row.above]
    if not told:
        return f"The lengths of the questions do not tell the labels: {numbers}.".replace("%", " %")
    return (
        f"Warning: the lengths of the questions alone tell labels ({numbers}; above chance on {' and '.join(told)}). "
        "What a probe reads from states here may be length and not knowledge: even out the lengths of the questions."
    ).replace("%", " %")
