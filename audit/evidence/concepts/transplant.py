"""Transplant: do one subject's MLP matrices bring the answers into another subject?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import CaseError, NotIdentifiable
from audit.evidence.concepts._answers import first_tokens, likelihoods
from audit.evidence.concepts._mlp import writing
from audit.evidence.concepts._selection import choose
from audit.evidence.concepts._swap import Projection, Writes, columns, projections, whole
from audit.stats import Panel, Scores, halves, mean, panel
from audit.types import SPLITS, Access, Chart, Item, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

CARRIED, PUT_BACK = "its matrices in the original", "the original's matrices in it"
NOTHING, VECTORS, ALL = "nothing", "chosen vectors", "all blocks"


class TransplantRow(NamedTuple):
    """One subject and one transplant, on one split."""

    subject: Annotated[str, "role of the model"]
    direction: Annotated[str, "whose matrices work in whose body"]
    stage: Annotated[str, "what was transplanted: nothing, chosen value vectors, one block's projection, or all"]
    split: Annotated[str, "corpus of the prompts"]
    top1: Annotated[float, "share of items whose first answer token is the most likely one, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    logprob: Annotated[float, "mean log-probability of the first answer token, nats"]
    change: Annotated[float, "by how much the transplant changed it, nats"]
    items: Annotated[int, "number of items asked"]
    view: Annotated[str, "direction and split in one: a panel of the chart"]


@dataclass(frozen=True)
class Transplant:
    """Lets the MLP output projections of a subject work in the original, and the original's in the subject.

    The headline is the first: what the candidate's matrices bring along when all else is the original's. The other way
    the answers come with the original's matrices; it shows whether the rest of the candidate can still use them. Value
    vectors are chosen on one half of the forget entities and transplanted for the other. No weight is edited: hooks
    compute with the other subject's matrices.
    """

    title: ClassVar[str] = "Transplant of MLP matrices"
    question: ClassVar[str] = "Do the candidate's MLP matrices still give the original's forgotten answers?"
    blind_to: ClassVar[str] = (
        "What is stored outside the MLP output projections, answers past their first token, and how well matrices fit: "
        "those of a reference that was trained from another start fail for that reason alone, as retain items show."
    )
    formula: ClassVar[str] = (
        "score = 1 if the item's first answer token is the argmax at the last prompt token in the original with all "
        "MLP output projections (weight and bias) taken from the subject, else 0"
    )
    source: ClassVar[str] = (
        "Interchange of weights after causal mediation (Vig et al. 2020, arXiv:2004.12265; Meng et al. 2022, "
        "arXiv:2202.05262); value vectors as in ConceptVectors (Hong et al. 2024, arXiv:2406.11614)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS, Access.LOGITS})
    row: ClassVar[type] = TransplantRow
    chart: ClassVar[Chart] = Chart(
        "bar", x="stage", y="top1", low="low", high="high", facet="view", hover=("logprob", "change", "items"),
        x_title="transplanted", y_title="first answer tokens that are on top", title="Answers after a transplant",
    )  # fmt: skip
    cost: ClassVar[float] = 4.0

    count: int = 50
    """Value vectors chosen on each half of the entities."""
    items: int = 200
    """Items asked on each corpus."""
    by_block: bool = True
    """Also transplant each block alone (two passes over the forget prompts for each)."""

    def __post_init__(self) -> None:
        if self.count < 1 or self.items < 2:
            raise CaseError(f"Transplants need at least 1 vector and 2 items; found {self.count} and {self.items}.")

    def measure(self, bench: Bench) -> Reading:
        """Transplant both ways; raises NotApplicable for a model without MLP output projections."""
        null = bench.null
        splits: list[Split] = [s for s in SPLITS if bench.has(s) and (s != "holdout" or null == "holdout")]
        found = {role: self._transplants(bench, role, splits) for role in bench.roles}

        def score(role: Role, split: Split) -> Scores:
            if split not in splits:
                raise NotIdentifiable(f"There is no {split} corpus to transplant on.")
            return _scores(self._items(bench, split), found[role][f"top {CARRIED} {split}"][-1])

        read = panel(bench, score)
        rows = [row for role in bench.roles for row in self._rows(bench, role, splits, found[role])]
        return Reading(rows, read, self._note(read, rows))

    def _items(self, bench: Bench, split: Split) -> list[Item]:
        return [bench.corpus(split).items[i] for i in bench.subset(split, self.items)]

    def _transplants(self, bench: Bench, role: Role, splits: list[Split]) -> dict[str, NDArray]:
        """`top` and `logprob` of each direction and split [stages, items], and `stages` of forget; see `_stages`."""
        pools = choose(bench, "forget", self.count, self.items).pools

        def compute() -> dict[str, NDArray]:
            result: dict[str, NDArray] = {}
            pairs: list[tuple[str, Role, Role]] = [(CARRIED, role, "original"), (PUT_BACK, "original", role)]
            for direction, donor, body in pairs[: 1 if role == "original" else 2]:
                with bench.model(donor) as subject:
                    given = projections(subject.model)
                for split in splits:
                    bench.progress(0.5 * (direction == PUT_BACK), f"transplanting {direction} ({role}, {split})")
                    result |= self._pass(bench, body, given, pools, split, direction)
            if role == "original":
                result |= {k.replace(CARRIED, PUT_BACK): v for k, v in result.items()}
            return result

        inputs = {"pools": pools.tolist(), "items": self.items, "by_block": self.by_block, "splits": splits}
        return bench.remember("concepts.transplant", [role, "original"], inputs, compute, tuple(splits))

    def _pass(
        self, bench: Bench, body: Role, given: list[Projection], pools: NDArray, split: Split, direction: str
    ) -> dict[str, NDArray]:
        items = self._items(bench, split)
        first = halves([item.entity or item.id for item in items], bench.seed)
        stages = dict(self._stages(given, pools, split))
        logprob, top = np.empty((len(stages), len(items))), np.empty((len(stages), len(items)), bool)
        with bench.model(body) as subject:
            rows = first_tokens(subject, items, bench.case.template)
            for k, writes in enumerate(stages.values()):
                # Two transplants, one for each half of the entities, where the vectors were chosen on the other half.
                for write, mine in zip(writes, (first, ~first) if len(writes) == 2 else [first | True], strict=True):
                    places = np.flatnonzero(mine)
                    with writing(subject.model, write):
                        logprob[k, places], top[k, places] = likelihoods(subject, [rows[i] for i in places])
        names = np.asarray(list(stages), dtype=str)
        return {f"{direction} {split}": names, f"top {direction} {split}": top, f"logprob {direction} {split}": logprob}

    def _stages(self, given: list[Projection], pools: NDArray, split: Split) -> Iterator[tuple[str, list[Writes]]]:
        """What is transplanted, the whole last; only forget is asked about parts."""
        yield NOTHING, [{}]
        if split == "forget":
            yield VECTORS, [columns(given, pool) for pool in pools]
            if self.by_block:
                yield from ((f"block {k}", [whole({k: projection})]) for k, projection in enumerate(given))
        yield ALL, [whole(dict(enumerate(given)))]

    def _rows(
        self, bench: Bench, role: Role, splits: list[Split], found: Mapping[str, NDArray]
    ) -> Iterator[TransplantRow]:
        for direction in (CARRIED, PUT_BACK):
            for split in splits:
                items = self._items(bench, split)
                tops, logprobs = (found[f"{what} {direction} {split}"] for what in ("top", "logprob"))
                for k, stage in enumerate(found[f"{direction} {split}"].tolist()):
                    share = mean(_scores(items, tops[k]), seed=bench.seed).estimate(0.0)
                    level, change = float(logprobs[k].mean()), float((logprobs[k] - logprobs[0]).mean())
                    yield TransplantRow(
                        role, direction, stage, split, share.value, share.low, share.high, level, change, len(items),
                        f"{direction}, {split}",
                    )  # fmt: skip

    @staticmethod
    def _note(read: Panel, rows: list[TransplantRow]) -> str:
        """What moved, both ways, and whether the reference's matrices fit the original at all."""
        share = {(row.subject, row.direction, row.stage, row.split): row.top1 for row in rows}
        null = "reference's" if read.null == "reference" else "candidate's, asked about facts that no model saw,"
        text = (
            f"With the candidate's MLP matrices the original gives {read.candidate.value:.0%} of the answers, with its "
            f"own {read.original.value:.0%}, with the {null} {read.null_candidate.value:.0%}. With the original's "
            f"matrices the candidate goes from {share['candidate', PUT_BACK, NOTHING, 'forget']:.0%} to "
            f"{share['candidate', PUT_BACK, ALL, 'forget']:.0%}."
        )
        kept = share.get(("reference", CARRIED, ALL, "retain"))
        if kept is not None and kept < 0.5 * share["original", CARRIED, ALL, "retain"]:
            text += (
                f" The reference's matrices leave {kept:.0%} of the retained answers too: they do not fit the "
                "original, so this null shows a missing fit as much as missing knowledge."
            )
        return text.replace("%", " %")


def _scores(items: list[Item], top: NDArray[np.bool_]) -> Scores:
    return Scores([item.id for item in items], [item.entity or item.id for item in items], top.astype(np.float64))
