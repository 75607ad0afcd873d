"""Probe within clusters: is the forgotten answer still there beneath something that varies more?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit import probing
from audit.errors import CaseError
from audit.evidence.probes._labelled import (
    Fit,
    Labelled,
    LabelRow,
    Read,
    Reader,
    chart,
    cut,
    labelled,
    right,
    trainable,
)
from audit.stats import panel
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

WITHIN, TOGETHER = "within clusters", "all together"


@dataclass(frozen=True)
class InCluster:
    """A linear probe for each cluster of the subject's own retain states, read on the forget items nearest to it.

    A feature can be dominated without being removed: where something else varies more and turns the label's code
    around, one probe for all fails and a probe within a cluster reads. The same probe without clusters is in the table,
    trained on as many times more items as there are clusters. Where the cluster itself tells the label, that counts as
    read: a cluster of one label, or of too few entities to train a probe, is read as its most frequent label.
    """

    title: ClassVar[str] = "Probe within clusters"
    question: ClassVar[str] = "Can the forgotten answer be read once what varies most among the states is held fixed?"
    blind_to: ClassVar[str] = (
        "A feature that is dominated within every cluster too; and with few retain items a probe within a cluster has "
        "too little to learn from, which the rows without clusters show."
    )
    formula: ClassVar[str] = (
        "clusters = k-means of the retain states of an attribute (10 starts); label = argmax_c (W_j x + b_j)_c, j the "
        "nearest centre, W_j, b_j by penalised discriminant analysis on the retain items of cluster j; layer chosen on "
        "one half of the forget entities and scored on the other, both ways, blocks 1 to L"
    )
    source: ClassVar[str] = "Clusters against feature suppression: Zhang et al. 2024 (MCL, arXiv:2402.11816)"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = LabelRow
    chart: ClassVar[Chart] = chart("What a probe reads within clusters, layer by layer")
    cost: ClassVar[float] = 1.2

    clusters: int = 2
    position: str = "prompt_last"
    folds: int = 5
    nulls: int = 10

    def __post_init__(self) -> None:
        probing.check_settings(self.position, self.folds, self.nulls)
        if self.clusters < 2:
            raise CaseError(f"clusters = {self.clusters}: one cluster is the probe for all; expected at least 2.")

    def measure(self, bench: Bench) -> Reading:
        """Read with and without clusters; raises NotApplicable when items have no labels."""
        made = labelled(bench, self.folds, self.nulls)
        kinds = {WITHIN: self.clusters, TOGETHER: 1}
        read = {(r, kind): self._read(made, r, number) for kind, number in kinds.items() for r in bench.roles}
        rows = [row for (role, kind), found in read.items() for row in made.rows(role, found, kind)]
        within, together = (
            panel(bench, made.score({role: read[role, kind] for role in bench.roles})) for kind in kinds
        )
        note = f"Share of forgotten labels that a linear probe reads correctly, {WITHIN}: {probing.compared(within)}"
        note += f"; {TOGETHER}: {probing.compared(together)}."
        return Reading(rows, within, note + made.unread)

    def _read(self, made: Labelled, role: Role, clusters: int) -> Read:
        inputs = {"clusters": clusters, "position": self.position, "folds": self.folds, "nulls": self.nulls}
        fit = within_clusters(clusters, made.bench.torch_seed("probes.in_cluster") % 2**32)
        return made.bench.remember(
            "probes.in_cluster", [role], inputs, lambda: made.sweep(role, self.position, [role], fit)
        )


def within_clusters(clusters: int, seed: int) -> Fit:
    """A linear probe per cluster of the training rows; as many clusters as there are different rows at most."""

    def fit(train: Sequence[NDArray[np.float32]], task: probing.Task, attribute: str) -> Reader:
        from sklearn.cluster import KMeans

        states = train[0]
        number = min(clusters, len(np.unique(states, axis=0)))
        means = KMeans(number, n_init=10, random_state=seed).fit(states) if number > 1 else None
        where = np.zeros(len(states), np.intp) if means is None else means.labels_
        parts = [(states[where == j], cut(task, where == j)) for j in range(number)]
        guessers = [_guesser(rows, part) for rows, part in parts]

        def read(features: NDArray[np.float32], truth: NDArray[np.intp]) -> NDArray[np.float64]:
            nearest = np.zeros(len(features), np.intp) if means is None else means.predict(features)
            values = np.zeros((len(task.labels), len(features)))
            for j, guesser in enumerate(guessers):
                inside = nearest == j
                values[:, inside] = right(guesser(features[inside]), truth[inside])
            return values

        return read

    return fit


def _guesser(states: NDArray[np.float32], task: probing.Task) -> Callable[[NDArray[np.float32]], NDArray[np.intp]]:
    """What the training rows of a cluster say of new rows [rows, width] → [1 + nulls, rows]."""
    if trainable(task):
        return probing.fit(states, task).predict
    common = np.array([np.bincount(line, minlength=1).argmax() for line in task.labels], np.intp)
    return lambda features: np.repeat(common[:, None], len(features), axis=1)
