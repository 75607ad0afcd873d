"""Would training on the forgotten answers change the model as little as on what it knows?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit.errors import CaseError
from audit.evidence.privacy._attack import ROC, Row, attack
from audit.evidence.privacy._gradients import mean_norms
from audit.stats import Scores
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from audit.bench import Bench

FEWEST = 2


@dataclass(frozen=True)
class GradNorm:
    """Membership inference by the gradient of the answer's loss: what was learned pulls no longer.

    Nothing is said and nothing brought back: what an attacker reads here is stored in the weights. Each answer needs
    one pass forward and back, so that a part of each corpus is read, spread evenly over its entities.
    """

    items: int = 80
    """Answers of each corpus at most."""
    p: float = 2.0
    """The norm: 1 sums absolute values, 2 is the Euclidean length."""

    title: ClassVar[str] = "Membership by gradient norm"
    question: ClassVar[str] = "Do forgotten answers pull on the weights less than answers that were never seen?"
    blind_to: ClassVar[str] = (
        "Knowledge that leaves the loss of the answer's own words unchanged, and answers beyond the chosen number. The "
        "norms depend on the seed of training too: AUCs of models that never knew lay 0.08 apart where the interval "
        "over entities let expect 0.065, so a residual just above 0 is no finding. One far below 0 is no clean result."
    )
    formula: ClassVar[str] = (
        "AUC of -mean over parameter tensors of the p-norm of d(mean loss of the answer's tokens) / d(tensor)"
    )
    source: ClassVar[str] = (
        "Wang et al. 2024, Pandora's White-Box (arXiv 2402.17012); mia_gradnorm of OpenUnlearning. "
        "OpenUnlearning leaves the end-of-text token out of this score, as here"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = ROC
    cost: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        if self.items < FEWEST or self.p < 1:
            raise CaseError(f"expected at least {FEWEST} items and p from 1 up; found {self.items} and {self.p}.")

    def measure(self, bench: Bench) -> Reading:
        """Take the gradients of every subject; raises NotApplicable without a holdout."""
        return attack(bench, "the norm of the gradient", self._scores)

    def _scores(self, bench: Bench, role: Role, split: Split) -> Scores:
        corpus = bench.corpus(split)
        chosen = bench.subset(split, self.items)
        items = [corpus.items[i] for i in chosen]

        def compute() -> dict[str, np.ndarray]:
            share = (bench.roles.index(role) + (split == "holdout") / 2) / len(bench.roles)
            with bench.model(role) as subject:
                return {
                    "norms": mean_norms(
                        subject, items, bench.case.template, self.p,
                        lambda done: bench.progress(share, f"gradients of the {role} on {split}: {done:.0%}"),
                    )
                }  # fmt: skip

        inputs = {"split": split, "items": [item.id for item in items], "p": self.p}
        found = bench.remember("gradient norms", [role], inputs, compute, corpora=(split,))
        return Scores([i.id for i in items], [i.entity or i.id for i in items], -found["norms"])
