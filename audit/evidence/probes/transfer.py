"""Transferred probe: does the decoder of the original still read the forgotten answers?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit import probing
from audit.evidence.probes._labelled import Labelled, LabelRow, Reader, chart, labelled, right
from audit.stats import panel
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

KIND = "probe of the original"


@dataclass(frozen=True)
class Transfer:
    """The linear probe of the original's retain states, applied as it is to the states of every subject.

    The same probe for all, never fitted again. The retain rows of the table tell two things apart that look alike on
    forget: an old decoder that fails there too fails because the states moved, not because an answer is gone.
    """

    title: ClassVar[str] = "Transferred probe"
    question: ClassVar[str] = "Does a probe made on the original before unlearning still read the forgotten answers?"
    blind_to: ClassVar[str] = (
        "Knowledge in a subject whose states were moved or rotated as a whole, which the old probe cannot follow: a "
        "model trained anew has another arrangement, so a low value here is weak, and only a high value is strong."
    )
    formula: ClassVar[str] = (
        "accuracy = share of forget items whose label is argmax_c (W x + b)_c, x the subject's hidden state at the "
        "last prompt token; W, b by penalised discriminant analysis on the original's states of the retain items at "
        "the same layer; layer chosen on one half of the forget entities and scored on the other, blocks 1 to L"
    )
    source: ClassVar[str] = "Probe as in Alain and Bengio 2016 (arXiv:1610.01644), kept fixed across checkpoints"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = LabelRow
    chart: ClassVar[Chart] = chart("What the original's own probe reads, layer by layer")
    cost: ClassVar[float] = 0.8

    position: str = "prompt_last"
    folds: int = 5
    nulls: int = 20

    def __post_init__(self) -> None:
        probing.check_settings(self.position, self.folds, self.nulls)

    def measure(self, bench: Bench) -> Reading:
        """Train on the original's retain states, read everyone; raises NotApplicable when items have no labels."""
        made = labelled(bench, self.folds, self.nulls)
        read = {role: self._read(made, role) for role in bench.roles}
        found = panel(bench, made.score(read))
        rows = [row for role in bench.roles for row in made.rows(role, read[role], KIND)]
        note = f"Share of forgotten labels that the original's probe reads correctly: {probing.compared(found)}."
        kept = [row.accuracy for row in rows if (row.subject, row.split) == ("candidate", "retain") and row.layer]
        if kept:
            share = f"{np.mean(kept):.0%}".replace("%", " %")
            note += f" On retained facts it reads {share} in the candidate, mean of all blocks: states that only moved"
            note += " would be misread there too."
        return Reading(rows, found, note + made.unread)

    def _read(self, made: Labelled, role: Role) -> dict[str, NDArray[np.float64]]:
        inputs = {"position": self.position, "folds": self.folds, "nulls": self.nulls}
        return made.bench.remember(
            "probes.transfer",
            [role, "original"],
            inputs,
            lambda: made.sweep(role, self.position, ["original"], reader),
        )


def reader(train: Sequence[NDArray[np.float32]], task: probing.Task, attribute: str) -> Reader:
    """A linear probe of the only training rows."""
    probe = probing.fit(train[0], task)
    return lambda features, truth: right(probe.predict(features), truth)
