"""Linear CKA: how alike two subjects arrange the same items, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.activations.capture import POSITIONS
from audit.errors import CaseError, NotApplicable, NotIdentifiable, suggest
from audit.stats import ALPHA, Sample, entity_weights, panel_of
from audit.types import BOTH, SECOND, SPLITS, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

MIN_ITEMS = 4


class CKARow(NamedTuple):
    """One layer of one subject, compared with another subject on the same items."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    against: Annotated[str, "role of the model that it is compared with"]
    split: Annotated[str, "corpus of the items"]
    biased: Annotated[float, "linear CKA as it is usually computed, 0 to 1; too high when items are few"]
    debiased: Annotated[float, "linear CKA from the unbiased HSIC; 1 = same arrangement, about 0 = unrelated"]
    low: Annotated[float, "lower end of the 95 % interval of the debiased value over entities"]
    high: Annotated[float, "upper end of the 95 % interval of the debiased value over entities"]
    items: Annotated[int, "number of items compared"]
    view: Annotated[str, "split and the model compared with in one: a panel of the chart"]


@dataclass(frozen=True)
class CKA:
    """Debiased linear CKA of every layer to the original and to the reference.

    The null is how far the reference, a model that never knew, lies from the original on the same items. Without a
    reference there is none: the original is at distance zero from itself on every corpus, so the change on the holdout
    says how much everything moved, but not what forgetting would have looked like. The table then still compares
    forget, retain and holdout, and no residual is given.
    """

    title: ClassVar[str] = "Representational drift (CKA)"
    question: ClassVar[str] = "How far did the hidden states of the forgotten items move away from the original's?"
    blind_to: ClassVar[str] = (
        "What moved: a rotation or one overall scale counts as no change, a change in few directions of little "
        "variance hardly shows, and a large change may have nothing to do with the forgotten answers."
    )
    formula: ClassVar[str] = (
        "CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), K = X X^T and L = Y Y^T over the same items; biased: "
        "HSIC = <HKH, HLH>; debiased: HSIC = (tr KL + 1K1 1L1 / ((n-1)(n-2)) - 2 1KL1 / (n-2)) / (n(n-3)) with zero "
        "diagonals; headline = mean of the debiased value over the outputs of all blocks, on forget, to the original"
    )
    source: ClassVar[str] = (
        "Kornblith et al. 2019 (arXiv:1905.00414); unbiased HSIC_1 of Song et al. 2012 (JMLR 13:1393), as in Nguyen et "
        "al. 2021 (arXiv:2010.15327)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = CKARow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="debiased",
        low="low",
        high="high",
        facet="view",
        hover=("biased", "items"),
        x_title="layer",
        y_title="debiased CKA",
        title="Likeness of the hidden states, layer by layer",
    )
    cost: ClassVar[float] = 0.3

    position: str = "prompt_last"
    items: int = 1000
    draws: int = 200

    def __post_init__(self) -> None:
        if self.position not in POSITIONS:
            raise CaseError(f'Unknown position "{self.position}".{suggest(self.position, POSITIONS)}')
        if self.items < MIN_ITEMS or self.draws < 1:
            raise CaseError(f"CKA needs at least {MIN_ITEMS} items and 1 draw; found {self.items} and {self.draws}.")

    def measure(self, bench: Bench) -> Reading:
        """Compare candidate, original and reference pairwise; raises NotApplicable with fewer than four items."""
        pairs: list[tuple[Role, Role]] = [("candidate", "original")]
        if "reference" in bench.roles:
            pairs += [("reference", "original"), ("candidate", "reference")]
        if SECOND in bench.compared:
            pairs += [(SECOND, "original"), (SECOND, "reference")]
        splits: list[Split] = [split for split in SPLITS if bench.has(split)]
        found = {(a, b, s): self._compare(bench, a, b, s) for a, b in pairs for s in splits}
        rows = [row for (a, b, s), lines in found.items() for row in self._rows(bench, a, b, s, lines)]
        rows += [
            row._replace(subject="original", against="reference", view=_view("reference", row.split))
            for row in rows
            if row.subject == "reference"
        ]

        def sample(role: Role, split: Split) -> Sample:
            entities = len(set(self._entities(bench, split)))
            if role == "original":
                return Sample(1.0, np.ones(self.draws), entities)
            lines = found[role, "original", split]["debiased"][1:]
            if not np.isfinite(lines).all():
                raise NotIdentifiable(
                    f"The states of the {role} or the original hardly vary between items at {self.position} in block "
                    f"{int(np.argmin(np.isfinite(lines).all(1))) + 1}, so CKA is not defined there."
                )
            means = lines.mean(0)
            return Sample(float(means[0]), means[1:], entities)

        panel = panel_of(bench, sample)
        return Reading(rows, panel, self._note(rows))

    def _entities(self, bench: Bench, split: Split) -> list[str]:
        names = bench.corpus(split).entities
        return [names[i] for i in bench.subset(split, self.items)]

    def _compare(self, bench: Bench, a: Role, b: Role, split: Split) -> dict[str, NDArray[np.float64]]:
        """`biased` [layers] and `debiased` [layers, 1 + draws], the point estimate first; NaN where undefined."""
        chosen, entities = bench.subset(split, self.items), self._entities(bench, split)
        if len(chosen) < MIN_ITEMS:
            raise NotApplicable(f"CKA needs at least {MIN_ITEMS} items; the {split} corpus has {len(chosen)}.")

        def compute() -> dict[str, NDArray[np.float64]]:
            first, second = bench.states(a, split), bench.states(b, split)
            counts, index = entity_weights(entities, self.draws, bench.seed)
            weights = np.vstack([np.ones(len(chosen)), counts[:, index]])
            lines = []
            for layer in range(first.layers):
                bench.progress(layer / first.layers, f"comparing the {a} with the {b} on {split}")
                x, y = (states.at(layer, self.position)[chosen] for states in (first, second))
                lines.append(compare(x, y, weights))
            return {"biased": np.array([line[0] for line in lines]), "debiased": np.stack([line[1] for line in lines])}

        inputs = {"position": self.position, "items": self.items, "draws": self.draws, "split": split}
        return bench.remember("drift.cka", [a, b], inputs, compute)

    def _rows(
        self, bench: Bench, a: Role, b: Role, split: Split, lines: dict[str, NDArray[np.float64]]
    ) -> list[CKARow]:
        """One row per layer where CKA is defined."""
        number = len(bench.subset(split, self.items))
        rows = []
        for layer, (biased, values) in enumerate(zip(lines["biased"], lines["debiased"], strict=True)):
            if np.isfinite(biased) and np.isfinite(values).all():
                low, high = np.quantile(values[1:], [ALPHA / 2, 1 - ALPHA / 2])
                value = float(values[0])
                bounds = min(float(low), value), max(float(high), value)
                rows.append(CKARow(layer, a, b, split, float(biased), value, *bounds, number, _view(b, split)))
        return rows

    @staticmethod
    def _note(rows: list[CKARow]) -> str:
        """Where the candidate differs most from the original on forget, beside the same layer on retain."""
        own = {(r.split, r.layer): r for r in rows if (r.subject, r.against) == ("candidate", "original")}
        forget = [r for r in own.values() if r.split == "forget"]
        if not forget:
            return "The states do not vary between items at this position, so no layer can be compared."
        if all(r.debiased == 1.0 for r in own.values()):
            return "Hidden states of candidate and original are identical at this position in every layer."
        worst = min(forget, key=lambda r: r.debiased)
        beside = own.get(("retain", worst.layer))
        also = f", against {beside.debiased:.2f} on retain" if beside else ""
        where = f"The candidate is least like the original on forget at layer {worst.layer}"
        return f"{where}: debiased CKA {worst.debiased:.2f}{also}."


def compare(
    x: NDArray[np.float32], y: NDArray[np.float32], weights: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Biased CKA of the items, and debiased CKA under each line of weights [draws, items] -> [draws].

    `x`, `y` are [items, width]. The same array twice is exactly 1; NaN where one of them does not vary. A draw that
    leaves too few items to compare falls back on the value under the first line of weights.
    """
    if still(x) or still(y):
        return float("nan"), np.full(len(weights), np.nan)
    if np.array_equal(x, y):
        return 1.0, np.ones(len(weights))
    k, m = _gram(x), _gram(y)
    biased = float((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))
    for gram in (k, m):
        np.fill_diagonal(gram, 0.0)
    together, own, other = _hsic(k, m, weights), _hsic(k, k, weights), _hsic(m, m, weights)
    enough = ((weights > 0).sum(1) >= MIN_ITEMS) & (own > 0) & (other > 0)
    debiased = together / np.sqrt(np.where(enough, own * other, np.nan))
    return biased, np.where(np.isfinite(debiased), debiased, debiased[0])


def _view(against: str, split: str) -> str:
    return f"{split}, against the {against}"


def still(x: NDArray[np.float32]) -> bool:
    """Whether the items differ by rounding at most."""
    return bool((np.ptp(x, axis=0) <= 1e-6 * np.abs(x).max(axis=0)).all())


def _gram(x: NDArray[np.float32]) -> NDArray[np.float64]:
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    return np.asarray(centred @ centred.T)


def _hsic(k: NDArray[np.float64], m: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unbiased HSIC of two Gram matrices with zero diagonals, for each line of weights, up to a factor they share.

    The mean of K_ij (L_ij + L_qr - 2 L_iq) over all quadruples of different items, each weighted by the product of its
    four weights; with equal weights this is HSIC_1 of Song et al. An item drawn twice is never paired with its copy,
    which would bring back the bias.
    """
    w = weights.T
    w2, total, squares = w * w, weights.sum(1), (weights * weights).sum(1)
    kw, mw, both = k @ w, m @ w, (k * m)
    pw = both @ w
    pw2 = both @ w2
    s11, s21, s31, s22 = ((a * b).sum(0) for a, b in ((w, pw), (w2, pw), (w2 * w, pw), (w2, pw2)))
    pairs = (total**2 - squares) * s11 - 4 * total * s21 + 4 * s31 + 2 * s22
    cross = (w * kw * mw).sum(0)
    cross2 = (w2 * kw * mw).sum(0)
    triples = total * (cross - s21) - (cross2 - s22)
    triples -= (w * (k @ w2) * mw).sum(0) + (w * kw * (m @ w2)).sum(0) - 2 * s31
    quadruples = (w * kw).sum(0) * (w * mw).sum(0) - 4 * cross2 + 2 * s22
    return np.asarray(pairs + quadruples - 2 * triples)
