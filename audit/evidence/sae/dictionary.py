"""Dictionary fit: how well the original's dictionary still explains another subject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.dictionaries.quality import insist
from audit.dictionaries.source import Dictionary
from audit.evidence.sae._features import Trained
from audit.stats import Scores, panel
from audit.types import SPLITS, Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

FIRES = 0.0


class DictionaryRow(NamedTuple):
    """One dictionary, one subject, one split."""

    layer: Annotated[int, "block whose output the dictionary reads"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus whose tokens were rebuilt"]
    explained: Annotated[float, "share of the variance of an item's tokens that the dictionary rebuilds, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    l0: Annotated[float, "features that fire at a token, on average"]
    silenced: Annotated[float, "share of the features that fire in the original on this split and here at no token"]
    new: Annotated[int, "features that fire here and at no token of the original on this split"]
    items: Annotated[int, "number of items"]


@dataclass(frozen=True)
class Fit(Trained):
    """Rebuilds every token's state of every subject with the dictionaries made for the original."""

    title: ClassVar[str] = "SAE dictionary fit"
    question: ClassVar[str] = "Does the original's dictionary of features still explain the hidden states?"
    blind_to: ClassVar[str] = (
        "What the features mean: a model can use the same dictionary and have lost an answer, or store it in "
        "directions that the dictionary leaves out."
    )
    formula: ClassVar[str] = (
        "per item 1 - min(1, sum |x - x'|^2 / sum |x - m|^2) over its tokens but the first, x' the reconstruction, m "
        "the mean state of the original on the split; mean over items and blocks"
    )
    source: ClassVar[str] = "Explained variance as in SAEBench (Karvonen et al. 2025, arXiv:2503.09532); sae-lens"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    row: ClassVar[type] = DictionaryRow
    chart: ClassVar[Chart] = Chart(
        "bar", "layer", "explained", low="low", high="high", facet="split", hover=("l0", "silenced", "new", "items"),
        x_title="block", y_title="explained variance", title="How well the original's dictionary fits",
    )  # fmt: skip
    cost: ClassVar[float] = 0.6

    def measure(self, bench: Bench) -> Reading:
        """Rebuild forget, retain and holdout of every subject; NotIdentifiable when the dictionary is bad."""
        found = self.dictionaries(bench)
        for dictionary in found:
            insist(bench, dictionary)
        splits: list[Split] = [split for split in SPLITS if bench.has(split)]
        fits = {
            (role, split): [self._fit(bench, d, role, split) for d in found] for role in bench.roles for split in splits
        }

        def score(role: Role, split: Split) -> Scores:
            chosen = _items(bench, split)
            corpus = bench.corpus(split)
            values = np.mean([fit["explained"] for fit in fits[role, split]], axis=0)
            return Scores([corpus.items[i].id for i in chosen], [corpus.entities[i] for i in chosen], values)

        result = panel(bench, score)
        rows = [
            self._row(bench, dictionary.layer, role, split, fit, fits["original", split][place])
            for (role, split), lines in fits.items()
            for place, (dictionary, fit) in enumerate(zip(found, lines, strict=True))
        ]
        note = f"Explained variance of the forget items' states: {probing.compared(result)}."
        return Reading(rows, result, note)

    @staticmethod
    def _fit(bench: Bench, dictionary: Dictionary, role: Role, split: Split) -> dict[str, NDArray[np.float64]]:
        """`explained` [items], `fired` [features] and `l0` of one subject on one split."""

        def compute() -> dict[str, NDArray[np.float64]]:
            bench.progress(0.0, f"rebuilding block {dictionary.layer} of the {role} on {split}")
            whole, source = bench.whole(role, split), bench.whole("original", split)
            mine, own = whole.place > 0, source.place > 0
            states = whole.at(dictionary.layer)[mine]
            active = dictionary.encode(states)
            mean = source.at(dictionary.layer)[own].mean(0)
            wrong = np.square(states - dictionary.decode(active), dtype=np.float64).sum(1)
            total = np.square(states - mean, dtype=np.float64).sum(1)
            item = np.searchsorted(np.unique(whole.sequence), whole.sequence[mine])
            share = np.bincount(item, wrong) / np.maximum(np.bincount(item, total), 1e-12)
            fires = active > FIRES
            return {
                "explained": np.asarray(1 - np.minimum(1.0, share)),
                "fired": np.asarray(fires.any(0), np.float64),
                "l0": np.asarray([fires.sum(1).mean()], np.float64),
            }

        inputs = {"dictionary": dictionary.digest, "layer": dictionary.layer, "split": split}
        return bench.remember("sae.dictionary", ["original", role], inputs, compute)

    @staticmethod
    def _row(
        bench: Bench,
        layer: int,
        role: Role,
        split: Split,
        fit: dict[str, NDArray[np.float64]],
        original: dict[str, NDArray[np.float64]],
    ) -> DictionaryRow:
        entities = [bench.corpus(split).entities[i] for i in _items(bench, split)]
        value, low, high = probing.intervals(fit["explained"][None], entities, bench.seed)[0]
        here, before = fit["fired"] > 0, original["fired"] > 0
        silenced = float((before & ~here).sum() / max(1, before.sum()))
        new = int((here & ~before).sum())
        return DictionaryRow(
            layer, role, split, value, low, high, float(fit["l0"][0]), silenced, new, len(fit["explained"])
        )


def _items(bench: Bench, split: Split) -> NDArray[np.intp]:
    """The items of which every token was kept."""
    return np.unique(bench.whole("original", split).sequence)
