"""Label subspace: do the original's directions of the labels still hold the forgotten ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit import probing
from audit.evidence.probes._labelled import Fit, Labelled, LabelRow, Read, Reader, chart, labelled, right
from audit.stats import panel
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

GATE, RANDOM = "subspace of the original", "random subspace"


@dataclass(frozen=True)
class Subspace:
    """The nearest class mean within the subspace that the class means of the original's retain states span.

    The subspace is a gate: it is learned on the original and kept, and what lies outside it does not count. The class
    means are each subject's own, so that states that were shifted or scaled within the gate are still read; that sets
    it apart from a transferred probe. States that were turned out of the gate fail on retain too, as the table shows.
    A gate of as many random directions is beside it: what that reads is no merit of the original's directions.
    """

    title: ClassVar[str] = "Label subspace"
    question: ClassVar[str] = "Do the directions that held the labels in the original still hold the forgotten ones?"
    blind_to: ClassVar[str] = (
        "Labels that moved into other directions entirely, so a low value is weak. And a narrow model holds something "
        "of every direction in any few: where a random subspace reads as much, the place of the labels is not shown."
    )
    formula: ClassVar[str] = (
        "label = argmin_c |B' (x - m_c)|, B an orthonormal basis of the class means of the original's retain states "
        "less their mean, m_c the class means of the subject's own retain states, all at one layer and the last prompt "
        "token; layer chosen on one half of the forget entities and scored on the other, both ways, blocks 1 to L"
    )
    source: ClassVar[str] = (
        "A gate learned on pairs of classes: Hydra (arXiv:2410.18200); here read by the nearest class mean"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = LabelRow
    chart: ClassVar[Chart] = chart("What the original's label subspace holds, layer by layer")
    cost: ClassVar[float] = 0.3

    position: str = "prompt_last"
    nulls: int = 20

    def __post_init__(self) -> None:
        probing.check_settings(self.position, 2, self.nulls)

    def measure(self, bench: Bench) -> Reading:
        """Learn the gate on the original, read everyone; raises NotApplicable when items have no labels."""
        made = labelled(bench, 5, self.nulls)
        read = {(role, kind): self._read(made, role, kind) for kind in (GATE, RANDOM) for role in bench.roles}
        rows = [row for (role, kind), values in read.items() for row in made.rows(role, values, kind)]
        found, chance = (
            panel(bench, made.score({role: read[role, kind] for role in bench.roles})) for kind in (GATE, RANDOM)
        )
        note = f"Share of forgotten labels found within the original's label subspace: {probing.compared(found)}; "
        note += f"within as many random directions: {probing.compared(chance)}."
        return Reading(rows, found, note + made.unread)

    def _read(self, made: Labelled, role: Role, kind: str) -> Read:
        inputs = {"position": self.position, "nulls": self.nulls, "kind": kind}
        fit = gated(made.bench if kind == RANDOM else None)
        return made.bench.remember(
            "probes.subspace",
            [role, "original"],
            inputs,
            lambda: made.sweep(role, self.position, ["original", role], fit),
        )


def gated(bench: Bench | None = None) -> Fit:
    """The nearest class mean within a gate: the original's label subspace or, given a bench, random ones.

    Training rows are the original's, then the subject's own. Every null has a gate and class means of its own, made
    from its shuffled labels.
    """

    def fit(train: Sequence[NDArray[np.float32]], task: probing.Task, attribute: str) -> Reader:
        gates = [basis(train[0], line) for line in task.labels]
        if bench is not None:
            gates = [_turned(gate, bench.rng("probes.subspace", attribute, k)) for k, gate in enumerate(gates)]
        means = [class_means(train[1], line) for line in task.labels]

        def read(features: NDArray[np.float32], truth: NDArray[np.intp]) -> NDArray[np.float64]:
            guesses = []
            for gate, (present, points) in zip(gates, means, strict=True):
                inside, centres = features.astype(np.float64) @ gate, points @ gate
                # |x|^2 is the same for every class and is left out.
                guesses.append(present[((centres**2).sum(1) - 2 * inside @ centres.T).argmin(1)])
            return right(np.stack(guesses), truth)

        return read

    return fit


def _turned(gate: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """An orthonormal basis of as many random directions [width, rank]."""
    return np.asarray(np.linalg.qr(rng.normal(size=gate.shape))[0])


def class_means(states: NDArray[np.float32], labels: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The classes that occur and the mean state of each [classes, width]."""
    present = np.unique(labels)
    return present, np.stack([states[labels == c].mean(0, dtype=np.float64) for c in present])


def basis(states: NDArray[np.float32], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """An orthonormal basis of the class means less their mean [width, rank]; no column where they do not differ."""
    _, means = class_means(states, labels)
    _, sizes, turned = np.linalg.svd(means - means.mean(0), full_matrices=False)
    return np.asarray(turned[sizes > 1e-6 * max(float(np.abs(means).max()), 1e-12)].T)
