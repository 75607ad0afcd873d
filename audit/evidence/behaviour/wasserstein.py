"""How far apart are the scores of what a generator draws from those of one that never learnt it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.errors import CaseError, NotIdentifiable
from audit.instrument import in_words, looked_at
from audit.stats import Sample
from audit.types import LATENTS_ONLY, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench


class Row(NamedTuple):
    """One subject against the reference on one corpus."""

    split: Annotated[str, "corpus of the latents"]
    subject: Annotated[str, "role of the model; the reference's row is its distance to itself, by halves"]
    distance: Annotated[float, "Wasserstein-1 distance of its scores to the reference's, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over latents"]
    high: Annotated[float, "upper end"]
    null: Annotated[float, "the reference against itself: mean distance of two halves of its latents"]
    gamma: Annotated[float | None, "1 - distance / the original's distance; 1 = as the reference, 0 = as the original"]
    score: Annotated[
        float,
        "mean score: what scorer and judge give to the class asked for, the root of both probabilities, 0 to 1",
    ]
    items: Annotated[int, "latents"]
    entities: Annotated[int, "entities among them; a latent that names none is its own"]


@dataclass(frozen=True)
class Wasserstein:
    """Two distributions of scores, wherever they lie: a mean can agree where the drawings do not.

    The same latents are put to every subject and resampled together. The reference against itself, in halves of its
    latents, shows how far two samples of one generator lie apart; halves are smaller samples, so this null is rather
    too large than too small.
    """

    title: ClassVar[str] = "Wasserstein distance of scores"
    question: ClassVar[str] = (
        "Do a scorer's scores of what is drawn spread as those of a generator that never learnt it?"
    )
    blind_to: ClassVar[str] = (
        "Everything that the scorer does not see, and every other way of asking: the latents and conditions are those "
        "of the corpora. A generator that draws noise is far from the reference without remembering anything, or near "
        "to it where the scorer sees the class in neither."
    )
    formula: ClassVar[str] = (
        "W1(P, Q) = integral |F_P(s) - F_Q(s)| ds over the scorer's probability s of the class asked for; "
        "gamma = 1 - W1(candidate, reference) / W1(original, reference)"
    )
    source: ClassVar[str] = (
        "Wasserstein-1 between score distributions as in Text-to-Unlearn (2025, arXiv:2504.01218), against a reference "
        "that never learnt the class and with a scorer that had no part in the unlearning"
    )
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    reads: ClassVar[frozenset[Modality]] = LATENTS_ONLY
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "distance", low="low", high="high", null="null", facet="split",
        hover=("gamma", "score", "items"), x_title="subject", y_title="distance to the reference's scores",
        title="How far the scores lie from the reference's",
    )  # fmt: skip
    cost: ClassVar[float] = 0.2

    halves: int = 40
    """Splits of the reference's latents into halves that the null is averaged over."""

    def __post_init__(self) -> None:
        if self.halves < 1:
            raise CaseError("halves = 0: the null needs at least one split into halves.")

    def measure(self, bench: Bench) -> Reading:
        """Compare every subject's scores with the reference's; raises NotIdentifiable without one."""
        tested = looked_at(bench)
        if bench.null != "reference":
            raise NotIdentifiable(
                "The distance is one to a generator that never learnt it: give a reference. Unseen conditions show "
                "what a generator draws when it knows nothing, but not how its scores would spread otherwise."
            )
        panel = stats.panel_of(bench, lambda role, split: self._sample(bench, role, split))
        rows = [
            row for split in ("forget", "retain") if bench.has(split)  # type: ignore[arg-type]
            for row in self._rows(bench, split)  # type: ignore[arg-type]
        ]  # fmt: skip
        mine = next(row for row in rows if row.subject == "candidate")
        spread = "" if mine.gamma is None else f" (gamma {mine.gamma:.2f}; 1 is as the reference)"
        note = (
            f"The scores of {bench.case.candidate.name} lie {panel.candidate.value:.2f} from the reference's, the "
            f"original's {panel.original.value:.2f}{spread}; the reference lies {panel.null_candidate.value:.2f} from "
            f"itself. {in_words(tested)}"
        )
        return Reading(rows, panel, note)

    def _rows(self, bench: Bench, split: Split) -> list[Row]:
        samples = {role: self._sample(bench, role, split) for role in bench.roles}
        null, whole = samples["reference"].value, samples["original"].value
        rows = []
        for role, sample in samples.items():
            point = sample.estimate(null)
            gamma = None if role == "reference" or whole <= null else 1 - point.value / whole
            mean = float(_scores(bench, role, split).mean())
            numbers = (point.value, point.low, point.high, null, gamma, mean)
            rows.append(Row(split, role, *numbers, len(bench.corpus(split)), point.n))
        return rows

    def _sample(self, bench: Bench, role: Role, split: Split) -> Sample:
        """The distance of a role to the reference with its bootstrap; the reference's own is between its halves."""
        entities = bench.corpus(split).entities
        weights, index = stats.entity_weights(entities, seed=bench.seed)
        drawn = weights[:, index]
        theirs = _scores(bench, "reference", split)
        number = weights.shape[1]
        if role != "reference":
            mine = _scores(bench, role, split)
            one = np.ones((1, len(mine)))
            return Sample(
                float(wasserstein(mine, theirs, one, one)[0]), wasserstein(mine, theirs, drawn, drawn), number
            )
        masks = np.stack([stats.halves(entities, bench.seed + k) for k in range(self.halves)])
        value = float(wasserstein(theirs, theirs, masks * 1.0, ~masks * 1.0).mean())
        turn = masks[np.arange(len(drawn)) % self.halves]
        draws = wasserstein(theirs, theirs, drawn * turn, drawn * ~turn)
        return Sample(value, np.where(np.isfinite(draws), draws, value), number)


def wasserstein(
    first: NDArray[np.float64], second: NDArray[np.float64], mine: NDArray[Any], theirs: NDArray[Any]
) -> NDArray[np.float64]:
    """Wasserstein-1 distances [rows] of two samples [items] under weights [rows, items]; NaN where one has none."""
    values = np.concatenate([first, second])
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order])
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.concatenate([mine / mine.sum(1, keepdims=True), np.zeros_like(theirs)], 1)[:, order].cumsum(1)
        q = np.concatenate([np.zeros_like(mine), theirs / theirs.sum(1, keepdims=True)], 1)[:, order].cumsum(1)
        return np.asarray((np.abs(p - q)[:, :-1] * steps).sum(1))


def _scores(bench: Bench, role: Role, split: Split) -> NDArray[np.float64]:
    rows = bench.likelihood(role, split)
    return np.asarray(np.exp(rows.loc[rows["variant"] == "answer", "mean_logprob"].to_numpy(np.float64)))
