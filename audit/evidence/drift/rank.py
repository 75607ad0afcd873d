"""Effective rank: in how many directions the states still vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import CaseError
from audit.evidence.drift import _likeness as likeness
from audit.evidence.drift.cka import still
from audit.stats import entity_weights
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.evidence.drift._likeness import Clouds

MIN_ITEMS = 4
COLLAPSED = 0.5
"""Below this share of the original's effective rank on retain, in any block, a model is called damaged."""


class RankRow(NamedTuple):
    """One layer of one subject on one split."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the items"]
    ratio: Annotated[float, "effective rank over the original's on the same items; 1 = as many directions"]
    low: Annotated[float, "lower end of the 95 % interval of the ratio over entities"]
    high: Annotated[float, "upper end of the 95 % interval of the ratio over entities"]
    rank: Annotated[float, "effective rank: number of directions in which the states vary; 0 = all at one point"]
    items: Annotated[int, "number of items of the split"]
    entities: Annotated[int, "number of entities among them"]


@dataclass(frozen=True)
class Rank:
    """Effective rank of the centred states of each split, relative to the original's.

    A rank that grew is as unlike the original's as one that shrank, so the headline takes the smaller of the ratio and
    its inverse. States that all lie at one point have rank 0. A model whose rank fell by half or more on retain is
    called damaged in the note, because forgetting does not flatten what was to be kept. The null is the reference;
    without one there is a table and no residual, because the original's rank equals itself on every corpus.
    """

    title: ClassVar[str] = "Effective rank"
    question: ClassVar[str] = "Do the states of the forgotten items still vary in as many directions as the original's?"
    blind_to: ClassVar[str] = (
        "Which directions they are: states may lose every answer at an unchanged rank. A model that never learned the "
        "answers may have nearly the same rank, and then this instrument has nothing to say."
    )
    formula: ClassVar[str] = (
        "rank = exp(-sum p log p), p = s / sum s, s the singular values of the centred states; headline = min(r, 1/r), "
        "r = rank / rank of the original, on forget, mean over block outputs"
    )
    source: ClassVar[str] = "Roy and Vetterli 2007 (EUSIPCO, The effective rank)"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = RankRow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="ratio",
        low="low",
        high="high",
        facet="split",
        hover=("rank", "items", "entities"),
        x_title="layer",
        y_title="effective rank / original's",
        title="Effective rank relative to the original, layer by layer",
    )
    cost: ClassVar[float] = 0.5

    position: str = "prompt_last"
    items: int = 200
    """Items of each split at most: every draw decomposes a matrix of this side."""
    draws: int = 100

    def __post_init__(self) -> None:
        likeness.check_settings(self.position, self.items, MIN_ITEMS)
        if self.draws < 1:
            raise CaseError(f"Effective rank needs at least 1 draw; found {self.draws}.")

    def measure(self, bench: Bench) -> Reading:
        """Compare ranks layer by layer; raises NotApplicable with fewer than four items."""
        sample = likeness.sampled(bench, self.items, MIN_ITEMS)
        weights = {}
        for split, names in sample.entities.items():
            counts, index = entity_weights(names, self.draws, bench.seed)
            weights[split] = np.vstack([np.ones(len(names)), counts[:, index]])

        def compare(first: Clouds, second: Clouds) -> dict[str, NDArray[np.float64]]:
            return {s: np.full(1 + self.draws, np.nan) if still(x) else effective_rank(second[s], weights[s])
                    for s, x in first.items()}  # fmt: skip

        found = likeness.by_layer(bench, "drift.rank", sample, self.position, {"draws": self.draws}, compare)
        ratio: dict[Role, dict[str, NDArray[np.float64]]] = {
            role: {s: values[s] / found["original"][s] for s in sample.splits} for role, values in found.items()
        }
        rows = [
            RankRow(*line[:6], float(found[role][split][layer, 0]), *line[6:])
            for line in likeness.draw_lines(bench, sample, ratio)
            for layer, role, split in [line[:3]]
        ]
        alike: dict[Role, dict[str, NDArray[np.float64]]] = {
            role: {s: np.minimum(lines, 1 / np.maximum(lines, 1e-9)) for s, lines in own.items()}
            for role, own in ratio.items()
        }
        return Reading(rows, likeness.draw_panel(bench, sample, alike, self.position), in_words(rows))


def effective_rank(states: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Effective rank of the centred states [items, width] under each line of weights [draws, items] -> [draws]."""
    if still(states):
        return np.zeros(len(weights))
    wide = states.astype(np.float64)
    wide -= wide.mean(0)
    result = np.empty(len(weights))
    if wide.shape[1] < len(wide):  # the same singular values from the smaller square
        for k, line in enumerate(weights):
            centred = (wide - (line / line.sum()) @ wide) * np.sqrt(line)[:, None]
            result[k] = of_spectrum(np.linalg.eigvalsh(centred.T @ centred))
        return result
    gram = wide @ wide.T
    for k, line in enumerate(weights):
        share = line / line.sum()
        mean = gram @ share
        root = np.sqrt(line)
        centred = (gram - mean[:, None] - mean[None, :] + share @ mean) * root[:, None] * root[None, :]
        result[k] = of_spectrum(np.linalg.eigvalsh(centred))
    return result


def of_spectrum(squares: NDArray[np.float64]) -> float:
    """exp of the entropy of singular values, given their squares; 0 when all are zero up to rounding."""
    kept = squares[squares > 1e-12 * max(float(squares.max()), 1e-300)]
    if not len(kept):
        return 0.0
    share = np.sqrt(kept) / np.sqrt(kept).sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def in_words(rows: Sequence[RankRow]) -> str:
    """Damage first, where the rank fell on what was to be kept; then the ranks on forget and retain."""
    own = [row for row in rows if row.subject == "candidate" and row.layer > 0]
    means = {s: float(np.mean([row.ratio for row in own if row.split == s] or [np.nan])) for s in ("forget", "retain")}
    text = f"{means['forget']:.2f} times the original's on forget, {means['retain']:.2f} times on retain"
    worst = min((row for row in own if row.split == "retain"), key=lambda row: row.ratio, default=None)
    if worst is not None and worst.ratio < COLLAPSED:
        return (
            f"The candidate is damaged: on retain, in block {worst.layer}, its effective rank is {worst.ratio:.2f} "
            f"times the original's, so what it no longer shows on forget is not to be called forgetting (mean of all "
            f"blocks: {text})."
        )
    return f"Effective rank of the candidate, mean of all blocks: {text}."
