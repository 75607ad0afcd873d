"""Feature survival: do the features that carry the forgotten answers still fire?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.dictionaries.quality import insist
from audit.dictionaries.source import Dictionary
from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.probes.linear import Group, groups_of
from audit.evidence.sae._features import Trained, activations, label_ratio
from audit.stats import Scores, cross_fit, panel
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from audit.bench import Bench

Read = dict[str, "NDArray[np.float64]"]


class SurvivalRow(NamedTuple):
    """One dictionary, one subject, one split."""

    layer: Annotated[int, "block whose output the dictionary reads"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus whose items were read"]
    accuracy: Annotated[float, "share of items whose label is read from the chosen features, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    chance: Annotated[float, "what guessing the most frequent label would be expected to score, 0 to 1"]
    shuffled: Annotated[float, "the same with a classifier trained on labels dealt to other entities, 0 to 1"]
    firing: Annotated[float, "share of the chosen features that fire on the items, mean over items, 0 to 1"]
    items: Annotated[int, "number of items read"]


@dataclass(frozen=True)
class Survival(Trained):
    """k-sparse probing on the original's features, read on every subject.

    For each attribute the features whose activation tells the labels of the original's retain items best are chosen,
    a small classifier is fitted on them there, and both are applied unchanged to the forget items of every subject.
    Nothing is fitted to the candidate and nothing to a forgotten entity. What is read is the answer's label: features
    of the names would fire in a model that never learned them, because it sees their letters.
    """

    latents: int = 16
    """Features that the classifier of an attribute may use."""

    title: ClassVar[str] = "SAE feature survival"
    question: ClassVar[str] = "Do the features that carry the forgotten answers still fire?"
    blind_to: ClassVar[str] = (
        "Knowledge that moved to other features or to another code: features are those of the original, and a model "
        "that stores the same fact in rotated states reads as having lost it. It reads two blocks only."
    )
    formula: ClassVar[str] = (
        "accuracy of argmax_c (W f + b)_c on forget items, f the activations of k latents at the last prompt token; "
        "latents by between-class over within-class variance, W and b by penalised discriminant analysis, both on the "
        "original's retain items; block chosen on one half of the forget entities, scored on the other, both ways"
    )
    source: ClassVar[str] = (
        "k-sparse probing: Gurnee et al. 2023 (arXiv:2305.01610), SAEBench (Karvonen et al. 2025, arXiv:2503.09532); "
        "BatchTopK dictionaries by sae-lens"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    row: ClassVar[type] = SurvivalRow
    chart: ClassVar[Chart] = Chart(
        "bar", "layer", "accuracy", low="low", high="high", null="chance", facet="split",
        hover=("shuffled", "firing", "items"), x_title="block", y_title="labels read correctly",
        title="Labels read from the original's features",
    )  # fmt: skip
    cost: ClassVar[float] = 0.6

    def __post_init__(self) -> None:
        if self.latents < 1:
            raise CaseError("latents = 0: a classifier of no features reads nothing; expected at least 1.")

    def measure(self, bench: Bench) -> Reading:
        """Choose and fit on the original's retain items; raises NotApplicable when items have no labels."""
        groups, splits = groups_of(bench, folds=5, nulls=20)
        if not sum(len(group.rows["forget"]) for group in groups.values()):
            raise NotApplicable("No label of the forget items occurs among the retain items, so nothing can be read.")
        found = self.dictionaries(bench)
        grades = [insist(bench, dictionary) for dictionary in found]
        read = {role: [self._read(bench, d, role, groups, splits) for d in found] for role in bench.roles}
        scored = {s: np.sort(np.concatenate([g.rows[s] for g in groups.values()])) for s in splits}

        def score(role: Role, split: Split) -> Scores:
            if split not in scored or not len(scored[split]):
                raise NotIdentifiable(f"No {split} item has a label that occurs among the retain items.")
            corpus, rows = bench.corpus(split), scored[split]
            entities = [corpus.entities[i] for i in rows]
            values, _ = cross_fit([lines[split][rows] for lines in read[role]], entities, bench.seed)
            return Scores([corpus.items[i].id for i in rows], entities, values)

        result = panel(bench, score)
        rows = [
            self._row(bench, dictionary.layer, role, split, lines, groups)
            for role in bench.roles
            for dictionary, lines in zip(found, read[role], strict=True)
            for split in splits
            if split != "retain" and len(scored[split])
        ]
        layers = "; ".join(f"block {d.layer}: {grade}" for d, grade in zip(found, grades, strict=True))
        note = f"Share of forgotten labels read from {self.latents} features: {probing.compared(result)}. {layers}."
        return Reading(rows, result, note)

    def _read(
        self, bench: Bench, dictionary: Dictionary, role: Role, groups: Mapping[str, Group], splits: tuple[Split, ...]
    ) -> Read:
        """Whether each item was read right, `shuffled <split>` and `firing <split>` [items]; NaN where not read."""

        def compute() -> Read:
            source = activations(bench, dictionary, "original", "retain")
            at = {split: activations(bench, dictionary, role, split) for split in splits if split != "retain"}
            result: Read = {}
            for number, group in enumerate(groups.values()):
                bench.progress(number / len(groups), f"reading features of the {role} in block {dictionary.layer}")
                train = source[group.rows["retain"]]
                chosen = np.argsort(-label_ratio(train, group.task.labels[0]), kind="stable")[: self.latents]
                probe = probing.fit(train[:, chosen], group.task)
                for split, states in at.items():
                    rows = group.rows[split]
                    right = probe.predict(states[rows][:, chosen]) == group.truth[split]
                    for name, values in (
                        (split, right[0]), (f"shuffled {split}", right[1:].mean(0)),
                        (f"firing {split}", (states[rows][:, chosen] > 0).mean(1)),
                    ):  # fmt: skip
                        line = result.setdefault(name, np.full(len(bench.corpus(split)), np.nan))
                        line[rows] = values
            return result

        inputs = {"dictionary": dictionary.digest, "layer": dictionary.layer, "latents": self.latents}
        return bench.remember("sae.survival", ["original", role], inputs, compute)

    @staticmethod
    def _row(
        bench: Bench, layer: int, role: Role, split: Split, read: Read, groups: Mapping[str, Group]
    ) -> SurvivalRow:
        rows = np.sort(np.concatenate([group.rows[split] for group in groups.values()]))
        entities = [bench.corpus(split).entities[i] for i in rows]
        value, low, high = next(iter(probing.intervals(read[split][None, rows], entities, bench.seed)))
        chance = np.repeat([g.chance for g in groups.values()], [len(g.rows[split]) for g in groups.values()]).mean()
        shuffled, firing = (float(read[f"{what} {split}"][rows].mean()) for what in ("shuffled", "firing"))
        return SurvivalRow(layer, role, split, value, low, high, float(chance), shuffled, firing, len(rows))
