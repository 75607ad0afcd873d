"""How far is the membership leak from that of a model that never saw the answers?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.evidence.privacy._attack import (
    CHANCE,
    AttackPanel,
    attacked,
    by_tokens,
    check_k,
    detectability,
    over_unlearned,
)
from audit.evidence.privacy._roc import area
from audit.metrics import membership
from audit.metrics.auc import privleak
from audit.stats import Sample
from audit.types import Access, Chart, Place, Reading, Role

if TYPE_CHECKING:
    from audit.bench import Bench


class Row(NamedTuple):
    """PrivLeak of one subject against one baseline."""

    baseline: Annotated[str, "AUC that is subtracted: `reference`, the same attack on it, or `chance`, 0.5"]
    subject: Annotated[str, "role of the model that was attacked"]
    privleak: Annotated[float, "PrivLeak in percent: below 0 members are told, 0 as the baseline, above over-unlearned"]
    low: Annotated[float, "lower end of the 95 % interval over entities of both corpora"]
    high: Annotated[float, "upper end"]
    zero: Annotated[float, "what a model scores that leaks as the baseline does"]
    auc: Annotated[float, "AUC of Min-K as in OpenUnlearning: 1 forget always above unseen, 0.5 a guess"]
    auc_low: Annotated[float, "lower end of its 95 % interval"]
    auc_high: Annotated[float, "upper end"]
    auc_muse: Annotated[float, "the same area as MUSE counts it, the other way round: 0 forget always above unseen"]
    detectability: Annotated[float, "2 |AUC - 0.5|: 0 a guess, 1 always told apart, in whichever direction"]
    forget: Annotated[int, "forget answers scored"]
    unseen: Annotated[int, "holdout answers scored"]


@dataclass(frozen=True)
class PrivLeak:
    """PrivLeak from Min-K, in both published conventions.

    MUSE divides by the AUC of a retrained model. OpenUnlearning writes the same with its AUC turned round and takes 0.5
    where it has no retrained model. Nothing is said and nothing brought back, so what is read here is stored.
    """

    k: float = 0.4
    """Share of the answer's tokens that Min-K reads; MUSE and OpenUnlearning take 0.4."""

    title: ClassVar[str] = "PrivLeak"
    question: ClassVar[str] = "Does membership leak more, or less, than from a model that never saw the answers?"
    blind_to: ClassVar[str] = (
        "All that Min-K is blind to. Without a reference the baseline is chance, and forget and holdout corpora that "
        "differ in kind then leak without membership. The scale grows without bound as the baseline nears 1."
    )
    formula: ClassVar[str] = (
        "PrivLeak = 100 ((1 - AUC) - (1 - AUC_baseline)) / (1 - AUC_baseline + 1e-10), AUC = 1 when forget is "
        "likelier; the headline is -PrivLeak / 100, so that more is more leaked"
    )
    source: ClassVar[str] = (
        "MUSE (Shi et al. 2024, arXiv 2407.06460); privleak of OpenUnlearning; Min-K 40 %. "
        "OpenUnlearning leaves the end-of-text token out of this score, as here"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "privleak", low="low", high="high", null="zero", facet="baseline",
        hover=("auc", "auc_muse", "detectability"), x_title="subject", y_title="PrivLeak, %",
        title="Membership leak beside the baseline; below 0 the answers are told as trained on",
    )  # fmt: skip
    cost: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        check_k(self.k)

    def measure(self, bench: Bench) -> Reading:
        """Compare every subject's AUC with that of the reference, and with chance."""
        score = by_tokens(lambda tokens, item: membership.min_k(tokens["logprob"], self.k))
        found = attacked(bench, score, bench.roles)
        areas = {role: area(*pair, bench.seed) for role, pair in found.items()}
        guess = stats.constant(CHANCE, areas["original"])
        baselines = {"reference": areas["reference"]} if "reference" in areas else {}
        baselines["chance"] = guess
        leaks = {name: {role: leak(a, base) for role, a in areas.items()} for name, base in baselines.items()}
        rows = [
            _row(name, role, sample, areas[role], *(len(s.items) for s in found[role]))
            for name, part in leaks.items()
            for role, sample in part.items()
        ]
        first = next(iter(leaks))
        told = {
            role: Sample(0.0 - s.value / 100, 0.0 - s.draws / 100, s.n, s.scores) for role, s in leaks[first].items()
        }
        zero = told["reference"] if first == "reference" else stats.constant(0.0, told["original"])
        panel = AttackPanel(
            told["original"], told["candidate"], zero, zero, "reference" if first == "reference" else "chance",
            told.get("reference"), unseen={role: others for role, (_, others) in found.items()},
        )  # fmt: skip
        return Reading(rows, panel, self._note(bench, first, leaks[first], areas))

    def _note(self, bench: Bench, first: str, leaks: dict[Role, Sample], areas: dict[Role, Sample]) -> str:
        name, own = bench.case.candidate.name, leaks["candidate"]
        end = own.estimate(0.0)
        base = areas["reference"] if first == "reference" else stats.constant(CHANCE, areas["candidate"])
        against = f"the reference's AUC of {base.value:.2f}" if first == "reference" else "a guesser's AUC of 0.50"
        text = (
            f"PrivLeak of {name} is {own.value:+.0f} ({end.low:+.0f} to {end.high:+.0f}) against {against}, of the "
            f"original {leaks['original'].value:+.0f}; 0 leaks no more than that, below 0 the answers are told as "
            f"trained on. AUC of {name}: {areas['candidate'].value:.2f} as OpenUnlearning counts it, "
            f"{1 - areas['candidate'].value:.2f} as MUSE does."
        )
        null: stats.Null = "reference" if first == "reference" else "chance"
        return text + over_unlearned(AttackPanel(areas["original"], areas["candidate"], base, base, null))


def leak(auc: Sample, baseline: Sample) -> Sample:
    """PrivLeak in percent, resampled together with its baseline; the entities are those of the AUC."""
    draws = np.array([privleak(a, b) for a, b in zip(auc.draws, baseline.draws, strict=True)])
    return Sample(privleak(auc.value, baseline.value), draws, auc.n, auc.scores)


def _row(baseline: str, role: Role, sample: Sample, auc: Sample, forget: int, unseen: int) -> Row:
    found, own = sample.estimate(0.0), auc.estimate(CHANCE)
    return Row(
        baseline, role, found.value, found.low, found.high, 0.0, own.value, own.low, own.high, 1 - own.value,
        detectability(own.value), forget, unseen,
    )  # fmt: skip
