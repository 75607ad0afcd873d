"""Hard negatives: is the forgotten answer told even from the wrong answers that are most like it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.errors import NotApplicable, NotIdentifiable
from audit.evidence.probes._negatives import Negatives, negatives
from audit.evidence.probes.truth import Truth, _below
from audit.stats import Scores, cross_fit, panel
from audit.types import SPLITS, Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

RANDOM, HARD, MIXED, NEIGHBOUR = "random", "hardest", "mixture", "neighbour's"
KINDS = (RANDOM, HARD, MIXED, NEIGHBOUR)
CHANCE = 0.5


class HardNegativeRow(NamedTuple):
    """One layer of one subject on one split, against one kind of wrong answer."""

    layer: Annotated[int, "0 is the input of the first block (the surface of the answer), i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus whose items were read"]
    kind: Annotated[
        str,
        "which wrong answer: any (random), the one with the most similar state (hardest), a mixture of the two most "
        "similar, or the one that is the answer of the retain item with the most similar prompt (neighbour's)",
    ]
    accuracy: Annotated[float, "share of items whose right answer scores above the wrong one (ties half), 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    chance: Annotated[float, "what a coin would score, 0.5"]
    shuffled: Annotated[float, "mean accuracy of the same probe trained with right and wrong swapped at random, 0 to 1"]
    items: Annotated[int, "number of items read"]
    entities: Annotated[int, "number of entities among them"]
    view: Annotated[str, "split and kind in one: a panel of the chart"]


@dataclass(frozen=True)
class HardNegative:
    """The truth probe, read against the wrong answer whose state is most like the right one's.

    Wrong answers drawn at random are mostly easy, and a coarse trace of the topic tells them apart. The probe is the
    same for all kinds and is trained on differences to the mean wrong answer of retained items, as in the truth probe;
    only what is read changes. Similar is not always hard: where less else differs, a weak direction may even show
    better, so both numbers are in the table. A mixture is not put back to a common length, so that what the answers of
    an item share still cancels.
    """

    title: ClassVar[str] = "Hard negatives"
    question: ClassVar[str] = "Is the forgotten answer told even from the wrong answers that are most like it?"
    blind_to: ClassVar[str] = (
        "Knowledge that does not lie along the direction from wrong to right of retained facts; and which wrong answer "
        "counts as hardest is decided by each subject's own states, so that subjects may be read against other ones."
    )
    formula: ClassVar[str] = (
        "accuracy = share of items with u . (h(right) - h(w)) > 0, ties one half, u as in the truth probe; hardest: "
        "w = argmax cos(h(right), h(w)) over the item's wrong answers, states centred on the mean of retain answers; "
        "mixture: h = a h(w1) + (1 - a) h(w2) of the two hardest, a uniform; headline = hardest, layer chosen on one "
        "half of the forget entities and scored on the other, blocks 1 to L"
    )
    source: ClassVar[str] = (
        "Hard negatives and their mixtures: MoCHi, Kalantidis et al. 2020 (arXiv:2010.01028); direction: Marks and "
        "Tegmark 2023 (arXiv:2310.06824)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    row: ClassVar[type] = HardNegativeRow
    chart: ClassVar[Chart] = Chart(
        "line", "layer", "accuracy", low="low", high="high", null="chance", facet="view",
        hover=("shuffled", "items", "entities"), x_title="layer", y_title="right answer ranked above",
        title="Right answers against ever more similar wrong ones, layer by layer",
    )  # fmt: skip
    cost: ClassVar[float] = 0.5

    position: str = "answer_last"
    folds: int = 5
    nulls: int = 20

    def __post_init__(self) -> None:
        probing.check_settings(self.position, self.folds, self.nulls)

    def measure(self, bench: Bench) -> Reading:
        """Train on retain, read the rest; raises NotApplicable when items have no wrong answers."""
        sets = {s: made for s in SPLITS if bench.has(s) and (made := negatives(bench, s)) is not None}
        for split in ("forget", "retain"):
            if split not in sets:
                raise NotApplicable(f"No {split} item has wrong answers to tell the right one from.")
        read = {role: self._read(bench, role, sets) for role in bench.roles}

        def score(role: Role, split: Split, kind: str = HARD) -> Scores:
            if split not in sets:
                raise NotIdentifiable(f"No {split} item has wrong answers, so there is no control here.")
            pairs = sets[split].pairs
            values, _ = cross_fit(read[role][f"{kind} {split}"][1:], pairs.entities, bench.seed)
            return Scores(pairs.items, pairs.entities, values)

        hard, easy = panel(bench, score), panel(bench, lambda role, split: score(role, split, RANDOM))
        rows = [row for role in bench.roles for row in self._rows(bench, role, sets, read[role])]
        note = f"Right answers ranked above the wrong one that is most like them: {probing.compared(hard)}; "
        note += f"above any wrong one: {probing.compared(easy)}; a coin would rank 50 % so."
        return Reading(rows, hard, note)

    def _read(self, bench: Bench, role: Role, sets: dict[Split, Negatives]) -> dict[str, NDArray[np.float64]]:
        """Whether the right answer scores above, `<kind> <split>` and `shuffled <kind> <split>` [layers, items]."""

        def compute() -> dict[str, NDArray[np.float64]]:
            right = {split: bench.states(role, split) for split in sets}
            wrong = {split: bench.states(role, split, "wrong") for split in sets}
            layers, pairs = right["retain"].layers, sets["retain"].pairs
            task = Truth(folds=self.folds, nulls=self.nulls)._task(bench, pairs)
            result: dict[str, list[NDArray[np.float64]]] = {}
            for layer in range(layers):
                bench.progress((bench.roles.index(role) + layer / layers) / len(bench.roles), f"probing the {role}")
                prompts = {split: found.at(layer, "prompt_last") for split, found in right.items()}
                answers = {split: found.at(layer, self.position) for split, found in right.items()}
                others = {split: found.at(layer, self.position) for split, found in wrong.items()}
                probe = probing.fit(pairs.mean(pairs.spread(answers["retain"]) - others["retain"], 0), task)
                centre = (answers["retain"][pairs.answer].mean(0) + others["retain"].mean(0)) / 2
                for split in self._read_splits(sets):
                    made = sets[split]
                    chosen = made.hardest(answers[split][made.pairs.answer], others[split], centre)
                    near = made.neighbours(prompts[split][made.pairs.answer], prompts["retain"])
                    apart = made.pairs.spread(answers[split]) - others[split]
                    for kind, values in above(probe, made, apart, chosen, near).items():
                        result.setdefault(f"{kind} {split}", []).append(values[0])
                        result.setdefault(f"shuffled {kind} {split}", []).append(values[1:].mean(0))
            return {name: np.stack(lines) for name, lines in result.items()}

        inputs = {"position": self.position, "folds": self.folds, "nulls": self.nulls}
        return bench.remember("probes.hard_negative", [role], inputs, compute)

    @staticmethod
    def _read_splits(sets: Mapping[Split, Negatives]) -> list[Split]:
        return [split for split in sets if split != "retain"]

    def _rows(
        self, bench: Bench, role: Role, sets: Mapping[Split, Negatives], read: Mapping[str, NDArray[np.float64]]
    ) -> list[HardNegativeRow]:
        rows = []
        for split in self._read_splits(sets):
            for kind in KINDS:
                values, null = read[f"{kind} {split}"], read[f"shuffled {kind} {split}"]
                known = np.flatnonzero(np.isfinite(values).all(0))
                entities = [sets[split].pairs.entities[i] for i in known]
                points = probing.intervals(values[:, known], entities, bench.seed) if len(known) else []
                rows += [
                    HardNegativeRow(
                        layer, role, split, kind, *point, CHANCE, float(null[layer, known].mean()), len(known),
                        len(set(entities)), f"{split}, {kind}",
                    )
                    for layer, point in enumerate(points)
                ]  # fmt: skip
        return rows


def above(
    probe: probing.Probe,
    made: Negatives,
    apart: NDArray[np.float32],
    chosen: tuple[NDArray[np.intp], NDArray[np.intp]],
    near: NDArray[np.intp],
) -> dict[str, NDArray[np.float64]]:
    """Whether the right answer scores above each kind of wrong one, ties one half: [1 + nulls, items] per kind.

    `apart` is right minus wrong [wrong rows, width], `chosen` the rows of the two hardest of each item, `near` the row
    of the neighbour's answer or -1, which gives NaN.
    """
    below = _below(probe.scores(apart))
    mixed = made.mix * apart[chosen[0]] + (1 - made.mix) * apart[chosen[1]]
    return {
        RANDOM: made.pairs.mean(below, 1),
        HARD: below[:, chosen[0]],
        MIXED: _below(probe.scores(mixed)),
        NEIGHBOUR: np.where(near < 0, np.nan, below[:, near]),
    }
