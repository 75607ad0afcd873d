"""Uniformity, alignment and tolerance: how the states spread over the sphere, and whether like answers lie together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import NotApplicable
from audit.evidence.drift import _likeness as likeness
from audit.evidence.drift._labels import labelled, pairs
from audit.evidence.drift.cka import still
from audit.evidence.drift.neighbours import unit
from audit.types import BOTH, Access, Chart, Corpus, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

    Partners = Mapping[Split, tuple[NDArray[np.bool_], NDArray[np.bool_]]]

MIN_ITEMS = 2


class UniformityRow(NamedTuple):
    """One layer of one subject on one split."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the items"]
    contrast: Annotated[float, "tolerance less the mean cosine to retain items of the attribute with another label"]
    low: Annotated[float, "lower end of the 95 % interval of the contrast over entities"]
    high: Annotated[float, "upper end of the 95 % interval of the contrast over entities"]
    tolerance: Annotated[float, "mean cosine of an item to retain items of other entities with its label, -1 to 1"]
    uniformity: Annotated[float, "log mean exp(-2 squared distance) over pairs of items; 0 = all at one point"]
    alignment: Annotated[float | None, "mean squared distance of an item to its paraphrases, 0 to 4; empty without any"]
    items: Annotated[int, "number of items of the split that have a label which a retain item shares"]
    entities: Annotated[int, "number of entities among them"]


@dataclass(frozen=True)
class Uniformity:
    """Spread over the unit sphere, likeness of paraphrases, and likeness of items with the same answer.

    The headline is the contrast of the tolerance: how much more alike an item is to retain items with its label than to
    retain items of the same attribute with another label. Uniformity and alignment say nothing about an answer, and a
    tolerance alone is high wherever all states point one way; the contrast is about 0 for answers that were never
    learned, so it has a null with a reference and with a holdout. Each subject's mean over its own retain states is
    taken away first, for the same reason. At the answer's own tokens labels lie together in any model, and the
    instrument check then says so.
    """

    title: ClassVar[str] = "Uniformity, alignment, tolerance"
    question: ClassVar[str] = "Do forgotten items still lie with the retained items that have the same answer?"
    blind_to: ClassVar[str] = (
        "Answers that no retained item shares or that lie in directions of little variance, and damage that moves all "
        "items alike."
    )
    formula: ClassVar[str] = (
        "on unit-normed states less the retain mean: U = log E exp(-2 |x - y|^2); A = E |x - x'|^2, x' a paraphrase; "
        "T = E cos(x, y), y a retain item of another entity with the same attribute and label; headline = T - E cos(x, "
        "z), z likewise with another label, mean over forget items and block outputs"
    )
    source: ClassVar[str] = (
        "Wang and Isola 2020 (arXiv:2005.10242); tolerance: Wang and Liu 2021 (arXiv:2012.09740), over same-label pairs"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = UniformityRow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="contrast",
        low="low",
        high="high",
        facet="split",
        hover=("tolerance", "uniformity", "alignment", "items"),
        x_title="layer",
        y_title="same label less other labels",
        title="How much more alike items with the same answer are, layer by layer",
    )
    cost: ClassVar[float] = 0.2

    position: str = "prompt_last"
    items: int = 1000
    """Items of each split at most."""

    def __post_init__(self) -> None:
        likeness.check_settings(self.position, self.items, MIN_ITEMS)

    def measure(self, bench: Bench) -> Reading:
        """Measure every subject on its own; raises NotApplicable when forget and retain items share no label."""
        sample = likeness.sampled(bench, self.items, MIN_ITEMS)
        partners = {s: pairs(labelled(bench, sample, s), labelled(bench, sample, "retain")) for s in sample.splits}
        scored = {s: np.flatnonzero(alike.any(1) & other.any(1)) for s, (alike, other) in partners.items()}
        if not len(scored["forget"]):
            raise NotApplicable("No forget item has a label that a retain item shares beside others of its attribute.")
        key = {"position": self.position, "items": {s: len(rows) for s, rows in sample.rows.items()}}
        found: dict[Role, dict[str, NDArray[np.float64]]] = {
            role: bench.remember("drift.uniformity", [role], key, partial(self._read, bench, role, sample, partners))
            for role in bench.compared
        }
        kept = sample.only({s: rows for s, rows in scored.items() if len(rows)})
        contrast: dict[Role, dict[str, NDArray[np.float64]]] = {
            role: {s: found[role][s][:, scored[s]] for s in kept.splits} for role in bench.compared
        }
        tolerance = {
            role: {s: found[role][f"{s} tolerance"][:, scored[s]].mean(1) for s in kept.splits} for role in found
        }
        rows = [
            UniformityRow(
                *line[:6], float(tolerance[role][split][layer]), *_spread(found[role], split, layer), *line[6:]
            )
            for line in likeness.item_lines(bench, kept, contrast)
            for layer, role, split in [line[:3]]
        ]
        panel = likeness.item_panel(bench, kept, contrast, self.position)
        what = "Cosine to retained items with the same answer, less that to items with others"
        note = likeness.in_words(
            f"{what} ({panel.original.value:.2f} in the original)", panel, likeness.on_retain(contrast)
        )
        return Reading(rows, panel, note)

    def _read(
        self, bench: Bench, role: Role, sample: likeness.Sampled, partners: Partners
    ) -> dict[str, NDArray[np.float64]]:
        """Per split the contrast and `<split> tolerance` [layers, items], `<split> uniformity` and `<split> alignment`
        [layers]; NaN where states do not vary, and where there is no partner or paraphrase."""
        states = {s: bench.states(role, s) for s in sample.splits}
        spoken = {s: _spoken(bench.corpus(s), sample.rows[s]) for s in sample.splits}
        said = {s: bench.states(role, s, "paraphrase") for s, (rows, _) in spoken.items() if len(rows)}
        lines: dict[str, list[NDArray[np.float64]]] = {}
        for layer in range(states["forget"].layers):
            at = {s: states[s].at(layer, self.position)[rows] for s, rows in sample.rows.items()}
            centre = at["retain"].mean(0)
            flat, retain = still(likeness.pooled(at)), unit(at["retain"] - centre)
            for split, (alike, other) in partners.items():
                here = unit(at[split] - centre)
                line = {"": _mean(here @ retain.T, alike) - _mean(here @ retain.T, other)}
                line[" tolerance"] = _mean(here @ retain.T, alike)
                line[" uniformity"] = np.asarray(uniformity(here))
                line[" alignment"] = np.asarray(np.nan)
                if split in said:
                    rows, own = spoken[split]
                    second = unit(said[split].at(layer, self.position)[rows] - centre)
                    line[" alignment"] = np.square(here[own] - second).sum(1).mean()
                for name, value in line.items():
                    lines.setdefault(split + name, []).append(np.full_like(value, np.nan) if flat else value)
        return {name: np.stack(line) for name, line in lines.items()}


def uniformity(states: NDArray[np.float64]) -> float:
    """log mean exp(-2 |x - y|^2) over pairs of different rows of length one [items, width]."""
    kernel = np.exp(-4 + 4 * (states @ states.T))  # |x - y|^2 = 2 - 2 x.y
    return float(np.log(kernel[~np.eye(len(states), dtype=bool)].mean()))


def _mean(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean of the chosen entries of each line [items, others] -> [items]; NaN where none is chosen."""
    number = chosen.sum(1)
    return np.divide((values * chosen).sum(1), number, out=np.full(len(values), np.nan), where=number > 0)


def _spread(found: Mapping[str, NDArray[np.float64]], split: Split, layer: int) -> tuple[float, float | None]:
    """Uniformity and alignment of one layer."""
    alignment = float(found[f"{split} alignment"][layer])
    return float(found[f"{split} uniformity"][layer]), None if np.isnan(alignment) else alignment


def _spoken(corpus: Corpus, chosen: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the chosen items' paraphrases among all, and the place of each one's item among the chosen."""
    owner = np.repeat(np.arange(len(corpus)), [len(item.paraphrases) for item in corpus.items])
    rows = np.flatnonzero(np.isin(owner, chosen))
    return rows, np.searchsorted(chosen, owner[rows])
