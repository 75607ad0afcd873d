"""Are the forgotten answers likelier than they are to a model that never saw them?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit.errors import NotApplicable
from audit.evidence.privacy._attack import ROC, Row, attack, by_tokens
from audit.metrics import membership
from audit.stats import Scores
from audit.types import ANSWERING, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from audit.bench import Bench


@dataclass(frozen=True)
class Reference:
    """Membership inference by the loss beside the loss of a model that never saw the answers.

    The difficulty of each answer cancels out. The reference beside itself is 0 everywhere, so its AUC is 0.5 whatever
    it knows, and no null that was measured: the null is chance. It is the right one, for to two models that both never
    saw either corpus a forget answer is as often the likelier one as a holdout answer.
    """

    title: ClassVar[str] = "Membership beside the reference"
    question: ClassVar[str] = "Are forgotten answers likelier than a model that never saw them finds them?"
    blind_to: ClassVar[str] = (
        "What the loss is blind to, and a reference that was trained unlike the original: what sets the two apart on "
        "one corpus more than on the other looks like membership."
    )
    formula: ClassVar[str] = (
        "AUC of mean log-probability - the reference's, forget against holdout; 1 = forget always gains more"
    )
    source: ClassVar[str] = (
        "Carlini et al. 2021, Extracting Training Data; mia_reference of OpenUnlearning, which counts the end-of-text "
        "token after the answer too: its area is the column auc_published, all others leave it out"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    reads: ClassVar[frozenset[Modality]] = ANSWERING
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = ROC
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Bench) -> Reading:
        """Compare original and candidate with the reference; raises NotApplicable without one, or without a holdout."""
        if "reference" not in bench.roles:
            raise NotApplicable(
                "This attack reads how much likelier an answer is than to a reference model: give a reference, a model "
                "trained without the forget set."
            )
        return attack(
            bench, "the loss beside the reference's", _gain(end=False), ("original", "candidate"), _gain(end=True)
        )


def _gain(end: bool) -> Callable[[Bench, Role, Split], Scores]:
    """How much likelier an answer is than to the reference, with or without its end token."""
    loss = by_tokens(lambda tokens, item: membership.loss(tokens["logprob"]), end)

    def gain(bench: Bench, role: Role, split: Split) -> Scores:
        own = loss(bench, role, split)
        return Scores(own.items, own.entities, np.subtract(own.values, loss(bench, "reference", split).values))

    return gain
