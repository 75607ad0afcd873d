"""Do the forgotten answers lack the surprising tokens that never seen ones have?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from audit.evidence.privacy._attack import ROC, Row, attack, by_tokens, check_k
from audit.metrics import membership
from audit.types import Access, Chart, Place, Reading, Split

if TYPE_CHECKING:
    from audit.bench import Bench


@dataclass(frozen=True)
class MinK:
    """Membership inference by the least likely tokens of the answer.

    Nothing is said and nothing brought back: what an attacker reads here is stored in the likelihoods.
    """

    k: float = 0.4
    """Share of the answer's tokens, the least likely ones, that is read; at least one token."""

    title: ClassVar[str] = "Membership by Min-K"
    question: ClassVar[str] = "Do forgotten answers lack the surprising tokens that never seen ones have?"
    blind_to: ClassVar[str] = (
        "What the loss is blind to. On answers of one or two tokens the attack reads one token, and on one token it "
        "is the loss attack. A residual far below 0 is no clean result: being unlikely can be told, too."
    )
    formula: ClassVar[str] = (
        "AUC of the mean log-probability of the lowest k of the answer's tokens, forget against holdout"
    )
    source: ClassVar[str] = (
        "Shi et al. 2024, Min-K% Prob (arXiv 2310.16789); mia_min_k of OpenUnlearning, k = 0.4. "
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
        score = by_tokens(lambda tokens, item: membership.min_k(tokens["logprob"], self.k))
        reading = attack(bench, f"Min-{self.k:.0%}", score)
        splits: tuple[Split, ...] = ("forget", "holdout")
        if all(len(tokens) == 1 for split in splits for tokens in bench.tokens("original", split)):
            note = f"{reading.note} Every answer is one token long, so that this reads the same as the loss."
            return replace(reading, note=note)
        return reading
