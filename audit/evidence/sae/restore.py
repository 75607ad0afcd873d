"""Feature restoring: do the answers return when the lost features are added back?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.activations.encode import encode_item
from audit.dictionaries.intervene import Add, first_token
from audit.dictionaries.quality import insist
from audit.dictionaries.source import Dictionary
from audit.errors import CaseError
from audit.evidence.sae._features import Trained, activations, both_ways
from audit.evidence.sae.clamp import CHOSEN, RANDOM, answer_weights, pick
from audit.stats import Scores, cross_fit, panel
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from audit.bench import Bench

NOTHING = "nothing"
KINDS = (NOTHING, CHOSEN, RANDOM)


class RestoreRow(NamedTuple):
    """One dictionary, one subject, one kind of features."""

    layer: Annotated[int, "block to whose output the features were added"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the prompts"]
    added: Annotated[str, "nothing; chosen: the lost features that carry the answers; random: others, of equal norm"]
    answered: Annotated[float, "share of items whose answer's first token is the most likely one, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    probability: Annotated[float, "probability of the answer's first token, 0 to 1, mean over items"]
    items: Annotated[int, "number of items"]


@dataclass(frozen=True)
class Restore(Trained):
    """Adds to a subject what its features lack of the original's, at the last prompt token, and asks it again.

    The features are chosen on one half of the forget entities and added on the other, both ways. What is added comes
    from the original's activations on the very item, so it injects information: the same is done to the reference,
    which shows how much of the answer a model that never knew reads from it, and random directions of equal norm show
    how much any push does.
    """

    number: int = 32
    """Features that are added back."""

    title: ClassVar[str] = "SAE feature restoring"
    question: ClassVar[str] = "Do the answers return when the lost features are added back?"
    blind_to: ClassVar[str] = (
        "Whether the candidate could produce these features by itself: they are taken from the original. A return "
        "shows that what reads them is still in place; none may also mean that the code changed."
    )
    formula: ClassVar[str] = (
        "share of items whose first answer token is the argmax with h + sum_j max(0, f_j(original) - f_j) d_j at the "
        "last prompt token; j the features that add most to the answers in the original; block chosen on one half of "
        "the entities, scored on the other; the original is asked as it is"
    )
    source: ClassVar[str] = "Steering with dictionary directions: Templeton et al. 2024; patching: Meng et al. 2022"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN, Access.WEIGHTS})
    row: ClassVar[type] = RestoreRow
    chart: ClassVar[Chart] = Chart(
        "bar", "added", "answered", low="low", high="high", facet="layer", hover=("probability", "items"),
        x_title="features added back", y_title="answers", title="Answers that return with the lost features",
    )  # fmt: skip
    cost: ClassVar[float] = 0.4

    def __post_init__(self) -> None:
        if self.number < 1:
            raise CaseError("number = 0: adding no feature restores nothing; expected at least 1.")

    def measure(self, bench: Bench) -> Reading:
        """Restore in candidate and null; NotIdentifiable when the dictionary is bad."""
        found = self.dictionaries(bench)
        for dictionary in found:
            insist(bench, dictionary)
        splits: tuple[Split, ...] = ("forget",) if bench.null == "reference" else ("forget", "holdout")
        asked = {
            (role, split): [self._asked(bench, d, role, split) for d in found]
            for role in bench.roles
            for split in splits
        }

        def score(role: Role, split: Split) -> Scores:
            corpus = bench.corpus(split)
            blocks = [lines[NOTHING if role == "original" else CHOSEN][:, 1] for lines in asked[role, split]]
            values, _ = cross_fit(blocks, corpus.entities, bench.seed)
            return Scores([item.id for item in corpus.items], corpus.entities, values)

        result = panel(bench, score)
        rows = [
            self._row(bench, dictionary.layer, role, split, kind, lines[kind])
            for (role, split), all_lines in asked.items()
            for dictionary, lines in zip(found, all_lines, strict=True)
            for kind in KINDS
        ]
        note = f"With {self.number} lost features added back, first tokens right: {probing.compared(result)}."
        return Reading(rows, result, note)

    @staticmethod
    def _row(bench: Bench, layer: int, role: Role, split: Split, kind: str, lines: NDArray[np.float64]) -> RestoreRow:
        value, low, high = probing.intervals(lines[:, 1][None], bench.corpus(split).entities, bench.seed)[0]
        return RestoreRow(layer, role, split, kind, value, low, high, float(lines[:, 0].mean()), len(lines))

    def _asked(self, bench: Bench, dictionary: Dictionary, role: Role, split: Split) -> dict[str, NDArray[np.float64]]:
        """Probability of the first answer token and whether it is on top, for each of KINDS [items, 2]."""

        def compute() -> dict[str, NDArray[np.float64]]:
            weights = answer_weights(bench, dictionary, split)
            before = activations(bench, dictionary, "original", split)
            lost = np.maximum(0.0, before - activations(bench, dictionary, role, split))
            share = weights / np.maximum(before, 1e-9) * lost
            corpus = bench.corpus(split)
            rng = bench.rng("sae.restore", dictionary.layer)
            with bench.model(role) as subject:
                rows = [encode_item(subject.tokenizer, i, bench.case.template) for i in corpus.items]
                result = {name: np.zeros((len(rows), 2)) for name in KINDS}
                result[NOTHING] = first_token(subject, rows)
                for choose, score in both_ways(corpus.entities, bench.seed):
                    bench.progress(0.5, f"restoring features in block {dictionary.layer} of the {role}")
                    chosen, random = pick(share[choose], before[choose], self.number, rng)
                    mine = np.flatnonzero(score)
                    asked = [rows[i] for i in mine]
                    push = lost[mine][:, chosen] @ dictionary.directions[chosen]
                    other = _like(push, dictionary.directions[random], rng)
                    for name, vectors in ((CHOSEN, push), (RANDOM, other)):
                        result[name][mine] = first_token(subject, asked, dictionary.layer, adding(vectors))
            return result

        inputs = {"dictionary": dictionary.digest, "layer": dictionary.layer, "number": self.number, "split": split}
        return bench.remember("sae.restore", ["original", role], inputs, compute)


def _like(push: NDArray[np.float32], directions: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Random mixtures of other directions, each of the norm of the push beside it [items, width]."""
    mixed = rng.random((len(push), len(directions))).astype(np.float32) @ directions
    norms = np.linalg.norm(mixed, axis=1, keepdims=True)
    return np.asarray(mixed / np.maximum(norms, 1e-12) * np.linalg.norm(push, axis=1, keepdims=True), np.float32)


def adding(vectors: NDArray[np.float32]) -> Add:
    """Add one vector per row [rows, width]."""
    import torch

    given = torch.from_numpy(np.asarray(vectors, np.float32))

    def add(states: Tensor, rows: Sequence[int]) -> Tensor:
        return given[list(rows)]

    return add
