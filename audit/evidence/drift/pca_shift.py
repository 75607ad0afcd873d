"""PCA shift: how far and where to the items moved along the original's main axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import CaseError
from audit.evidence.drift import _likeness as likeness
from audit.evidence.drift.cka import still
from audit.types import BOTH, Access, Chart, Modality, Place, Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.evidence.drift._likeness import Clouds

MIN_ITEMS = 4
SHOWN = 3


class PCAShiftRow(NamedTuple):
    """One layer of one subject on one split."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the items"]
    moved: Annotated[float, "mean distance of an item from where it lay in the original, standard deviations per axis"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    first: Annotated[float | None, "mean signed shift along the original's first axis, in standard deviations along it"]
    second: Annotated[float | None, "the same along the second axis; empty where the states have no such axis"]
    third: Annotated[float | None, "the same along the third axis; empty where the states have no such axis"]
    likeness: Annotated[float, "mean of 1 / (1 + distance) over items; 1 = nothing moved"]
    items: Annotated[int, "number of items of the split"]
    entities: Annotated[int, "number of entities among them"]


@dataclass(frozen=True)
class PCAShift:
    """Shift of each item along the original's leading principal axes of retain, in its standard deviations along them.

    One set of axes, the original's, serves every subject, and all are centred on the original's retain mean; so signs
    agree and a shift of all items together is seen. Retain alone decides the axes. A model that was trained from
    another start has other axes, and then everything has moved. The null is the reference; without one there is a table
    and no residual, because the original does not move from itself on any corpus.
    """

    title: ClassVar[str] = "Shift along the original's axes"
    question: ClassVar[str] = "How far did the forgotten items move along the main axes of the original's states?"
    blind_to: ClassVar[str] = (
        "Moves outside the main axes, which is where single answers often lie, and whether a move has anything to do "
        "with the forgotten answers: a harmless shift of all items counts like any other."
    )
    formula: ClassVar[str] = (
        "z = V^T (x - mean) / sd, V, mean and sd from the original's retain states; distance d_i = root mean square "
        "over the axes of z_i - z_i(original); headline = mean of 1 / (1 + d_i) over forget items and block outputs"
    )
    source: ClassVar[str] = (
        "PCA similarity and centroid shift of unlearned models: Xu et al. 2025 (arXiv:2505.16831); Jolliffe 2002, "
        "Principal Component Analysis"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = PCAShiftRow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="moved",
        low="low",
        high="high",
        facet="split",
        hover=("first", "second", "third", "items"),
        x_title="layer",
        y_title="standard deviations moved",
        title="How far the items moved along the original's main axes, layer by layer",
    )
    cost: ClassVar[float] = 0.2

    position: str = "prompt_last"
    axes: int = 5
    items: int = 1000
    """Items of each split at most."""

    def __post_init__(self) -> None:
        likeness.check_settings(self.position, self.items, MIN_ITEMS)
        if self.axes < 1:
            raise CaseError(f"A shift is measured along at least 1 axis; found {self.axes}.")

    def measure(self, bench: Bench) -> Reading:
        """Place all subjects on the original's axes layer by layer; raises NotApplicable with fewer than four items."""
        sample = likeness.sampled(bench, self.items, MIN_ITEMS)
        found = likeness.by_layer(bench, "drift.pca_shift", sample, self.position, {"axes": self.axes}, self._compare)
        rows = []
        for line in likeness.item_lines(bench, sample, found, " moved"):
            layer, role, split = line[:3]
            first, second, third = (None if np.isnan(v) else float(v) for v in found[role][f"{split} along"][layer])
            near = float(found[role][split][layer].mean())
            rows.append(PCAShiftRow(*line[:6], first, second, third, near, *line[6:]))
        panel = likeness.item_panel(bench, sample, found, self.position)
        moved = {s: float(found["candidate"][f"{s} moved"][1:].mean()) for s in ("forget", "retain")}
        note = (
            f"Along the original's {self.axes} main axes the candidate's items moved by {moved['forget']:.2f} standard "
            f"deviations on forget and {moved['retain']:.2f} on retain, mean of all blocks."
        )
        return Reading(rows, panel, note)

    def _compare(self, first: Clouds, second: Clouds) -> dict[str, NDArray[np.float64]]:
        """Per split the likeness and `<split> moved` [items], and `<split> along` [SHOWN]; NaN without variation."""
        flat = still(first["retain"])
        centre, axes = (np.zeros(0), np.zeros((0, 0))) if flat else scaled_axes(first["retain"], self.axes)
        line: dict[str, NDArray[np.float64]] = {}
        for split, x in first.items():
            along, moved = np.full(SHOWN, np.nan), np.full(len(x), np.nan)
            if not flat:
                shift = (second[split] - centre) @ axes - (x - centre) @ axes
                moved = np.sqrt(np.square(shift).mean(1))
                along[: axes.shape[1]] = shift.mean(0)[:SHOWN]
            line |= {split: 1 / (1 + moved), f"{split} moved": moved, f"{split} along": along}
        return line


def scaled_axes(states: NDArray[np.float32], number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean [width] and leading principal axes, each over the standard deviation along it [width, axes].

    The sign of an axis is arbitrary; here its largest loading is positive.
    """
    centre = states.mean(0, dtype=np.float64)
    _, lengths, axes = np.linalg.svd(states - centre, full_matrices=False)
    axes = axes[: min(number, int((lengths > 1e-6 * lengths[0]).sum()))].T
    axes *= np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    return centre, axes / (lengths[: axes.shape[1]] / np.sqrt(len(states)))
