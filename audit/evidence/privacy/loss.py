"""Are the forgotten answers still likelier than answers that were never seen?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from audit.evidence.privacy._attack import ROC, Row, attack, by_tokens
from audit.metrics import membership
from audit.types import ANSWERING, Access, Chart, Item, Modality, Place, Reading

if TYPE_CHECKING:
    import numpy as np

    from audit.bench import Bench


@dataclass(frozen=True)
class Loss:
    """Membership inference by the loss of the answer.

    Nothing is said and nothing brought back: what an attacker reads here is stored in the likelihoods.
    """

    title: ClassVar[str] = "Membership by loss"
    question: ClassVar[str] = "Can an attacker tell forgotten answers from never seen ones by their likelihood?"
    blind_to: ClassVar[str] = (
        "Knowledge that leaves the likelihood of the answer's own words unchanged; and, without a reference, a holdout "
        "that is easier or harder to guess than the forget corpus, which looks like membership. A residual far below "
        "0 is no clean result: the forgotten answers can then be told by being unlikely."
    )
    formula: ClassVar[str] = (
        "AUC of mean log-probability of the answer's tokens, forget against holdout; 1 = forget always likelier"
    )
    source: ClassVar[str] = (
        "Yeom et al. 2018; mia_loss of OpenUnlearning; PPL of MUSE (Shi et al. 2024). OpenUnlearning counts the "
        "end-of-text token after the answer too: its area is the column auc_published, all others leave it out"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    reads: ClassVar[frozenset[Modality]] = ANSWERING
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = ROC
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Bench) -> Reading:
        """Compare forget and holdout in every subject; raises NotApplicable without a holdout."""
        return attack(bench, "the loss", by_tokens(_score), published=by_tokens(_score, end=True))


def _score(tokens: np.ndarray, item: Item) -> float:
    return membership.loss(tokens["logprob"])
