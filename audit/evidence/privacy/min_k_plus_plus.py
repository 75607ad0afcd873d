"""Are the forgotten answers' tokens likelier than what the model would draw itself?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from audit.evidence.privacy._attack import ROC, Row, attack, by_tokens, check_k
from audit.metrics import membership
from audit.types import Access, Chart, Place, Reading

if TYPE_CHECKING:
    from audit.bench import Bench


@dataclass(frozen=True)
class MinKPlusPlus:
    """Membership inference by the least likely tokens, each read against the model's own distribution there.

    Nothing is said and nothing brought back: what an attacker reads here is stored in the likelihoods.
    """

    k: float = 0.4
    """Share of the answer's tokens, the lowest ones, that is read; at least one token."""

    title: ClassVar[str] = "Membership by Min-K++"
    question: ClassVar[str] = (
        "Do forgotten answers stand nearer the peaks of the model's distribution than unseen ones?"
    )
    blind_to: ClassVar[str] = (
        "What the loss is blind to. A token that the model is sure of scores about 0 whether it is sure because it "
        "learned or because there is no choice, so that a model that is sure of everything leaves little to read."
    )
    formula: ClassVar[str] = (
        "AUC of the mean of the lowest k of (log p - mean) / deviation, both under the model's own distribution at "
        "that token, deviation at least 0.001; forget against holdout"
    )
    source: ClassVar[str] = (
        "Zhang et al. 2025, Min-K%++ (arXiv 2404.02936); mia_min_k_plus_plus of OpenUnlearning. "
        "OpenUnlearning leaves the end-of-text token out of this score, as here"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = ROC
    cost: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        check_k(self.k)

    def measure(self, bench: Bench) -> Reading:
        """Compare forget and holdout in every subject; raises NotApplicable without a holdout."""
        score = by_tokens(lambda t, item: membership.min_k_plus_plus(t["logprob"], t["mean"], t["deviation"], self.k))
        return attack(bench, f"Min-{self.k:.0%}++", score)
