"""Does an attacker who learnt what trained images look like take the forgotten ones for trained?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.errors import CaseError, NotApplicable, suggest
from audit.stats import Scores, halves
from audit.types import IMAGES_ONLY, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

ATTACKS = ("correctness", "confidence", "entropy", "modified entropy", "probabilities")
FEWEST = 20
TINY = 1e-30
Found = Mapping[str, "NDArray[np.float64]"]
"""`<attack> <split>`: whether each image was taken for trained [items], NaN where it was not asked."""


class Row(NamedTuple):
    """One attack on one subject."""

    attack: Annotated[str, "what the attacker sees of each image"]
    subject: Annotated[str, "role of the model that was attacked"]
    member: Annotated[float, "share of the forgotten images that the attacker takes for trained ones, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end"]
    efficacy: Annotated[float, "1 - member: MIA-efficacy as papers print it, 1 = none looks trained"]
    unseen: Annotated[float, "share of unseen images, left out of the attacker's training, taken for trained ones"]
    attacker: Annotated[
        float, "share of left-out kept and unseen images that it tells right, mean of both; 0.5 a guess"
    ]
    items: Annotated[int, "forgotten images"]
    entities: Annotated[int, "entities among them"]


@dataclass(frozen=True)
class SVC:
    """A support vector machine learns to tell kept images (trained on) from test images, then judges forgotten ones.

    One attacker for each subject and kind of sight, trained on that subject's own outputs, as published; twice, each
    time on one half of the kept and the test images, so that it also judges images that it was not trained on: an
    attacker that tells those no better than a coin says nothing. Forgotten images are never trained on.
    """

    title: ClassVar[str] = "SVC membership inference"
    question: ClassVar[str] = "Do the forgotten images still look like images that the model was trained on?"
    blind_to: ClassVar[str] = (
        "Attackers who compare with other models or change the images; and every image that looks as kept ones do, for "
        "a model that never saw an image may be as sure of it as of one that it saw. Test images that are harder than "
        "the forgotten ones look like forgetting that failed."
    )
    formula: ClassVar[str] = (
        "member = share of forget images that SVC(C = 3, rbf, gamma = 1 / features), trained on retain (1) and holdout "
        "(0) in equal number, takes for 1; of p: correctness, p_y, entropy, modified entropy "
        "-(1 - p_y) log p_y - sum_{i != y} p_i log(1 - p_i), or all p; MIA-efficacy = 1 - member"
    )
    source: ClassVar[str] = (
        "SVC_MIA of SalUn (Fan et al. 2024, arXiv:2310.12508) and Jia et al. 2023 (arXiv:2304.04934); modified entropy "
        "by its definition, Song and Mittal 2021 (the released code mixes the rows of a batch)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    reads: ClassVar[frozenset[Modality]] = IMAGES_ONLY
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "attack", "member", low="low", high="high", null="unseen",
        hover=("efficacy", "attacker", "items"), x_title="what the attacker sees",
        y_title="forgotten images taken for trained", title="Forgotten images that still look trained on",
    )  # fmt: skip
    cost: ClassVar[float] = 0.3

    headline: str = "confidence"
    """The attack that the residual is made of; papers print this one."""
    images: int = 2000
    """Kept and unseen images that the attacker is trained on, at most, of each."""

    def __post_init__(self) -> None:
        if self.headline not in ATTACKS:
            raise CaseError(f'Unknown attack "{self.headline}".{suggest(self.headline, ATTACKS)}')
        if self.images < FEWEST:
            raise CaseError(f"images = {self.images}: an attacker learns from at least {FEWEST} of each.")

    def measure(self, bench: Bench) -> Reading:
        """Attack every subject; raises NotApplicable without a holdout or with too few images to learn from."""
        for split in ("retain", "holdout"):
            if not bench.has(split) or len(bench.corpus(split)) < FEWEST:
                raise NotApplicable(
                    f"The attacker learns from kept and from unseen images, at least {FEWEST} of each: give a retain "
                    "corpus and, as holdout, test images that no model was trained on."
                )
        found = {role: self._attack(bench, role) for role in bench.roles}

        def score(role: Role, split: Split) -> Scores:
            return _scores(bench, found[role], self.headline, split)

        panel = stats.panel(bench, score)
        rows = [self._row(bench, role, found[role], attack) for attack in ATTACKS for role in bench.roles]
        mine = next(r for r in rows if (r.attack, r.subject) == (self.headline, "candidate"))
        control = f"{panel.null_candidate.value:.0%} in the {panel.null}" if panel.null == "reference" else (
            f"{panel.null_candidate.value:.0%} of the unseen ones"
        )  # fmt: skip
        note = (
            f"By {self.headline}, {panel.candidate.value:.0%} of the forgotten images are taken for trained ones in "
            f"{bench.case.candidate.name}, {panel.original.value:.0%} in the original, {control}; the attacker tells "
            f"{mine.attacker:.0%} of left-out images right, a guess 50%."
        )
        return Reading(rows, panel, note)

    def _row(self, bench: Bench, role: Role, found: Found, attack: str) -> Row:
        point = stats.mean(_scores(bench, found, attack, "forget"), seed=bench.seed).estimate(0.5)
        kept, unseen = (float(np.nanmean(found[f"{attack} {split}"])) for split in ("retain", "holdout"))
        told = (kept + 1 - unseen) / 2
        numbers = (point.value, point.low, point.high, 1 - point.value, unseen, told)
        return Row(attack, role, *numbers, len(bench.corpus("forget")), point.n)

    def _attack(self, bench: Bench, role: Role) -> Found:
        number = min(self.images, len(bench.corpus("retain")), len(bench.corpus("holdout")))
        splits: tuple[Split, ...] = ("forget", "retain", "holdout")

        def compute() -> dict[str, NDArray[np.float64]]:
            seen = {split: views(bench.outputs(role, split), _classes(bench, role, split)) for split in splits}
            result: dict[str, NDArray[np.float64]] = {}
            for attack in ATTACKS:
                bench.progress(ATTACKS.index(attack) / len(ATTACKS), f"attacking the {role} by {attack}")
                own = {split: seen[split][attack] for split in splits}
                for split, values in _judged(bench, own, number).items():
                    result[f"{attack} {split}"] = values
            return result

        return bench.remember("privacy.svc", [role], {"images": number}, compute)


def views(logits: NDArray[np.float32], classes: NDArray[np.intp]) -> dict[str, NDArray[np.float64]]:
    """What each attack sees of logits [items, classes] and true classes [items] → [items, features]."""
    logits = logits.astype(np.float64)
    logits = logits - logits.max(1, keepdims=True)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    rows = np.arange(len(p))
    own = p[rows, classes]
    logs, others = -np.log(np.maximum(p, TINY)), -np.log(np.maximum(1 - p, TINY))
    modified = p * others
    modified[rows, classes] = (1 - own) * logs[rows, classes]
    lines = {
        "correctness": (p.argmax(1) == classes).astype(np.float64), "confidence": own,
        "entropy": (p * logs).sum(1), "modified entropy": modified.sum(1),
    }  # fmt: skip
    return {name: line[:, None] for name, line in lines.items()} | {"probabilities": p}


def _classes(bench: Bench, role: Role, split: Split) -> NDArray[np.intp]:
    rows = bench.likelihood(role, split)
    return rows.loc[rows["variant"] == "answer", "first_token"].to_numpy(np.intp)


def _judged(bench: Bench, seen: Mapping[Split, NDArray[np.float64]], number: int) -> dict[Split, NDArray[np.float64]]:
    """Shares of the two attackers that take each image for trained [items]; who was trained on it is not asked."""
    from sklearn.svm import SVC as Machine

    result = {split: np.full((2, len(rows)), np.nan) for split, rows in seen.items()}
    learnt: tuple[Split, ...] = ("retain", "holdout")
    chosen = {split: bench.subset(split, number) for split in learnt}
    sides = {
        split: halves([bench.corpus(split).entities[i] for i in rows], bench.seed) for split, rows in chosen.items()
    }
    for k in range(2):
        train = {split: rows[sides[split] == bool(k)] for split, rows in chosen.items()}
        size = min(map(len, train.values()))
        train = {split: rows[:size] for split, rows in train.items()}
        if not size:
            raise NotApplicable("The kept or the unseen images have one entity, so no attacker can be checked.")
        features = np.concatenate([seen[split][rows] for split, rows in train.items()])
        machine = Machine(C=3, gamma="auto", kernel="rbf").fit(features, np.repeat([1, 0], size))
        for split, rows in seen.items():
            told = machine.predict(rows).astype(np.float64)
            if split in chosen:
                asked = chosen[split][sides[split] != bool(k)]
                result[split][k, asked] = told[asked]
            else:
                result[split][k] = told
    counts = {split: np.isfinite(values).sum(0) for split, values in result.items()}
    return {
        split: np.where(counts[split] > 0, np.nansum(values, 0) / np.maximum(counts[split], 1), np.nan)
        for split, values in result.items()
    }


def _scores(bench: Bench, found: Found, attack: str, split: Split) -> Scores:
    corpus, values = bench.corpus(split), found[f"{attack} {split}"]
    asked = np.isfinite(values)
    return Scores([item.id for item in corpus.items], corpus.entities, np.where(asked, values, 0.0), asked)
