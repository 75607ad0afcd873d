"""How many forgotten, kept and unseen images are still named right?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.stats import Scores
from audit.types import IMAGES_ONLY, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

FORGET, RETAIN, TEST, TEST_GONE = "forget (UA)", "retain (RA)", "test (TA)", "test, forgotten classes"


class Row(NamedTuple):
    """One subject on one set of images."""

    images: Annotated[str, "which images; the test images of classes that are forgotten as a whole stand apart"]
    subject: Annotated[str, "role of the model"]
    accuracy: Annotated[float, "share of the images whose class was named right, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end"]
    published: Annotated[float, "as papers print it, in percent: UA = 100 - forget accuracy, RA and TA the accuracy"]
    gap: Annotated[float | None, "published number less the reference's, in percentage points; empty without one"]
    items: Annotated[int, "images"]
    entities: Annotated[int, "entities among them; an image that names none is its own"]


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy on the corpora, the three numbers that papers on forgetting in image classifiers print.

    The unit of resampling is the entity, and an image that names none is its own: where a whole class is forgotten, an
    interval speaks of other images of that class and not of other classes. The holdout is the test set.
    """

    title: ClassVar[str] = "Accuracy (UA, RA, TA)"
    question: ClassVar[str] = (
        "How many of the forgotten, the kept and the unseen images does the model still name right?"
    )
    blind_to: ClassVar[str] = (
        "Everything below the last layer: a changed head alone brings the accuracy on forgotten images to 0. And a low "
        "accuracy on forgotten images is no aim in itself: a model that never saw them still names many that are like "
        "images it saw, so the distance to the reference counts."
    )
    formula: ClassVar[str] = (
        "share of images with argmax of the logits = label; UA = 1 - accuracy on forget, RA on retain, TA on holdout; "
        "average gap = mean of |UA - UA of the reference|, and so on"
    )
    source: ClassVar[str] = "UA, RA, TA and average gap as in SalUn (Fan et al. 2024, arXiv:2310.12508)"
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    reads: ClassVar[frozenset[Modality]] = IMAGES_ONLY
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "images", "accuracy", low="low", high="high", hover=("published", "gap", "items"),
        x_title="images", y_title="named right", title="Images named right",
    )  # fmt: skip
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Bench) -> Reading:
        """Count what every subject names right; raises NotIdentifiable without any control."""
        panel = stats.panel(bench, lambda role, split: scores_of(bench, role, split))
        sets = _sets(bench)
        found = {
            (images, role): stats.mean(scores_of(bench, role, split, rows), seed=bench.seed)
            for images, (split, rows) in sets.items()
            for role in bench.roles
        }
        printed = {key: 100 * (1 - s.value if key[0] == FORGET else s.value) for key, s in found.items()}
        gaps = {
            (images, role): printed[images, role] - printed[images, "reference"] if "reference" in bench.roles else None
            for images, role in found
        }
        rows = []
        for (images, role), sample in found.items():
            point = sample.estimate(0.0)
            numbers = (point.value, point.low, point.high, printed[images, role], gaps[images, role])
            rows.append(Row(images, role, *numbers, len(sets[images][1]), sample.n))
        return Reading(rows, panel, _note(bench, found, gaps))


def scores_of(bench: Bench, role: Role, split: Split, rows: NDArray[np.intp] | None = None) -> Scores:
    """1 for each image that was named right, else 0; of some rows of the corpus, or all."""
    corpus = bench.corpus(split)
    chosen = np.arange(len(corpus)) if rows is None else rows
    right = np.array([float(tokens["top1"][0]) for tokens in bench.tokens(role, split)])
    entities = corpus.entities
    return Scores([corpus.items[i].id for i in chosen], [entities[i] for i in chosen], right[chosen])


def _sets(bench: Bench) -> dict[str, tuple[Split, NDArray[np.intp]]]:
    """The sets of images that the table tells apart: of each its corpus and the rows; none is empty."""
    sets: dict[str, tuple[Split, NDArray[np.intp]]] = {FORGET: ("forget", np.arange(len(bench.corpus("forget"))))}
    if bench.has("retain"):
        sets[RETAIN] = ("retain", np.arange(len(bench.corpus("retain"))))
    if bench.has("holdout"):
        kept = {item.answer for item in bench.corpus("retain").items} if bench.has("retain") else set()
        gone = {item.answer for item in bench.corpus("forget").items} - kept if kept else set()
        lost = np.array([item.answer in gone for item in bench.corpus("holdout").items])
        for name, rows in ((TEST, np.flatnonzero(~lost)), (TEST_GONE, np.flatnonzero(lost))):
            if len(rows):
                sets[name] = ("holdout", rows)
    return sets


def _note(bench: Bench, found: dict[tuple[str, Role], stats.Sample], gaps: dict[tuple[str, Role], float | None]) -> str:
    name = bench.case.candidate.name
    shares = [
        f"{words} {found[images, 'candidate'].value:.0%} ({found[images, 'original'].value:.0%} in the original"
        + (f", {found[images, 'reference'].value:.0%} in the reference)" if "reference" in bench.roles else ")")
        for images, words in ((FORGET, "forgotten"), (RETAIN, "kept"), (TEST, "unseen"), (TEST_GONE, "unseen ones of "
                              "the forgotten classes"))
        if (images, "candidate") in found
    ]  # fmt: skip
    text = f"{name} names right, of the images: {'; '.join(shares)}."
    apart = [abs(gap) for (images, role), gap in gaps.items() if role == "candidate" and gap is not None]
    if apart:
        text += f" Average gap to the reference: {np.mean(apart):.1f} percentage points over {len(apart)} sets."
    return text
