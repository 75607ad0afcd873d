"""Value vectors: are the MLP columns that write the forgotten answers still the original's?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import CaseError, NotIdentifiable
from audit.evidence.concepts._given import given_vectors, named_vectors
from audit.evidence.concepts._likeness import MEASURES, compare, kinship
from audit.evidence.concepts._noise import drops
from audit.evidence.concepts._selection import Chosen, choose
from audit.stats import Scores, mean, panel
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

HALVES = ("second half", "first half")
"""On which half of the forget entities each pool was chosen: the pool that scores the first on the second."""
UNRELATED = 0.2
"""Median cosine over whole blocks below which two models were trained from different starts."""


class ValueVectorsRow(NamedTuple):
    """One value vector of one subject, compared with the original's."""

    subject: Annotated[str, "role of the model"]
    layer: Annotated[int, "number of the block, from 0 as in the names of the tensors"]
    dim: Annotated[int, "number of the neuron in the MLP, from 0"]
    chosen_on: Annotated[str, "half of the forget entities on which it was chosen, or given by name"]
    share: Annotated[
        float, "share of what its pool writes towards the answers it is scored on, in the original, 0 to 1"
    ]
    cosine: Annotated[float, "cosine to the original's vector; 1 = same direction, 0 = unrelated or zeroed"]
    l2: Annotated[float, "length of the difference to the original's vector"]
    length: Annotated[float, "length over that of the original's vector; 1 = same"]
    jaccard: Annotated[float, "shared of all top tokens of both vectors, both under the original's unembedding, 0 to 1"]
    jaccard_own: Annotated[float, "the same, each vector under its own model's unembedding, 0 to 1"]
    tokens: Annotated[str, "tokens that the subject's vector promotes most, under the original's unembedding"]
    drop: Annotated[float | None, "fall of log-probability with noise in all vectors of the pool, nats; original only"]
    drop_others: Annotated[float | None, "fall with the same noise in as many other vectors of the same blocks, nats"]
    drop_retain: Annotated[float | None, "fall on retain items with noise in the vectors of the pool, nats"]


@dataclass(frozen=True)
class ValueVectors:
    """Finds the value vectors that write the forget answers in the original and looks at them in every subject.

    Vectors are chosen on one half of the forget entities and looked at for the other, both ways. Each item is scored
    with the cosines of its pool, weighted by how much each vector writes towards that item's answer in the original.
    Whether the chosen vectors matter at all is checked in the original with noise. The null is the reference. Without
    one there is none, since the original is its own measure on every corpus: then the table is given and no residual.
    """

    title: ClassVar[str] = "Value vectors"
    question: ClassVar[str] = "Are the value vectors that write the forgotten answers still those of the original?"
    blind_to: ClassVar[str] = (
        "Whether anything still reads the vectors (the neurons may no longer fire), a change of their length alone, "
        "what attention and embeddings hold, and knowledge that a trained-anew model would write with the very same "
        "vectors."
    )
    formula: ClassVar[str] = (
        "score = sum_j w_j cos(v_j, v'_j) / sum_j w_j, w_j = max(0, a_j v_j . (u - mean u)), a_j the original's "
        "activation at the last prompt token, u the unembedding of the item's first answer token, mean u over answers "
        "of its attribute; j over the vectors that write most, by the mean without max, on the other half of the "
        "entities; check: noise N(0, s^2), s = noise |v_j| / sqrt(width), in these against others of the same blocks"
    )
    source: ClassVar[str] = (
        "ConceptVectors, Hong et al. 2024 (arXiv:2406.11614); value vectors: Geva et al. 2022 (arXiv:2203.14680)"
    )
    files: ClassVar[tuple[str, ...]] = ("file",)
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS, Access.HIDDEN})
    row: ClassVar[type] = ValueVectorsRow
    chart: ClassVar[Chart] = Chart(
        "scatter", x="layer", y="cosine", hover=("dim", "share", "l2", "jaccard", "tokens"), x_title="block",
        y_title="cosine to the original", title="Value vectors that write the forgotten answers",
    )  # fmt: skip
    cost: ClassVar[float] = 1.0

    count: int = 50
    """Vectors chosen on each half of the entities."""
    noise: float = 5.0
    """Length of the noise over that of the vector; N(0, 0.1) in Llama-2-7B, as in the paper, is about this."""
    seeds: int = 3
    items: int = 1000
    vectors: tuple[str, ...] = ()
    """Vectors to look at instead, "layer:dim", both from 0, as ConceptVectors files name them."""
    file: str = ""
    """Or a ConceptVectors file (JSON) that names them; a relative path starts at the case file's folder."""
    concept: str = ""
    """Which concept of the file; empty for all."""

    def __post_init__(self) -> None:
        if self.count < 1 or self.seeds < 1 or self.items < 2 or self.noise <= 0:
            raise CaseError("Value vectors need a count and seeds of at least 1, at least 2 items and noise above 0.")
        given_vectors(self.vectors)
        if self.file and self.vectors:
            raise CaseError("Value vectors are named by vectors or by a file, not by both; leave one of them out.")
        if self.concept and not self.file:
            raise CaseError(f'The concept "{self.concept}" has no file to be looked up in; give a ConceptVectors file.')

    def check_files(self) -> None:
        """Raise CaseError when the file is no ConceptVectors file or does not know the concept."""
        self._given()

    def _given(self) -> tuple[str, ...]:
        """The vectors that somebody named, "layer:dim"; none when they are to be chosen."""
        return named_vectors(self.file, self.concept) if self.file else self.vectors

    def measure(self, bench: Bench) -> Reading:
        """Choose, check, compare; raises NotIdentifiable when the chosen vectors matter no more than others."""
        null, given = bench.null, self._given()
        chosen = choose(bench, "forget", self.count, self.items, given)
        causal = self._check(bench, chosen)
        found = {role: compare(bench, role, chosen) for role in bench.roles}

        def score(role: Role, split: Split) -> Scores:
            picked = choose(bench, split, self.count, self.items, given)
            items = [bench.corpus(split).items[i] for i in bench.subset(split, self.items)]
            cosines = found[role]["cosine"][np.where(picked.first, 0, 1)]
            used = picked.shares.sum(1) > 0
            # A sum of shares is 1 but for rounding; equal vectors must score exactly 1.
            values = 1.0 - ((1.0 - cosines) * picked.shares).sum(1)
            return Scores([item.id for item in items], [item.entity or item.id for item in items], values, used)

        rows = [row for role in bench.roles for row in self._rows(chosen, causal, role, found[role], bool(given))]
        kin = kinship(bench, "reference", np.unique(chosen.pools[..., 0]).tolist()) if null == "reference" else None
        return Reading(rows, panel(bench, score), self._note(causal, rows, kin))

    def _check(self, bench: Bench, chosen: Chosen) -> dict[str, NDArray[np.float64]]:
        """Noise in the original: raises NotIdentifiable unless it hurts more in the chosen vectors than in others."""
        fallen = drops(bench, chosen, self.items, self.noise, self.seeds)
        items = [bench.corpus("forget").items[i] for i in bench.subset("forget", self.items)]
        names, entities = [item.id for item in items], [item.entity or item.id for item in items]
        more = mean(Scores(names, entities, fallen["chosen"] - fallen["others"]), seed=bench.seed).estimate(0.0)
        if more.low <= 0:
            raise NotIdentifiable(
                f"This instrument does not work here: noise in the {chosen.pools.shape[1]} chosen value vectors of the "
                f"original lowers the answers' log-probability by {fallen['chosen'].mean():.3f} nats and in as many "
                f"others of the same blocks by {fallen['others'].mean():.3f}, so they do not carry the answers."
            )
        return fallen

    def _rows(
        self, chosen: Chosen, causal: dict[str, NDArray[np.float64]], role: Role, found: dict[str, NDArray], given: bool
    ) -> list[ValueVectorsRow]:
        """One row per vector and pool; vectors that were given are in both pools and shown once."""
        rows = []
        for number, half in enumerate(("given",) if given else HALVES):
            mine = np.ones(len(chosen.first), bool) if given else chosen.first ^ bool(number)
            shares = chosen.shares[mine].mean(0)
            drop = others = unrelated = None
            if role == "original":
                retain = causal["retain chosen"] if given else causal["retain chosen"][:, number]
                drop, others = (float(causal[kind][:, mine].mean()) for kind in ("chosen", "others"))
                unrelated = float(retain.mean()) if retain.size else None
            for k, (block, neuron) in enumerate(chosen.pools[number].tolist()):
                likeness = [float(found[name][number, k]) for name in MEASURES]
                tokens = str(found["tokens"][number, k])
                line = (role, block, neuron, half, float(shares[k]), *likeness, tokens, drop, others, unrelated)
                rows.append(ValueVectorsRow._make(line))
        return rows

    def _note(self, causal: dict[str, NDArray[np.float64]], rows: Sequence[ValueVectorsRow], kin: float | None) -> str:
        """What was kept, what the check found, and whether the reference's vectors can be compared at all (`kin`)."""
        mine = [row for row in rows if row.subject == "candidate"]
        same = np.mean([row.cosine == 1.0 and row.length == 1.0 for row in mine])
        typical = float(np.median([row.cosine for row in mine]))
        text = (
            f"{same:.0%} of the value vectors that write the answers are the original's to the last bit, median cosine "
            f"{typical:.2f}; noise in them costs the original {causal['chosen'].mean():.2f} nats per answer, noise in "
            f"others {causal['others'].mean():.2f}."
        ).replace("%", " %")
        if kin is not None and kin < UNRELATED:
            text += (
                f" The reference was trained from another start: the median cosine of all its vectors in these blocks, "
                f"chosen or not, to the original's is {round(kin, 2) + 0.0:.2f}. So this null shows another start as "
                "much as missing knowledge."
            )
        if kin is None:
            text += " Facts that no model saw say nothing about vectors, so without a reference there is no residual."
        return text
