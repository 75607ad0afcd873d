"""Concept directions: does the state of a forgotten item still point towards its own label?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.errors import CaseError, NotIdentifiable
from audit.evidence.concepts._axes import KINDS, PLAIN, alike, axes, differences, reading
from audit.evidence.concepts._steer import steered
from audit.evidence.probes._labelled import Labelled, labelled
from audit.stats import Scores, cross_fit, panel
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench


class DirectionsRow(NamedTuple):
    """One layer of one subject on one split, read along one kind of direction."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus whose items were read; on retain, each along directions of the other half"]
    kind: Annotated[str, "how a label's direction was made"]
    accuracy: Annotated[float, "share of items that lie furthest along the direction of their own label, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    chance: Annotated[float, "what guessing the most frequent training label would be expected to score, 0 to 1"]
    shuffled: Annotated[float, "mean accuracy along directions of labels dealt to other entities, 0 to 1"]
    items: Annotated[int, "number of items read"]
    entities: Annotated[int, "number of entities among them"]
    view: Annotated[str, "split and kind in one: a panel of the chart"]
    cosine: Annotated[float | None, "mean cosine of the subject's directions to the original's; 1 = the same"]
    steered: Annotated[float | None, "gain of the answer's log-probability along the original's direction, nats"]
    steered_random: Annotated[float | None, "gain along random directions of the same length, nats"]


@dataclass(frozen=True)
class Directions:
    """One direction per label, made from retained items of each subject, and where forgotten items lie along them.

    Nothing is trained: a direction is the mean state of the retain items with a label minus that of the others of the
    same attribute, plain or whitened. Whitened, it is the only direction that concept erasure by LEACE would remove.
    The kind and the layer are chosen on one half of the forget entities and scored on the other. In the middle block
    the original's plain direction of the right label is also added to the states of each subject.
    """

    title: ClassVar[str] = "Concept directions"
    question: ClassVar[str] = "Do the states of forgotten items still lie along the direction of their own label?"
    blind_to: ClassVar[str] = (
        "Answers without a label that retain items share, labels that are not stored along one direction, and what "
        "appears only after the last prompt token."
    )
    formula: ClassVar[str] = (
        "score = 1 if own label = argmax_c (x - m) . w_c, x the state at the last prompt token, m the retain mean; "
        "d_c = mean of label c - mean of other labels; plain: w_c = d_c / |d_c|; whitened: w_c = S^-1 d_c / "
        "sqrt(d_c . S^-1 d_c), S the retain covariance shrunk by Ledoit and Wolf; kind and layer (blocks 1 to L) "
        "chosen on one half of the forget entities, scored on the other; steering: x + strength * d_c of the original"
    )
    source: ClassVar[str] = (
        "Difference of means: Marks and Tegmark 2023 (arXiv:2310.06824); LEACE: Belrose et al. 2023 "
        "(arXiv:2306.03819); steering: Turner et al. 2023 (arXiv:2308.10248)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    row: ClassVar[type] = DirectionsRow
    chart: ClassVar[Chart] = Chart(
        "line", "layer", "accuracy", low="low", high="high", null="chance", facet="view",
        hover=("shuffled", "cosine", "steered", "items"), x_title="layer", y_title="items along their own label",
        title="Forgotten items along the directions of their labels",
    )  # fmt: skip
    cost: ClassVar[float] = 0.8

    position: str = "prompt_last"
    nulls: int = 20
    strength: float = 1.0
    """Length of what is added in steering, in differences of means; 0 leaves steering out."""
    seeds: int = 3
    """Random directions that steering is compared with."""

    def __post_init__(self) -> None:
        probing.check_settings(self.position, 5, self.nulls)
        if self.seeds < 1:
            raise CaseError("Steering is compared with at least 1 random direction; found seeds = 0.")

    def measure(self, bench: Bench) -> Reading:
        """Make directions on retain, read forget; raises NotApplicable when items have no labels."""
        made = labelled(bench, 5, self.nulls)
        read = {role: self._read(made, role) for role in bench.roles}

        def score(role: Role, split: Split) -> Scores:
            places = made.scored.get(split, np.empty(0, np.intp))
            if not len(places):
                raise NotIdentifiable(f"No {split} item has a label that occurs among the retain items.")
            items = [bench.corpus(split).items[i] for i in places]
            entities = [item.entity or item.id for item in items]
            choices = np.concatenate([read[role][f"{kind} {split}"][1:, places] for kind in KINDS])
            return Scores([item.id for item in items], entities, cross_fit(choices, entities, bench.seed)[0])

        found = panel(bench, score)
        gains = {role: self._steer(made, role) for role in bench.roles} if self.strength else {}
        rows = [row for role in bench.roles for row in self._rows(made, role, read[role], gains.get(role))]
        note = f"Share of forgotten items that lie furthest along their own label: {probing.compared(found)}."
        if gains:
            own, random = gains["candidate"][1] - gains["candidate"][0], gains["candidate"][2] - gains["candidate"][0]
            note += (
                f" Adding the original's direction of the right label in the middle block changes the log-probability "
                f"of the candidate's answer by {own.mean():+.2f} nats, a random direction by {random.mean():+.2f}."
            )
        return Reading(rows, found, note + made.unread)

    def _read(self, made: Labelled, role: Role) -> dict[str, NDArray[np.float64]]:
        """`<kind> <split>`, `<kind> shuffled <split>` [layers, items] and `cosine <kind>` [layers], NaN if unknown."""

        def compute() -> dict[str, NDArray[np.float64]]:
            result: dict[str, NDArray[np.float64]] = {}
            for kind in KINDS:
                read = made.sweep(role, self.position, [role], reading(kind))
                result |= {f"{kind} {name}": values for name, values in read.items()}
                result[f"cosine {kind}"] = self._cosines(made, role, kind)
            return result

        inputs = {"position": self.position, "nulls": self.nulls}
        return made.bench.remember("concepts.directions", [role, "original"], inputs, compute)

    def _cosines(self, made: Labelled, role: Role, kind: str) -> NDArray[np.float64]:
        """Mean cosine over all labels between the subject's and the original's directions [layers]."""
        mine, theirs = (made.bench.states(who, "retain") for who in (role, "original"))
        means = np.full(mine.layers, np.nan)
        for layer in range(mine.layers):
            found: list[NDArray[np.float64]] = []
            new, old = (states.at(layer, self.position) for states in (mine, theirs))
            for group in made.groups.values():
                rows, labels = group.rows["retain"], group.task.labels[:1]
                a, b = (axes(x[rows], labels, len(group.task.classes), kind)[0] for x in (new, old))
                found.append(alike(a, b))
            means[layer] = np.concatenate(found).mean()
        return means

    def _steer(self, made: Labelled, role: Role) -> NDArray[np.float64]:
        """Log-probability of the first answer token of the scored forget items [plain, own label, random; items]."""
        bench = made.bench
        states = bench.states("original", "retain")
        block = middle(states.layers)

        def compute() -> dict[str, NDArray[np.float64]]:
            bench.progress(0.9, f"steering the {role}")
            at = states.at(block, self.position)
            delta = np.zeros((len(bench.corpus("forget")), at.shape[1]), np.float32)
            for group in made.groups.values():
                rows, labels = group.rows["retain"], group.task.labels[:1]
                own = differences(at[rows], labels, len(group.task.classes))[0]
                delta[group.rows["forget"]] = self.strength * own[group.truth["forget"]]
            delta = delta[made.scored["forget"]]
            noise = bench.rng("concepts.directions", "random").normal(size=(self.seeds, *delta.shape))
            noise *= np.linalg.norm(delta, axis=-1, keepdims=True) / np.linalg.norm(noise, axis=-1, keepdims=True)
            items = [bench.corpus("forget").items[i] for i in made.scored["forget"]]
            found = steered(bench, role, items, block, np.concatenate([delta[None], noise.astype(np.float32)]))
            return {"found": np.stack([found[0], found[1], found[2:].mean(0)])}

        inputs = {"position": self.position, "strength": self.strength, "seeds": self.seeds}
        return bench.remember("concepts.directions steering", [role, "original"], inputs, compute)["found"]

    @staticmethod
    def _rows(
        made: Labelled, role: Role, read: Mapping[str, NDArray[np.float64]], gains: NDArray[np.float64] | None
    ) -> list[DirectionsRow]:
        table = []
        for kind in KINDS:
            names = [name for split in made.scored for name in (split, f"shuffled {split}")]
            mine = {name: read[f"{kind} {name}"] for name in names}
            for row in made.rows(role, mine, kind):
                cosine = float(read[f"cosine {kind}"][row.layer])
                gain: tuple[float | None, float | None] = (None, None)
                here = (row.split, row.layer, kind) == ("forget", middle(len(read[f"cosine {kind}"])), PLAIN)
                if gains is not None and here:
                    gain = float((gains[1] - gains[0]).mean()), float((gains[2] - gains[0]).mean())
                table.append(DirectionsRow(*row, None if np.isnan(cosine) else cosine, *gain))
        return table


def middle(layers: int) -> int:
    """The middle block, from 1, of a model with this many states (its blocks and the input of the first)."""
    return layers // 2
