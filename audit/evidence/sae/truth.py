"""Features of the truth: do the features that tell right from wrong answers still do so for the forgotten ones?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.dictionaries.quality import insist
from audit.dictionaries.source import Dictionary
from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.probes.truth import CHANCE, RIGHT, Pairs, _below, _pairs
from audit.evidence.sae._features import Trained, activations
from audit.stats import Scores, cross_fit, panel
from audit.types import SPLITS, Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from audit.bench import Bench

Read = dict[str, "NDArray[np.float64]"]
FOLDS, NULLS = 5, 20
POSITION = "answer_last"


class TruthRow(NamedTuple):
    """One dictionary, one subject, one split."""

    layer: Annotated[int, "block whose output the dictionary reads"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus whose items were read"]
    accuracy: Annotated[float, "share of wrong answers that score below the right one (ties count half), 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    chance: Annotated[float, "what a coin would score, 0.5"]
    shuffled: Annotated[float, "the same with a classifier trained with right and wrong swapped at random, 0 to 1"]
    firing: Annotated[float, "share of the chosen features that fire on right answers, mean over items, 0 to 1"]
    items: Annotated[int, "number of items read"]


@dataclass(frozen=True)
class Truth(Trained):
    """k-sparse truth probing on the original's features, read on every subject; it needs no labels.

    The features that differ most steadily between the right and the wrong answers of an item are chosen on the
    original's retain items, a small classifier without intercept is fitted to those differences there, and both are
    applied unchanged to the forget items of every subject. Nothing is fitted to the candidate and nothing to a
    forgotten entity. Only answers of one item are compared, so what its answers share (topic, entity, prompt) cancels.
    """

    latents: int = 16
    """Features that the classifier may use."""

    title: ClassVar[str] = "SAE features of the truth"
    question: ClassVar[str] = "Do the features that tell right from wrong answers still tell them apart when forgotten?"
    blind_to: ClassVar[str] = (
        "Knowledge that moved to other features or to another code, and facts whose truth shows in features that do "
        "not serve the retained facts; it may read how likely an answer sounds, which the reference or the holdout "
        "shows. It reads only the blocks that have a dictionary."
    )
    formula: ClassVar[str] = (
        "score = share of wrong answers w with u . (f(right) - f(w)) > 0, ties one half; f the activations of k "
        "latents at the answer's last token; latents by (mean d)^2 / mean d^2, d = f(right) - mean f(wrong), u by "
        "penalised regression without intercept on d, both on the original's retain items; block chosen on one half of "
        "the forget entities, scored on the other, both ways"
    )
    source: ClassVar[str] = (
        "Marks and Tegmark 2023 (arXiv:2310.06824) on the features of a dictionary, by the k-sparse probing of Gurnee "
        "et al. 2023 (arXiv:2305.01610)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    row: ClassVar[type] = TruthRow
    chart: ClassVar[Chart] = Chart(
        "bar", "layer", "accuracy", low="low", high="high", null="chance", facet="split",
        hover=("shuffled", "firing", "items"), x_title="block", y_title="wrong answers ranked below the right one",
        title="Right against wrong answers by the original's features",
    )  # fmt: skip
    cost: ClassVar[float] = 0.6

    def __post_init__(self) -> None:
        if self.latents < 1:
            raise CaseError("latents = 0: a classifier of no features reads nothing; expected at least 1.")

    def measure(self, bench: Bench) -> Reading:
        """Choose and fit on the original's retain items; raises NotApplicable when items have no wrong answers."""
        pairs = {s: made for s in SPLITS if bench.has(s) and (made := _pairs(bench, s)) is not None}
        for split in ("forget", "retain"):
            if split not in pairs:
                raise NotApplicable(f"No {split} item has wrong answers to tell the right one from.")
        found = self.dictionaries(bench)
        grades = [insist(bench, dictionary) for dictionary in found]
        read = {role: [self._read(bench, d, role, pairs) for d in found] for role in bench.roles}

        def score(role: Role, split: Split) -> Scores:
            if split not in pairs:
                raise NotIdentifiable(f"No {split} item has wrong answers, so there is no control here.")
            made = pairs[split]
            values, _ = cross_fit([lines[split] for lines in read[role]], made.entities, bench.seed)
            return Scores(made.items, made.entities, values)

        result = panel(bench, score)
        rows = [
            self._row(bench, dictionary.layer, role, split, lines, pairs[split])
            for role in bench.roles
            for dictionary, lines in zip(found, read[role], strict=True)
            for split in pairs
            if split != "retain"
        ]
        layers = "; ".join(f"block {d.layer}: {grade}" for d, grade in zip(found, grades, strict=True))
        shares = probing.compared(result)
        note = (
            f"Share of wrong answers that {self.latents} features rank below the forgotten one: {shares}; a coin would "
            f"score 50 %. {layers}."
        )
        return Reading(rows, result, note)

    def _read(self, bench: Bench, dictionary: Dictionary, role: Role, pairs: Mapping[Split, Pairs]) -> Read:
        """Share of wrong answers below the right one, `shuffled <split>` and `firing <split>` [items]."""

        def compute() -> Read:
            bench.progress(0.0, f"reading features of the {role} in block {dictionary.layer}")
            taught = pairs["retain"]
            _, apart = self._apart(bench, dictionary, "original", "retain", taught)
            train = taught.mean(apart, 0)
            chosen = np.argsort(-steadiness(train), kind="stable")[: self.latents]
            probe = probing.fit(train[:, chosen], self._task(bench, taught))
            result: Read = {}
            for split, made in pairs.items():
                if split == "retain":
                    continue
                right, apart = self._apart(bench, dictionary, role, split, made)
                below = made.mean(_below(probe.scores(apart[:, chosen])), 1)
                result[split] = below[0]
                result[f"shuffled {split}"] = below[1:].mean(0)
                result[f"firing {split}"] = (right[made.answer][:, chosen] > 0).mean(1)
            return result

        inputs = {"dictionary": dictionary.digest, "layer": dictionary.layer, "latents": self.latents}
        return bench.remember("sae.truth", ["original", role], inputs, compute)

    @staticmethod
    def _apart(
        bench: Bench, dictionary: Dictionary, role: Role, split: Split, made: Pairs
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features of the right answers [corpus items, features], and right minus wrong [wrong rows, features]."""
        right = activations(bench, dictionary, role, split, position=POSITION)
        return right, made.spread(right) - activations(bench, dictionary, role, split, "wrong", POSITION)

    @staticmethod
    def _task(bench: Bench, retain: Pairs) -> probing.Task:
        """Every difference points from wrong to right; in a null, each points either way."""
        labels = np.full((1 + NULLS, len(retain.items)), RIGHT)
        labels[1:] = bench.rng("sae.truth", "nulls").integers(0, 2, labels[1:].shape)
        fold = probing.grouped_folds(retain.entities, FOLDS, bench.seed)
        return probing.Task(("right", "wrong"), labels, fold, intercept=False)

    @staticmethod
    def _row(bench: Bench, layer: int, role: Role, split: Split, read: Read, made: Pairs) -> TruthRow:
        value, low, high = next(iter(probing.intervals(read[split][None], made.entities, bench.seed)))
        shuffled, firing = (float(read[f"{what} {split}"].mean()) for what in ("shuffled", "firing"))
        return TruthRow(layer, role, split, value, low, high, CHANCE, shuffled, firing, len(made.items))


def steadiness(apart: NDArray[np.float32]) -> NDArray[np.float64]:
    """(mean d)^2 / mean d^2 of every feature, 0 to 1; 0 where it never differs [items, features] -> [features].

    The paired t statistic of n differences is a growing function of it: t^2 = (n - 1) s / (1 - s).
    """
    x = apart.astype(np.float64)
    squares = np.square(x).mean(0)
    return np.divide(np.square(x.mean(0)), squares, out=np.zeros_like(squares), where=squares > 0)
