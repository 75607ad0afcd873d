"""What all membership attacks share: forget answers against answers that no model saw, ROC, AUC and its null.

The published scores are loss-like; here they are turned, so that higher is rather trained on, as in all evidence. An
AUC of 1 says that every forgotten answer scores above every unseen one, as OpenUnlearning counts it; MUSE's AUC is 1
minus that, and stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import pandas as pd

from audit import stats
from audit.errors import CaseError, NotApplicable
from audit.evidence.behaviour._reading import has_end
from audit.evidence.privacy._roc import area, curve
from audit.metrics import membership
from audit.metrics.auc import auc, membership_auc, tpr_at_fpr
from audit.stats import ITEM_COLUMNS, Panel, Sample, Scores
from audit.types import Chart, Item, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

LOW = (0.001, 0.01, 0.05)
"""False positive rates at which attacks are compared (Carlini et al. 2022)."""
GRID: NDArray[np.float64] = np.unique(np.round([*LOW, *np.linspace(0, 1, 51)], 6))
CHANCE = 0.5
ROUNDING = 1e-9


class Row(NamedTuple):
    """One point of the ROC curve of one subject."""

    false_positive_rate: Annotated[float, "share of unseen answers that the attack takes for trained ones, at most"]
    subject: Annotated[str, "role of the model that was attacked"]
    true_positive_rate: Annotated[
        float | None, "share of forget answers that it finds then, 0 to 1; empty where the unseen answers are too few"
    ]
    low: Annotated[float | None, "lower end of the 95 % interval over entities of both corpora"]
    high: Annotated[float | None, "upper end"]
    chance: Annotated[float, "share that a guesser finds: the false positive rate itself"]
    auc: Annotated[float, "area under this curve, as in OpenUnlearning: 1 forget always above unseen, 0.5 a guess"]
    auc_low: Annotated[float, "lower end of its 95 % interval"]
    auc_high: Annotated[float, "upper end"]
    auc_published: Annotated[
        float | None,
        "auc from the tokens that OpenUnlearning's code scores: the end token too for loss, zlib and reference, the "
        "same as for auc in the other attacks; empty where the tokenizer has no end token",
    ]
    auc_muse: Annotated[float, "the same area as MUSE counts it, the other way round: 0 forget always above unseen"]
    detectability: Annotated[float, "2 |AUC - 0.5|: 0 a guess, 1 always told apart, in whichever direction"]
    forget: Annotated[int, "forget answers scored"]
    unseen: Annotated[int, "holdout answers scored"]


ROC = Chart(
    "line", "false_positive_rate", "true_positive_rate", low="low", high="high", null="chance",
    hover=("auc", "detectability", "forget", "unseen"), x_title="unseen answers taken for trained ones",
    y_title="forget answers found", title="Forget answers told from unseen ones",
)  # fmt: skip


@dataclass(frozen=True)
class AttackPanel(Panel):
    """A panel whose statistic also rests on what no model saw, so that per-item scores hold both corpora."""

    unseen: Mapping[Role, Scores] | None = None

    def items(self) -> pd.DataFrame:
        """As `Panel.items`, with the holdout of every subject."""
        parts = [
            pd.DataFrame(
                {"item": list(s.items), "entity": list(s.entities), "split": "holdout", "subject": role,
                 "score": s.per_item()}, columns=ITEM_COLUMNS,
            )
            for role, s in (self.unseen or {}).items()
        ]  # fmt: skip
        return pd.concat([super().items(), *parts], ignore_index=True)


def by_tokens(score: Callable[[np.ndarray, Item], float], end: bool = False) -> Callable[[Bench, Role, Split], Scores]:
    """Minus a loss-like score of the TOKEN records of an answer, with `end` its end token among them, and its item."""

    def scores(bench: Bench, role: Role, split: Split) -> Scores:
        corpus = bench.corpus(split)
        tokens = bench.tokens(role, split, end=end)
        values = [-score(t, item) for t, item in zip(tokens, corpus.items, strict=True)]
        return Scores([item.id for item in corpus.items], corpus.entities, np.array(values))

    return scores


def attacked(
    bench: Bench, score: Callable[[Bench, Role, Split], Scores], roles: Sequence[Role]
) -> dict[Role, tuple[Scores, Scores]]:
    """Scores of forget and holdout for some subjects; raises NotApplicable without a holdout corpus."""
    if not bench.has("holdout"):
        raise NotApplicable(
            "Whether an answer was trained on can only be told beside answers that were not: give a holdout corpus, "
            "facts of the same kind that none of the models ever saw."
        )
    return {role: (score(bench, role, "forget"), score(bench, role, "holdout")) for role in roles}


def attack(
    bench: Bench,
    what: str,
    score: Callable[[Bench, Role, Split], Scores],
    roles: Sequence[Role] = (),
    published: Callable[[Bench, Role, Split], Scores] | None = None,
) -> Reading:
    """Attack every subject, or those in `roles`; `what` says in words what the attacker looks at.

    `published` is the score on the tokens that OpenUnlearning reads, where these are not the same.
    The null is the same attack on the reference or, where that is not attacked, a guess.
    """
    found = attacked(bench, score, roles or bench.roles)
    areas = {role: area(*pair, bench.seed) for role, pair in found.items()}
    null = areas.get("reference")
    floor = null or stats.constant(CHANCE, areas["original"])
    panel = AttackPanel(
        areas["original"], areas["candidate"], floor, floor, "reference" if null else "chance", null,
        unseen={role: others for role, (_, others) in found.items()},
    )  # fmt: skip
    told = {role: _published(bench, role, published) if published else areas[role].value for role in found}
    note = in_words(bench, what, panel, found["candidate"])
    if published and (ended := told["candidate"]) is not None:
        note += f" With the end token, as OpenUnlearning's code counts it, the candidate's AUC is {ended:.2f}."
    return Reading(roc_rows(found, areas, told, bench.seed), panel, note)


def _published(bench: Bench, role: Role, score: Callable[[Bench, Role, Split], Scores]) -> float | None:
    """The area with the end token counted; None where the tokenizer has none."""
    read: tuple[Split, Split] = ("forget", "holdout")
    if not all(has_end(bench, each, split) for each in bench.roles for split in read):
        return None
    return auc(score(bench, role, "forget").values[0], score(bench, role, "holdout").values[0])


def roc_rows(
    found: Mapping[Role, tuple[Scores, Scores]],
    areas: Mapping[Role, Sample],
    published: Mapping[Role, float | None],
    seed: int,
) -> list[Row]:
    """The ROC curve of every subject at GRID; a rate that less than one unseen answer stands for has no value."""
    rows = []
    for role, (members, others) in found.items():
        known = whole_answers(len(others.items))
        points = np.full((3, len(GRID)), np.nan)
        points[:, known] = curve(members, others, GRID[known], seed)
        own = areas[role].estimate(CHANCE)
        muse = membership_auc(-members.values[0], -others.values[0]).muse
        line = own.value, own.low, own.high, published[role], muse, detectability(own.value)
        for rate, said, point in zip(GRID.tolist(), known, points.T.tolist(), strict=True):
            hit, low, high = point if said else (None, None, None)
            rows.append(Row(rate, role, hit, low, high, rate, *line, len(members.items), len(others.items)))
    return rows


def whole_answers(unseen: int) -> NDArray[np.bool_]:
    """Which rates of GRID at least one of so many unseen answers stands for [rates]; 0 always is one."""
    return np.asarray((GRID == 0) | (GRID * unseen >= 1 - ROUNDING))


def detectability(auc: float) -> float:
    """2 |AUC - 0.5|: how far the two corpora can be told apart, whichever lies above."""
    return 2 * abs(auc - CHANCE)


def in_words(bench: Bench, what: str, panel: Panel, pair: tuple[Scores, Scores]) -> str:
    """What the attack finds in candidate, original and null, and in which direction."""
    name = bench.case.candidate.name
    control = f", {panel.null_candidate.value:.0%} in the reference" if panel.null == "reference" else ""
    text = (
        f"Of a forgotten and an unseen answer, {what} picks the forgotten one in {panel.candidate.value:.0%} of pairs "
        f"in {name}, {panel.original.value:.0%} in the original{control}; a guess gets 50%."
    )
    return f"{text} {low_rate(*pair)}{over_unlearned(panel)}"


def low_rate(members: Scores, others: Scores) -> str:
    """What is found at the lowest rate of LOW that the unseen answers can tell, and which they cannot."""
    unseen = len(others.items)
    fewer = [rate for rate in LOW if rate * unseen < 1 - ROUNDING]
    few = f"{unseen} unseen answers are too few for {' and '.join(map(_percent, fewer))}"
    if len(fewer) == len(LOW):
        return f"{few} false alarms."
    rate = LOW[len(fewer)]
    hit = tpr_at_fpr(-members.values[0], -others.values[0], rate)
    said = f"At {_percent(rate)} false alarms it finds {hit:.0%} of the forgotten answers"
    return f"{said} ({few})." if fewer else f"{said}."


def _percent(rate: float) -> str:
    return f"{100 * rate:g}%"


def over_unlearned(panel: Panel) -> str:
    """A warning where the forgotten answers lie below the null with their whole interval, else nothing."""
    if np.quantile(panel.candidate.draws - panel.null_candidate.draws, 1 - stats.ALPHA / 2) >= 0:
        return ""
    than = "than in the reference" if panel.null == "reference" else "than answers that it never saw"
    text = f" Over-unlearned: the forgotten answers look less familiar {than}"
    if panel.candidate.value >= CHANCE:
        return f"{text}."
    return (
        f"{text}, so that whoever turns the attack round picks them in {1 - panel.candidate.value:.0%} of pairs: that "
        "too shows what was to be forgotten (the Streisand effect)."
    )


def check_k(k: float) -> None:
    """Raises CaseError for a share of tokens that `membership` does not take."""
    try:
        membership.check_share(k)
    except ValueError as error:
        raise CaseError(str(error)) from None
