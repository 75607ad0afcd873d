"""Truth probe: do the hidden states still tell the right answer from wrong ones?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.errors import NotApplicable, NotIdentifiable
from audit.stats import Scores, cross_fit, panel
from audit.types import SPLITS, Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

CHANCE = 0.5
RIGHT, WRONG = 0, 1


class TruthRow(NamedTuple):
    """One layer of one subject on one split."""

    layer: Annotated[int, "0 is the input of the first block (the surface of the answer), i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus read; retain: by probes that never saw the entity, against the mean wrong answer"]
    accuracy: Annotated[float, "share of wrong answers that score below the right one (ties count half), 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    chance: Annotated[float, "what a coin would score, 0.5"]
    shuffled: Annotated[float, "mean accuracy of the same probe trained with right and wrong swapped at random, 0 to 1"]
    items: Annotated[int, "number of items read"]
    entities: Annotated[int, "number of entities among them"]


@dataclass(frozen=True)
class Pairs:
    """The items of a split that have wrong answers; the rows of the wrong states come item by item."""

    items: list[str]
    entities: list[str]
    answer: NDArray[np.intp]
    """For each item, its row in the states of the right answers."""
    count: NDArray[np.intp]
    """For each item, its number of wrong answers."""

    def spread(self, right: NDArray[np.float32]) -> NDArray[np.float32]:
        """The right answer's state beside each wrong one [right rows, width] -> [wrong rows, width]."""
        return np.repeat(right[self.answer], self.count, axis=0)

    def mean(self, values: NDArray[Any], axis: int) -> NDArray[Any]:
        """Mean over the wrong answers of each item; `axis` changes from wrong rows to items."""
        values = np.moveaxis(values, axis, -1)
        sums = np.add.reduceat(values, np.cumsum(self.count) - self.count, axis=-1)
        return np.moveaxis(sums / self.count.astype(values.dtype), -1, axis)


@dataclass(frozen=True)
class Truth:
    """A direction from wrong to right answers, learned on retained items of the same subject only.

    A probe on the states themselves could learn which items it saw. Here it is trained on the difference between the
    right answer and the mean of the wrong ones of the same item, without an intercept, which is the same as training
    on both signs of it: whatever an item's two answers share (its topic, its entity, its prompt) cancels exactly, each
    item counts once however many wrong answers it has, and no answer can be called right for itself alone. The score
    compares answers of one item only, so it needs nothing else. The same probe on state 0, the embedding of the
    answer's last token, is in the table as a control: what it reads is on the surface of the answers.
    """

    title: ClassVar[str] = "Truth probe"
    question: ClassVar[str] = "Do the hidden states still tell the forgotten answer from wrong ones?"
    blind_to: ClassVar[str] = (
        "Knowledge that separates right from wrong along another direction for forgotten than for retained facts; and "
        "it may read how likely an answer sounds, which the reference or the holdout shows."
    )
    formula: ClassVar[str] = (
        "score = share of wrong answers w with u . (h(right) - h(w)) > 0, ties one half; h the hidden state at the "
        "answer's last token; u by ridge regression on h(right) - mean h(wrong) of retain items; penalty by 5 folds of "
        "entities; layer chosen on one half of the forget entities, scored on the other, both ways, blocks 1 to L"
    )
    source: ClassVar[str] = (
        "Marks and Tegmark 2023 (arXiv:2310.06824), on within-item differences as in Burns et al. 2022 "
        "(arXiv:2212.03827)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    row: ClassVar[type] = TruthRow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="accuracy",
        low="low",
        high="high",
        null="chance",
        facet="split",
        hover=("shuffled", "items", "entities"),
        x_title="layer",
        y_title="wrong answers ranked below the right one",
        title="Right against wrong answers, layer by layer",
    )
    cost: ClassVar[float] = 0.5

    position: str = "answer_last"
    folds: int = 5
    nulls: int = 20

    def __post_init__(self) -> None:
        probing.check_settings(self.position, self.folds, self.nulls)

    def measure(self, bench: Bench) -> Reading:
        """Train on retain, read forget; raises NotApplicable when items have no wrong answers."""
        pairs = {s: made for s in SPLITS if bench.has(s) and (made := _pairs(bench, s)) is not None}
        for split in ("forget", "retain"):
            if split not in pairs:
                raise NotApplicable(f"No {split} item has wrong answers to tell the right one from.")
        read = {role: self._read(bench, role, pairs) for role in bench.roles}

        def score(role: Role, split: Split) -> Scores:
            if split not in pairs:
                raise NotIdentifiable(f"No {split} item has wrong answers, so there is no control here.")
            values, _ = cross_fit(read[role][split][1:], pairs[split].entities, bench.seed)
            return Scores(pairs[split].items, pairs[split].entities, values)

        found = panel(bench, score)
        rows = [
            TruthRow(
                layer,
                role,
                split,
                value,
                low,
                high,
                CHANCE,
                float(read[role][f"shuffled {split}"][layer].mean()),
                len(made.items),
                len(set(made.entities)),
            )
            for split, made in pairs.items()
            for role in bench.roles
            for layer, (value, low, high) in enumerate(probing.intervals(read[role][split], made.entities, bench.seed))
        ]
        shares = probing.compared(found)
        note = f"Share of wrong answers that a probe ranks below the forgotten one: {shares}; a coin would score 50 %."
        return Reading(rows, found, note)

    def _read(self, bench: Bench, role: Role, pairs: dict[Split, Pairs]) -> dict[str, NDArray[np.float64]]:
        """Share of wrong answers ranked below the right one, per split [layers, items], and `shuffled <split>`."""

        def compute() -> dict[str, NDArray[np.float64]]:
            right = {split: bench.states(role, split) for split in pairs}
            wrong = {split: bench.states(role, split, "wrong") for split in pairs}
            layers = right["retain"].layers
            task = self._task(bench, pairs["retain"])
            result: dict[str, list[NDArray[np.float64]]] = {}
            for layer in range(layers):
                bench.progress((bench.roles.index(role) + layer / layers) / len(bench.roles), f"probing the {role}")
                apart = {
                    split: made.spread(right[split].at(layer, self.position)) - wrong[split].at(layer, self.position)
                    for split, made in pairs.items()
                }
                probe = probing.fit(pairs["retain"].mean(apart["retain"], 0), task)
                for split, made in pairs.items():
                    if split == "retain":
                        below = _below(probe.held_out)
                    else:
                        below = made.mean(_below(probe.scores(apart[split])), 1)
                    result.setdefault(split, []).append(below[0])
                    result.setdefault(f"shuffled {split}", []).append(below[1:].mean(0))
            return {name: np.stack(lines) for name, lines in result.items()}

        inputs = {"position": self.position, "folds": self.folds, "nulls": self.nulls}
        return bench.remember("probes.truth", [role], inputs, compute)

    def _task(self, bench: Bench, retain: Pairs) -> probing.Task:
        """Every difference points from wrong to right; in a null, each points either way."""
        labels = np.full((1 + self.nulls, len(retain.items)), RIGHT)
        labels[1:] = bench.rng("probes.truth", "nulls").integers(0, 2, labels[1:].shape)
        fold = probing.grouped_folds(retain.entities, self.folds, bench.seed)
        return probing.Task(("right", "wrong"), labels, fold, intercept=False)


def _below(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 where right scores above wrong, one half for a tie, else 0 [..., 2] -> [...]."""
    return (np.sign(scores[..., RIGHT] - scores[..., WRONG]).astype(np.float64) + 1) / 2


def _pairs(bench: Bench, split: Split) -> Pairs | None:
    """The items of a split that have wrong answers, or None when there are none."""
    corpus = bench.corpus(split)
    rows = [i for i, item in enumerate(corpus.items) if item.wrong_answers]
    if not rows:
        return None
    return Pairs(
        [corpus.items[i].id for i in rows],
        [corpus.entities[i] for i in rows],
        np.asarray(rows),
        np.asarray([len(corpus.items[i].wrong_answers) for i in rows]),
    )
