"""Are the forgotten answers still likelier than their length and dullness explain?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from audit.evidence.privacy._attack import ROC, Row, attack, by_tokens
from audit.metrics import membership
from audit.types import Access, Chart, Item, Place, Reading

if TYPE_CHECKING:
    import numpy as np

    from audit.bench import Bench


@dataclass(frozen=True)
class Zlib:
    """Membership inference by the loss over the compressed size of the answer.

    Nothing is said and nothing brought back: what an attacker reads here is stored in the likelihoods.
    """

    title: ClassVar[str] = "Membership by zlib"
    question: ClassVar[str] = "Are forgotten answers likelier than never seen ones of the same compressed size?"
    blind_to: ClassVar[str] = (
        "What the loss is blind to; and answers of one or two words, which zlib cannot compress: there the score "
        "measures their length. Where forget and holdout differ in length, only a reference tells that apart."
    )
    formula: ClassVar[str] = (
        "AUC of mean log-probability / bytes of zlib(answer), forget against holdout; 1 = forget always above"
    )
    source: ClassVar[str] = (
        "Carlini et al. 2021, Extracting Training Data; mia_zlib of OpenUnlearning; MUSE's PPL/zlib. OpenUnlearning "
        "counts the end-of-text token in the loss too: its area is the column auc_published, all others leave it out"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = ROC
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Bench) -> Reading:
        """Compare forget and holdout in every subject; raises NotApplicable without a holdout."""
        return attack(
            bench, "the loss over the compressed size", by_tokens(_score), published=by_tokens(_score, end=True)
        )


def _score(tokens: np.ndarray, item: Item) -> float:
    return membership.zlib(tokens["logprob"], item.answer)
