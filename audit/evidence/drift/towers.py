"""Which part of a vision-language model moved: its vision encoder, its projector, or its language model?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift.cka import MIN_ITEMS, compare
from audit.stats import ALPHA, Sample, entity_weights, panel_of
from audit.types import SPLITS, Access, Chart, Item, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

VISION, PROJECTOR, LANGUAGE = "vision encoder", "projector", "language model"
TOWERS = (VISION, PROJECTOR, LANGUAGE)
POSITION = "prompt_last"


class Row(NamedTuple):
    """One block of one subject, compared with the original's on the same images."""

    part: Annotated[str, "block of the vision encoder, the projector, or block of the language model"]
    tower: Annotated[str, "the part of the model that it belongs to"]
    order: Annotated[int, "its place from the pixels to the answer, from 1"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the images"]
    cka: Annotated[float, "debiased linear CKA to the original; 1 = same arrangement, about 0 = unrelated"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end"]
    relative: Annotated[float, "size of the difference to the original's states, as a share of their size; 0 = equal"]
    images: Annotated[int, "images compared"]


@dataclass(frozen=True)
class Towers:
    """Vision blocks and projector: the mean over an image's tokens; language blocks: the prompt's last token.

    The floor is how far the reference, a model that never knew, lies from the original in the same block.
    """

    items: int = 300
    """Most images compared of each corpus."""
    draws: int = 200
    """Draws of entities for the intervals."""

    title: ClassVar[str] = "Drift of vision encoder and language model apart"
    question: ClassVar[str] = "Which part of the model moved away from the original: where it sees, or where it speaks?"
    blind_to: ClassVar[str] = (
        "What moved within a part, and why: a part can stand still while the one after it reads its states otherwise, "
        "and means over an image's tokens hide where in the image something changed."
    )
    formula: ClassVar[str] = (
        "debiased linear CKA of each block's states to the original's; relative = |X - Y| / |Y| (Frobenius); headline "
        "= mean over the three parts of the mean over their blocks, on forget"
    )
    source: ClassVar[str] = (
        "CKA as in drift.cka; that an unlearned vision-language model may change only one part: SIU and MMUBench (Li "
        "et al. 2024, arXiv:2405.12523)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = frozenset({Modality.IMAGE_TEXT})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "line", "order", "cka", low="low", high="high", facet="split", hover=("part", "relative", "images"),
        x_title="from the pixels to the answer", y_title="debiased CKA to the original",
        title="Likeness to the original, block by block",
    )  # fmt: skip
    cost: ClassVar[float] = 0.4

    def __post_init__(self) -> None:
        if self.items < MIN_ITEMS or self.draws < 1:
            raise CaseError(f"At least {MIN_ITEMS} items and 1 draw are needed; found {self.items} and {self.draws}.")

    def measure(self, bench: Bench) -> Reading:
        """Compare every subject with the original; NotApplicable where fewer than four images are to be compared."""
        splits = [split for split in SPLITS if bench.has(split) and _images(bench, split, self.items)[0]]
        if "forget" not in splits:
            raise NotApplicable("No item to forget has an image, so the vision encoder cannot be compared.")
        found = {(r, s): self._compare(bench, r, s) for r in bench.roles for s in splits}
        names = _parts(found["original", "forget"])

        def sample(role: Role, split: Split) -> Sample:
            lines = found[role, split]["cka"]
            if not np.isfinite(lines).all():
                raise NotIdentifiable(
                    f"The states of the {role} or the original hardly vary between images in "
                    f"{names[int(np.argmin(np.isfinite(lines).all(1)))][0]}, so CKA is not defined there."
                )
            towers = [lines[[k for k, (_, tower) in enumerate(names) if tower == one]].mean(0) for one in TOWERS]
            mean = np.mean(towers, axis=0)
            return Sample(float(mean[0]), mean[1:], len(set(_images(bench, split, self.items)[2])))

        panel = panel_of(bench, sample)
        rows = [row for (role, split), one in found.items() for row in _rows(role, split, one, names)]
        return Reading(rows, panel, _note(bench, rows))

    def _compare(self, bench: Bench, role: Role, split: Split) -> dict[str, NDArray[np.float64]]:
        """`cka` [parts, 1 + draws], the point estimate first; `relative` and `vision` (how many vision blocks)."""
        items, places, entities = _images(bench, split, self.items)
        if len(items) < MIN_ITEMS:
            raise NotApplicable(f"At least {MIN_ITEMS} images are needed; the {split} corpus has {len(items)}.")
        mine, theirs = (self._seen(bench, one, split, items) for one in (role, "original"))
        spoken = [bench.states(one, split) for one in (role, "original")]
        counts, index = entity_weights(entities, self.draws, bench.seed)
        weights = np.vstack([np.ones(len(items)), counts[:, index]])

        def compute() -> dict[str, NDArray[np.float64]]:
            pairs = list(zip(mine, theirs, strict=True))
            for layer in range(1, spoken[0].layers):
                pairs.append(tuple(s.at(layer, POSITION)[places] for s in spoken))  # type: ignore[arg-type]
            size = [float(np.linalg.norm(y)) for _, y in pairs]
            moved = [float(np.linalg.norm(x - y)) / n if n else np.nan for (x, y), n in zip(pairs, size, strict=True)]
            return {"cka": np.stack([compare(x, y, weights)[1] for x, y in pairs]), "relative": np.array(moved)}

        inputs = {"items": self.items, "draws": self.draws, "split": split}
        found = bench.remember("drift.towers", [role, "original"], inputs, compute, corpora=(split,))
        return {**found, "vision": np.array(len(mine) - 1), "images": np.array(len(items))}

    def _seen(self, bench: Bench, role: Role, split: Split, items: list[Item]) -> list[NDArray[np.float32]]:
        """States of vision blocks and projector [images, width] each."""

        def compute() -> dict[str, NDArray[np.float32]]:
            from audit.activations.towers import vision_states

            with bench.model(role) as subject:
                states = vision_states(
                    subject, [item.image for item in items if item.image],
                    lambda share: bench.progress(share, f"showing the images of {split} to the {role}"),
                )  # fmt: skip
            return {f"{k:04d}": part for k, part in enumerate(states)}

        inputs = {"images": self.items, "split": split}
        stored = bench.remember("vision states", [role], inputs, compute, corpora=(split,))
        return [stored[name] for name in sorted(stored)]


def _images(bench: Bench, split: Split, limit: int) -> tuple[list[Item], list[int], list[str]]:
    """One item of each image: the items, their places in the corpus, their entities."""
    corpus = bench.corpus(split)
    first: dict[str, int] = {}
    for i in bench.subset(split):
        image = corpus.items[i].image
        if image is not None and len(first) < limit:
            first.setdefault(image.digest, int(i))
    places = list(first.values())
    return [corpus.items[i] for i in places], places, [corpus.entities[i] for i in places]


def _parts(found: dict[str, NDArray[np.float64]]) -> list[tuple[str, str]]:
    """The name of each part and the tower that it belongs to."""
    vision, total = int(found["vision"]), len(found["cka"])
    names = [(f"vision block {k}", VISION) for k in range(1, vision + 1)] + [(PROJECTOR, PROJECTOR)]
    return [*names, *((f"language block {k}", LANGUAGE) for k in range(1, total - vision))]


def _rows(role: Role, split: Split, found: dict[str, NDArray[np.float64]], names: list[tuple[str, str]]) -> list[Row]:
    rows = []
    for k, ((part, tower), values) in enumerate(zip(names, found["cka"], strict=True), start=1):
        if np.isfinite(values).all():
            low, high = np.quantile(values[1:], [ALPHA / 2, 1 - ALPHA / 2])
            value = float(values[0])
            ends = min(float(low), value), max(float(high), value)
            rows.append(
                Row(part, tower, k, role, split, value, *ends, float(found["relative"][k - 1]), int(found["images"]))
            )
    return rows


def _note(bench: Bench, rows: list[Row]) -> str:
    """Each part's mean likeness in the candidate, with the reference's beside it."""

    def words(tower: str) -> str:
        mine = [r for r in rows if (r.tower, r.subject, r.split) == (tower, "candidate", "forget")]
        control = [r.cka for r in rows if (r.tower, r.subject, r.split) == (tower, "reference", "forget")]
        beside = f" (the reference's {np.mean(control):.2f})" if control else ""
        same = "as the original's, bit by bit" if not any(r.relative for r in mine) else None
        return f"its {tower} {same or f'at {np.mean([r.cka for r in mine]):.2f}'}{beside}"

    parts = [words(tower) for tower in TOWERS]
    return f"Likeness of {bench.case.candidate.name} to the original on forget: {parts[0]}, {parts[1]} and {parts[2]}."
