"""Does the original's last layer still read the class off what the candidate hands to it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.errors import NotApplicable, NotIdentifiable
from audit.stats import Scores
from audit.types import SORTING, SPLITS, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench


READABLE = 0.5
"""Share of the original's kept accuracy that its head must reach on a body for what it says of forgotten images to
count: on a body arranged otherwise all images of a class fall on some class together, now and then on the right one."""


class Row(NamedTuple):
    """One image of one subject under the original's last layer."""

    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the image itself where the corpus does not say"]
    subject: Annotated[str, "role of the model whose body was used"]
    split: Annotated[str, "corpus of the item"]
    prompt: Annotated[str, "the image's name"]
    said: Annotated[str, "the class that the original's last layer finds"]
    score: Annotated[float, "1 where that is the item's class, else 0"]
    own: Annotated[float, "1 where the subject's own last layer finds it, else 0"]


@dataclass(frozen=True)
class HeadTransplant:
    """The original's last linear layer on the body of every subject: what a changed head alone hides comes back.

    A class that is forgotten as a whole is learnt anew from a few images by any model, so relearning cannot tell who
    kept it; and probes of kept images never see it. The old head was there before the unlearning, and reads a body that
    was left as it was. A reference with a body of its own shows what such a head finds by accident. Of a two-tower
    model the head is its two projections, and the classes are the answers that are searched.
    """

    title: ClassVar[str] = "Head transplant"
    question: ClassVar[str] = "Does the original's last layer still name the class when it is put on the candidate?"
    blind_to: ClassVar[str] = (
        "A body that was moved or rotated as a whole, which the old head cannot follow: how it does on kept images "
        "shows that. A low value is weak for such a body, a high value is strong. The attacker has an old copy of the "
        "head, or of the whole original, in which case the original itself serves them better."
    )
    formula: ClassVar[str] = (
        "share of images with argmax of W0 f(x) + b0 = label; f the subject's body, W0, b0 the original's"
    )
    source: ClassVar[str] = (
        "Model stitching (Lenc and Vedaldi 2015; Bansal et al. 2021, arXiv:2106.07682) without a stitching layer; "
        "edits of the head alone are the finding of Are We Truly Forgetting? 2025 (arXiv:2503.06991)"
    )
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS})
    reads: ClassVar[frozenset[Modality]] = SORTING
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "score", facet="split", hover=("prompt", "said", "own"),
        x_title="body of", y_title="named right by the original's head", title="The original's head on every body",
    )  # fmt: skip
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Bench) -> Reading:
        """Read every subject's body; raises NotIdentifiable without a reference.

        An image that no model saw is of a class that the original knows, so a holdout is no null here.
        """
        bench.corpus("retain")
        if bench.null != "reference":
            raise NotIdentifiable(
                "The original's head names unseen images of a class that it knows too, so a holdout is no control; "
                "only a reference shows what it finds on a body that never saw the forgotten images."
            )
        splits = [split for split in SPLITS if bench.has(split)]
        found = {(role, split): transplanted(bench, role, split) for role in bench.roles for split in splits}
        if any(not np.isfinite(values).all() for values in found.values()):
            raise NotApplicable("What a body hands to the head is not finite here.")

        def score(role: Role, split: Split) -> Scores:
            corpus = bench.corpus(split)
            right = (found[role, split].argmax(1) == _classes(bench, role, split)).astype(np.float64)
            return Scores([item.id for item in corpus.items], corpus.entities, right)

        kept = {role: float(score(role, "retain").values.mean()) for role in bench.roles}
        if kept["candidate"] < READABLE * kept["original"]:
            raise NotIdentifiable(
                f"The original's head names {kept['candidate']:.0%} of the kept images right on the body of "
                f"{bench.case.candidate.name} ({kept['original']:.0%} on its own): it cannot read this body, as when a "
                "model was trained anew, and whether a forgotten class meets its name there is chance."
            )
        panel = stats.panel(bench, score)
        rows = [row for (role, split), logits in found.items() for row in _rows(bench, role, split, logits)]
        note = (
            f"The original's head names {panel.candidate.value:.0%} of the forgotten images right on the body of "
            f"{bench.case.candidate.name}, {panel.original.value:.0%} on its own, {panel.null_candidate.value:.0%} on "
            "the reference's."
        )
        note += (
            f" Of kept images it names {kept['candidate']:.0%} on the candidate's and {kept['reference']:.0%} on the "
            "reference's."
        )
        return Reading(rows, panel, note)


def transplanted(bench: Bench, role: Role, split: Split) -> NDArray[np.float32]:
    """Logits that the original's last layer gives on a subject's body [items, classes].

    Of two towers the last layers are the two projections: both of the original's are put on both of the subject's
    towers. Raises NotApplicable for an encoder that has none.
    """
    if bench.modality is Modality.IMAGES:
        weight, bias = bench.head_of("original")
        return np.asarray(bench.features(role, split) @ weight.T + bias)
    heads, body = bench.projections("original"), bench.vectors(role, split)
    own = bench.vectors("original", split)["scale"]
    queries, gallery = (
        body[part] @ heads[tower].T
        for part, tower in (("features", _shown(bench, split)), ("gallery_read", Modality.TEXT))
    )
    queries, gallery = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (queries, gallery))
    return np.asarray(queries @ gallery.T * own)


def _classes(bench: Bench, role: Role, split: Split) -> NDArray[np.intp]:
    rows = bench.likelihood(role, split)
    return rows.loc[rows["variant"] == "answer", "first_token"].to_numpy(np.intp)


def _rows(bench: Bench, role: Role, split: Split, logits: NDArray[np.float32]) -> list[Row]:
    corpus, classes = bench.corpus(split), _classes(bench, role, split)
    names, own = bench.classes, bench.outputs(role, split).argmax(1) == classes
    return [
        Row(
            item.id, item.entity or item.id, role, split, item.prompt,
            item.answer if k == true else names[k], float(k == true), float(mine),
        )
        for item, k, true, mine in zip(corpus.items, logits.argmax(1).tolist(), classes.tolist(), own, strict=True)
    ]  # fmt: skip


def _shown(bench: Bench, split: Split) -> Modality:
    """Which tower reads the items of a corpus."""
    return Modality.IMAGES if bench.corpus(split).pictured else Modality.TEXT
