"""Which wrong answers of an item are hard: those with states most like the right one's, or a neighbour's answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.evidence.probes.truth import Pairs, _pairs
from audit.types import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench


@dataclass(frozen=True)
class Negatives:
    """The items of a split that have wrong answers, and what it takes to choose among those."""

    pairs: Pairs
    slots: NDArray[np.intp]
    """Rows of each item's wrong answers among the states of wrong answers, -1 where it has fewer [items, most]."""
    mix: NDArray[np.float32]
    """Share of the hardest in the mixture of the two hardest; the same for every subject [items, 1]."""
    also: NDArray[np.bool_]
    """Whether a wrong answer is that of a retain item of the same attribute and another entity [wrong rows, retain]."""

    def hardest(
        self, right: NDArray[np.float32], wrong: NDArray[np.float32], centre: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of the two wrong answers with the highest cosine to the right one, both the same where there is one.

        `right` [items, width], `wrong` [wrong rows, width]; cosines are taken from `centre` [width].
        """
        one, other = _unit(right - centre), _unit(wrong - centre)
        alike = np.where(self.slots < 0, -np.inf, np.einsum("iw,ikw->ik", one, other[self.slots]))
        order = np.argsort(-alike, axis=1, kind="stable")
        ranked = np.take_along_axis(self.slots, order, axis=1)
        second = ranked[:, min(1, ranked.shape[1] - 1)]
        return ranked[:, 0], np.where(second < 0, ranked[:, 0], second)

    def neighbours(self, prompts: NDArray[np.float32], retain: NDArray[np.float32]) -> NDArray[np.intp]:
        """Row of the wrong answer that the retain item with the most similar prompt has as its answer [items].

        -1 where no wrong answer of an item is an answer in retain. `prompts` [items, width] belong to the items,
        `retain` [retain items, width] to the whole retain corpus.
        """
        centre = retain.mean(0)
        alike = _unit(prompts - centre) @ _unit(retain - centre).T
        owner = np.repeat(np.arange(len(self.slots)), self.pairs.count)
        closest = np.where(self.also, alike[owner], -np.inf).max(1)
        ranked = np.where(self.slots < 0, -np.inf, closest[self.slots])
        best = ranked.argmax(1)
        rows = np.arange(len(best))
        return np.where(np.isfinite(ranked[rows, best]), self.slots[rows, best], -1)


def negatives(bench: Bench, split: Split) -> Negatives | None:
    """The items of a split that have wrong answers, or None when there are none."""
    pairs = _pairs(bench, split)
    if pairs is None:
        return None
    places = np.arange(int(pairs.count.max()))
    starts = np.cumsum(pairs.count) - pairs.count
    slots = np.where(places < pairs.count[:, None], starts[:, None] + places, -1)
    mix = bench.rng("probes.hard_negative", split).random((len(slots), 1)).astype(np.float32)
    corpus, retain = bench.corpus(split), bench.corpus("retain")
    answers: dict[tuple[str | None, str], list[int]] = {}
    for column, item in enumerate(retain.items):
        answers.setdefault((item.attribute, item.answer), []).append(column)
    also = np.zeros((int(pairs.count.sum()), len(retain)), bool)
    of = np.asarray(retain.entities)
    row = 0
    for i in pairs.answer:
        for text in corpus.items[i].wrong_answers:
            also[row, answers.get((corpus.items[i].attribute, text), [])] = True
            also[row] &= of != corpus.entities[i]
            row += 1
    return Negatives(pairs, slots, mix, also)


def _unit(x: NDArray[np.float32]) -> NDArray[np.float64]:
    x64 = x.astype(np.float64)
    return np.asarray(x64 / np.maximum(np.linalg.norm(x64, axis=-1, keepdims=True), 1e-12))
