"""Salient part: what only the original still carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.errors import NotApplicable
from audit.evidence.drift import _likeness as likeness
from audit.evidence.drift._reader import Part, explained, parts_of
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.evidence.drift._likeness import Clouds

MIN_ITEMS = 4


class SalientRow(NamedTuple):
    """One layer of one subject on one split."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[
        str, "corpus of the items; retain is read in halves, by a regression and a probe of the other half"
    ]
    salient: Annotated[float, "share of labels read from what the subject's states leave of the original's, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    chance: Annotated[float, "share that a guess among the labels would get right; also where nothing is left"]
    common: Annotated[float, "share of labels that the same probe reads from what the subject's states explain, 0 to 1"]
    shuffled: Annotated[float, "share of labels that probes of shuffled labels read from what is left, 0 to 1"]
    items: Annotated[int, "number of items of the split with a label that the probe knows"]
    entities: Annotated[int, "number of entities among them"]


@dataclass(frozen=True)
class Salient:
    """Splits the original's states into what the subject's states explain and a rest, and reads labels from the rest.

    A ridge regression from the subject's states to the original's is fitted on retain. The probe is trained on the
    original's retain states and reads the rest of a forget item, laid at the mean. It is not trained on the rest of
    retain: a model that knows retain explains it, so no label is left there to learn (in the tiny lab's reference such
    probes read 6 to 21 % of left-out labels, a guess 13 %). A rest of exactly 0 holds nothing and counts as a guess.
    The null is the reference, which leaves the forgotten answers unexplained; without one there is a table and no
    residual, because nothing is ever left of the original by itself.
    """

    title: ClassVar[str] = "What only the original still carries"
    question: ClassVar[str] = "Is the forgotten answer in the part of the original's states that the candidate lost?"
    blind_to: ClassVar[str] = (
        "Answers that the candidate stores in another form than those of the retained facts, or that the probe cannot "
        "read in the original: what is called lost may be stored otherwise."
    )
    formula: ClassVar[str] = (
        "rest = X - R(Y), X the original's and Y the subject's states, R ridge fitted on retain; salient = share of "
        "labels that argmax (W (rest + mean) + b) hits, W, b from the original's retain states; headline = mean of 1 - "
        "(hit - chance) / (1 - chance) over forget items and block outputs; chance = 1 / labels"
    )
    source: ClassVar[str] = (
        "Common and salient factors: Louiset et al. 2024, SepCLR (arXiv:2402.11928); sklearn.linear_model.RidgeCV"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = SalientRow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="salient",
        low="low",
        high="high",
        null="chance",
        facet="split",
        hover=("common", "shuffled", "items", "entities"),
        x_title="layer",
        y_title="labels read from the rest",
        title="Labels in what only the original still carries, layer by layer",
    )
    cost: ClassVar[float] = 1.0

    position: str = "prompt_last"
    items: int = 400
    """Items of each split at most: the regression is fitted three times per layer."""
    folds: int = 5
    nulls: int = 5

    def __post_init__(self) -> None:
        likeness.check_settings(self.position, self.items, MIN_ITEMS)
        probing.check_settings(self.position, self.folds, self.nulls)

    def measure(self, bench: Bench) -> Reading:
        """Regress and read layer by layer; raises NotApplicable when forget and retain items share no label."""
        sample = likeness.sampled(bench, self.items, MIN_ITEMS)
        parts = parts_of(bench, sample, folds=self.folds, nulls=self.nulls)
        chance = _chance(sample, parts)
        scored = {s: np.flatnonzero(np.isfinite(values)) for s, values in chance.items()}
        if not len(scored["forget"]):
            raise NotApplicable("No label of the forget items occurs among the retain items, so no probe can learn it.")

        def compare(first: Clouds, second: Clouds) -> dict[str, NDArray[np.float64]]:
            if likeness.undefined(first, second):
                kinds = ("", " common", " shuffled")
                return {f"{s}{kind}": np.full(len(x), np.nan) for s, x in first.items() for kind in kinds}
            return _read(first, second, parts, chance)

        inputs = {"folds": self.folds, "nulls": self.nulls}
        found = likeness.by_layer(bench, "drift.salient", sample, self.position, inputs, compare)
        kept = sample.only({s: rows for s, rows in scored.items() if len(rows)})
        hits: dict[Role, dict[str, NDArray[np.float64]]] = {
            role: {s: found[role][s][:, scored[s]] for s in kept.splits} for role in bench.compared
        }
        alike: dict[Role, dict[str, NDArray[np.float64]]] = {
            role: {s: _kept(hits[role][s], chance[s][scored[s]]) for s in kept.splits} for role in bench.compared
        }
        rows = []
        for line in likeness.item_lines(bench, kept, hits):
            layer, role, split = line[:3]
            here = scored[split]
            common, shuffled = (float(found[role][f"{split} {k}"][layer, here].mean()) for k in ("common", "shuffled"))
            rows.append(SalientRow(*line[:6], float(chance[split][here].mean()), common, shuffled, *line[6:]))
        return Reading(rows, likeness.item_panel(bench, kept, alike, self.position), in_words(rows))


def _read(
    first: Clouds, second: Clouds, parts: list[Part], chance: Mapping[Split, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Per split, whether each label is read from the rest, `<split> common` and `<split> shuffled` [items]."""
    same = likeness.same(first, second)
    line = {f"{s}{kind}": np.full(len(x), np.nan) for s, x in first.items() for kind in ("", " common", " shuffled")}
    for part in parts:
        predicted = first if same else explained(first, second, part)
        for group in part.groups:
            probe = probing.fit(first["retain"][group.train], group.task)
            for split, rows in group.rows.items():
                right = probe.predict(predicted[split][rows]) == group.truth[split]
                line[f"{split} common"][rows] = right[0]
                if same:  # nothing is left: exactly a guess
                    line[split][rows] = line[f"{split} shuffled"][rows] = chance[split][rows]
                    continue
                rest = (first[split][rows] - predicted[split][rows]) + probe.centre
                right = probe.predict(rest) == group.truth[split]
                line[split][rows], line[f"{split} shuffled"][rows] = right[0], right[1:].mean(0)
    return line


def _chance(sample: likeness.Sampled, parts: list[Part]) -> dict[Split, NDArray[np.float64]]:
    """Chance of each item, by split [items]; NaN for an item whose label no probe knows."""
    chance: dict[Split, NDArray[np.float64]] = {s: np.full(len(sample.ids[s]), np.nan) for s in sample.splits}
    for part in parts:
        for group in part.groups:
            for split, rows in group.rows.items():
                chance[split][rows] = 1 / len(group.task.classes)
    return chance


def _kept(hits: NDArray[np.float64], chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where the rest says no more than a guess, 0 where all labels are in it, item by item."""
    return np.asarray(1 - (hits - chance) / (1 - chance))


def in_words(rows: list[SalientRow]) -> str:
    """Labels in the rest and in the explained part of the candidate, over the blocks, on forget."""
    own = [row for row in rows if (row.subject, row.split) == ("candidate", "forget") and row.layer > 0]
    if not own:
        return "The states do not vary between items at this position, so nothing can be compared."
    salient, common, chance = (float(np.mean([getattr(r, k) for r in own])) for k in ("salient", "common", "chance"))
    return (
        f"From what the candidate's states leave of the original's, a probe reads {salient:.0%} of the forgotten "
        f"labels, and {common:.0%} from what they explain; a guess gets {chance:.0%}."
    ).replace("%", " %")
