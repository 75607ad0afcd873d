"""Few shots: how many retained examples per label does it take to read the forgotten answers?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit import probing
from audit.errors import CaseError
from audit.evidence.probes._labelled import Fit, Labelled, LabelRow, Read, Reader, chart, labelled
from audit.stats import panel, seed_of
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

EPSILON, STEPS, TOLERANCE = 0.05, 1000, 1e-4
LOOK = 4
"""Passes from one look at the tolerance to the next: a look costs about as much as a pass."""


@dataclass(frozen=True)
class FewShot:
    """The nearest of one prototype per label, each the mean of a few retained items of the same subject.

    Every episode draws its examples anew, the same for every subject. States are standardised on the retain items,
    which needs no label. Aligned: before they are compared, the prototypes are moved onto the read items by optimal
    transport. The headline is made of the larger number of shots and is not aligned.
    """

    title: ClassVar[str] = "Few-shot prototypes"
    question: ClassVar[str] = "Are a few retained examples of each label enough to read the forgotten answers?"
    blind_to: ClassVar[str] = (
        "A label that is stored in few directions, which a mean of a few whole states does not single out. Aligned "
        "rows are transductive: they see all read items at once and take their labels to be equally frequent, which is "
        "help that a reader of one item does not have."
    )
    formula: ClassVar[str] = (
        "label = argmin_c |x - p_c| over unit vectors, p_c the mean of k retain items of label c (all of them where it "
        "has fewer); accuracy = mean over episodes; aligned: P <- (pi / row sums) Q, pi by Sinkhorn on |p - q|^2 / max "
        "with eps .05 and uniform margins, 5 passes for 1 shot, else 1 pass and .7 P' + .3 P; layer chosen on one half "
        "of the forget entities and scored on the other, blocks 1 to L"
    )
    source: ClassVar[str] = (
        "Prototypes: Snell et al. 2017 (arXiv:1703.05175); alignment: OpTA of BECLR, Poulakakis-Daktylidis and "
        "Jamali-Rad 2024 (arXiv:2402.02444)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = LabelRow
    chart: ClassVar[Chart] = chart("What a few examples per label read, layer by layer")
    cost: ClassVar[float] = 0.8

    shots: tuple[int, ...] = (1, 5)
    episodes: int = 20
    position: str = "prompt_last"

    def __post_init__(self) -> None:
        probing.check_settings(self.position, 2, 1)
        if not self.shots or any(type(k) is not int or k < 1 for k in self.shots) or self.episodes < 1:
            raise CaseError(
                f"shots = {list(self.shots)} and episodes = {self.episodes}: expected numbers from 1, such as [1, 5]."
            )

    def measure(self, bench: Bench) -> Reading:
        """Read every layer of every subject in every way; raises NotApplicable when items have no labels."""
        made = labelled(bench, 5, self.episodes)
        kinds = [(k, aligned) for k in self.shots for aligned in (False, True)]
        read = {(role, kind): self._read(made, role, *kind) for role in bench.roles for kind in kinds}
        rows = [row for (role, kind), found in read.items() for row in made.rows(role, found, in_words(*kind))]
        panels = {k: panel(bench, made.score({r: read[r, (k, False)] for r in bench.roles})) for k in self.shots}
        note = "Share of forgotten labels that prototypes read correctly, " + "; ".join(
            f"{in_words(k, False)}: {probing.compared(found)}" for k, found in sorted(panels.items())
        )
        return Reading(rows, panels[max(self.shots)], f"{note}.{made.unread}")

    def _read(self, made: Labelled, role: Role, shots: int, aligned: bool) -> Read:
        inputs = {"shots": shots, "aligned": aligned, "episodes": self.episodes, "position": self.position}
        fit = prototypes(shots, aligned, self.episodes, made.bench.seed)
        return made.bench.remember(
            "probes.few_shot", [role], inputs, lambda: made.sweep(role, self.position, [role], fit)
        )


def in_words(shots: int, aligned: bool) -> str:
    """`5 shots, aligned`."""
    return f"{shots} shot{'s' * (shots > 1)}{', aligned' * aligned}"


def prototypes(shots: int, aligned: bool, episodes: int, seed: int) -> Fit:
    """A reader that scores each row by the share of episodes that read it right.

    Its second line is the same with labels dealt to other entities, another shuffle in every episode. What an episode
    draws depends on the labels alone, so that all layers share it.
    """
    drawn: dict[tuple[str, bytes], NDArray[np.float64]] = {}

    def fit(train: Sequence[NDArray[np.float32]], task: probing.Task, attribute: str) -> Reader:
        centre, scale = train[0].mean(0), train[0].std(0)
        scale[scale <= 1e-6 * np.abs(centre)] = np.inf  # what never varies is no feature
        known = _unit((train[0] - centre) / scale)
        lines = np.concatenate([np.zeros(episodes, np.intp), 1 + np.arange(episodes) % (len(task.labels) - 1)])
        key = (attribute, task.labels.tobytes())
        if key not in drawn:
            seeds = [seed_of("few shot", seed, attribute, episode) for episode in range(episodes)] * 2
            pairs = zip(task.labels[lines], seeds, strict=True)
            drawn[key] = np.stack([_draw(line, len(task.classes), shots, one) for line, one in pairs])
        draws = drawn[key]
        points, present = draws @ known, np.asarray(draws.any(-1))[..., None]

        def read(features: NDArray[np.float32], truth: NDArray[np.intp]) -> NDArray[np.float64]:
            queries = _unit((features - centre) / scale)
            moved = align(points, present, queries, shots) if aligned else points
            found = np.where(present, _squares(moved, queries), np.inf).argmin(1) == truth
            return np.asarray(found, np.float64).reshape(2, episodes, -1).mean(1)

        return read

    return fit


def _draw(labels: NDArray[np.intp], classes: int, shots: int, seed: int) -> NDArray[np.float64]:
    """The weight of each row in the mean of `shots` random rows of each label [classes, rows]; 0 for an absent one."""
    order = np.random.default_rng(seed).permutation(len(labels))
    weights = np.zeros((classes, len(labels)))
    for label in range(classes):
        chosen = order[labels[order] == label][:shots]
        weights[label, chosen] = 1 / max(len(chosen), 1)
    return weights


def align(
    points: NDArray[np.float64], present: NDArray[np.bool_], queries: NDArray[np.float64], shots: int
) -> NDArray[np.float64]:
    """Prototypes [episodes, labels, width] moved onto the queries [rows, width] by optimal transport (OpTA).

    `present` [episodes, labels, 1] marks the labels that an episode has; the others get no mass.
    """
    for _ in range(5 if shots == 1 else 1):
        plan = sinkhorn(np.where(present, _squares(points, queries), 0.0), present)
        moved = (plan / np.where(present, plan.sum(-1, keepdims=True), 1.0)) @ queries
        points = moved if shots == 1 else 0.7 * moved + 0.3 * points
    return points


def sinkhorn(cost: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Transport plans [episodes, a, b] with margins that are uniform over present rows and over columns.

    Costs are scaled to a maximum of 1: no entry of the kernel is below exp(-20), and nothing has to be in logarithms.
    """
    kernel = np.exp(-cost / np.maximum(cost.max((-2, -1), keepdims=True), 1e-12) / EPSILON)
    turned = np.ascontiguousarray(kernel.swapaxes(-2, -1))
    a, b = present / present.sum(-2, keepdims=True), 1 / cost.shape[-1]
    v = np.full((len(cost), cost.shape[-1], 1), b)
    u = a / (kernel @ v)
    for step in range(STEPS):
        v = b / (turned @ u)
        rows = kernel @ v
        if step % LOOK == 0 and np.abs(u * rows - a).sum(-2).max() < TOLERANCE:
            break
        u = a / rows
    # The last step is on the rows, so that their sums are exact.
    return np.asarray(a / (kernel @ v) * kernel * v.swapaxes(-2, -1))


def _squares(points: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances of points [episodes, labels, width] to rows [rows, width]: [episodes, labels, rows]."""
    squares = (points * points).sum(-1, keepdims=True) + (rows * rows).sum(1) - 2 * points @ rows.T
    return np.asarray(np.maximum(squares, 0.0))


def _unit(x: NDArray) -> NDArray[np.float64]:
    x = x.astype(np.float64)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))
