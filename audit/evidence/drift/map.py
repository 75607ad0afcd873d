"""Maps: all subjects of an audit in one frame, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.activations.capture import POSITIONS
from audit.errors import CaptureError, CaseError, NotApplicable, SubjectError, suggest
from audit.evidence.drift import _placing as placing
from audit.evidence.drift.cka import still
from audit.stats import Scores, panel
from audit.types import BOTH, SECOND, SPLITS, Access, Chart, Item, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

    Member = tuple[str, Bench, Role]

MIN_POINTS = 20


class MapRow(NamedTuple):
    """One item of one subject on one map."""

    method: Annotated[str, "pca: the original's first two components; umap: AlignedUMAP of all subjects together"]
    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "item"]
    entity: Annotated[str, "entity of the item"]
    attribute: Annotated[str, "attribute of the item, empty when it names none"]
    prompt: Annotated[str, "what the model was asked"]
    answer: Annotated[str, "the answer in the corpus"]
    x: Annotated[float, "first coordinate, the same scale for every subject of the audit"]
    y: Annotated[float, "second coordinate, the same scale for every subject of the audit"]
    trustworthiness: Annotated[float, "how far neighbours on this map are neighbours in the hidden states, 0 to 1"]


@dataclass(frozen=True)
class Points:
    """The items on the map, in the order of the splits."""

    items: tuple[Item, ...]
    entities: tuple[str, ...]
    splits: tuple[Split, ...]
    chosen: dict[Split, NDArray[np.intp]]


@dataclass(frozen=True)
class Map:
    """PCA of every layer on the original's axes, and AlignedUMAP of some layers, for all subjects of the audit at once.

    Every candidate of an audit shares one computation, so that their maps can lie side by side on one scale. A subject
    whose states equal the original's bit by bit takes the original's coordinates; AlignedUMAP alone would not give
    them. The headline is read from the PCA map, because AlignedUMAP pulls the maps of neighbouring subjects together,
    which would overstate their likeness.
    """

    title: ClassVar[str] = "Map of the hidden states"
    question: ClassVar[str] = "Do the forgotten items still lie where they lay in the original?"
    blind_to: ClassVar[str] = (
        "Everything that two dimensions cannot show, which is most of a hidden state; a similar map does not mean that "
        "an answer is stored, nor a different one that it is gone."
    )
    formula: ClassVar[str] = (
        "score of an item = share of its k nearest neighbours on the original's PCA map that are also among its k "
        "nearest on the subject's, at the last mapped layer; PCA axes from the original's states"
    )
    source: ClassVar[str] = (
        "Dadu et al. 2023 and the umap-learn documentation for AlignedUMAP; trustworthiness of Venna and Kaski 2001"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = MapRow
    chart: ClassVar[Chart] = Chart(
        "scatter",
        x="x",
        y="y",
        color="split",
        facet="subject",
        hover=("item", "entity", "attribute", "prompt", "answer"),
        x_title="first coordinate",
        y_title="second coordinate",
        title="Hidden states of all subjects in one frame",
    )
    cost: ClassVar[float] = 0.5

    position: str = "prompt_last"
    points: int = 400
    layers: tuple[int, ...] = ()
    """Layers of the AlignedUMAP maps; empty for the middle and the last."""
    umap: bool = True
    umap_points: int = 240
    """Of the points, how many AlignedUMAP places as well: its work grows with their square."""
    neighbours: int = 10

    def __post_init__(self) -> None:
        if self.position not in POSITIONS:
            raise CaseError(f'Unknown position "{self.position}".{suggest(self.position, POSITIONS)}')
        if self.points < MIN_POINTS or not 0 < self.neighbours < MIN_POINTS:
            raise CaseError(
                f"A map needs at least {MIN_POINTS} points and 1 to {MIN_POINTS - 1} neighbours; "
                f"found {self.points} and {self.neighbours}."
            )
        if self.umap_points < MIN_POINTS:
            raise CaseError(f"umap_points = {self.umap_points}: a map needs at least {MIN_POINTS} points.")

    def measure(self, bench: Bench) -> Reading:
        """Place all subjects in one frame; raises NotApplicable when there are too few items for a map."""
        points = self._points(bench)
        members, left_out = self._members(bench, points)
        layers = self._layers(bench)
        stored = self._place(bench, points, members, layers)
        mine = {role: self._index(bench, role, members) for role in bench.compared}
        last = int(stored["pca layers"][-1])
        flat = stored["pca"][-1]
        near = {role: placing.nearest(flat[mine[role]], self.neighbours) for role in bench.compared}

        def score(role: Role, split: Split) -> Scores:
            here = [i for i, s in enumerate(points.splits) if s == split]
            kept = (near[role][here][:, :, None] == near["original"][here][:, None, :]).any(2).mean(1)
            return Scores([points.items[i].id for i in here], [points.entities[i] for i in here], kept)

        found = panel(bench, score)
        note = (
            f"At layer {last}, {found.candidate.value:.0%} of the forgotten items' {self.neighbours} nearest "
            f"neighbours on the original's map are still their nearest on the candidate's. "
            f"{len(points.items)} items are drawn."
        ).replace("%", " %")
        if left_out:
            note += f" Not on the map, because they could not be read: {', '.join(left_out)}."
        return Reading(_rows(points, stored, mine), found, note)

    def _points(self, bench: Bench) -> Points:
        """An equal share of each split, spread over its entities."""
        chosen = _spread(bench, self.points)
        splits = list(chosen)
        if sum(map(len, chosen.values())) < MIN_POINTS:
            raise NotApplicable(f"A map needs at least {MIN_POINTS} items; found {sum(map(len, chosen.values()))}.")
        rows = [(split, i) for split in splits for i in chosen[split]]
        items = tuple(bench.corpus(split).items[i] for split, i in rows)
        entities = tuple(bench.corpus(split).entities[i] for split, i in rows)
        return Points(items, entities, tuple(split for split, _ in rows), chosen)

    def _some(self, bench: Bench, points: Points) -> NDArray[np.intp]:
        """Which points AlignedUMAP places; a smaller `subset` is a part of a larger one."""
        few = _spread(bench, min(self.umap_points, self.points))
        inside = [np.isin(rows, few[split]) for split, rows in points.chosen.items()]
        return np.flatnonzero(np.concatenate(inside))

    def _members(self, bench: Bench, points: Points) -> tuple[list[Member], list[str]]:
        """Every subject of the audit whose states can be read, and the names of the other candidates."""
        members: list[Member] = []
        left_out: list[str] = []
        second: list[Member] = [(SECOND, bench, SECOND)] if SECOND in bench.compared else []
        for name, own, role in (*bench.everyone(), *second):
            try:
                for split in points.chosen:
                    own.states(role, split)
                members.append((name, own, role))
            except (SubjectError, CaptureError):
                if role != "candidate" or name == bench.case.candidate.name:
                    raise
                left_out.append(name)
        return members, left_out

    @staticmethod
    def _index(bench: Bench, role: Role, members: Sequence[Member]) -> int:
        name = bench.case.candidate.name
        return next(i for i, (n, _, r) in enumerate(members) if r == role and (r != "candidate" or n == name))

    def _layers(self, bench: Bench) -> tuple[int, ...]:
        """The layers of the UMAP maps."""
        number = bench.states("original", "forget").layers
        wrong = [layer for layer in self.layers if layer >= number]
        if wrong:
            raise CaseError(f"Layer {wrong[0]} does not exist: the layers of this model are 0 to {number - 1}.")
        if not self.umap:
            return ()
        return self.layers or tuple(sorted({number // 2, number - 1}))

    def _place(
        self, bench: Bench, points: Points, members: Sequence[Member], layers: tuple[int, ...]
    ) -> dict[str, NDArray[np.float32]]:
        """For each method, `<method>` [layers, members, points, 2], its `layers`, and its `trust` [layers, members]."""

        def compute() -> dict[str, NDArray[np.float32]]:
            maps: dict[str, list[tuple[int, NDArray[np.float32], list[float]]]] = {"pca": [], "umap": []}
            number = bench.states("original", "forget").layers
            some = self._some(bench, points)
            for layer in range(number):
                bench.progress(layer / number, f"mapping layer {layer}")
                states = [self._states(own, role, layer, points) for _, own, role in members]
                if still(states[0]):
                    continue  # all items at one point, as at layer 0 when every prompt ends in the same token
                methods = {"pca": placing.on_axes(states)}
                if layer in layers:
                    methods["umap"] = np.full_like(methods["pca"], np.nan)
                    few = [x[some] for x in states]
                    methods["umap"][:, some] = placing.aligned(few, bench.torch_seed("drift.map") % 2**31)
                for method, placed in methods.items():
                    pairs = zip(states, placed, strict=True)
                    trust = [placing.trustworthiness(x, flat, self.neighbours) for x, flat in pairs]
                    maps[method].append((layer, placed, trust))
            result: dict[str, NDArray[np.float32]] = {}
            for method, done in maps.items():
                if done:
                    result[f"{method} layers"] = np.array([d[0] for d in done])
                    result[method] = np.stack([d[1] for d in done])
                    result[f"{method} trust"] = np.array([d[2] for d in done])
            return result

        inputs = {
            "position": self.position,
            "points": self.points,
            "layers": layers,
            "umap points": self.umap_points,
            "neighbours": self.neighbours,
            "members": [own.fingerprint(role).id for _, own, role in members],
        }
        stored = bench.remember("drift.map", ["original"], inputs, compute)
        if "pca" not in stored:
            raise NotApplicable(f"The original's states do not vary between items at {self.position}: nothing to map.")
        return stored

    def _states(self, bench: Bench, role: Role, layer: int, points: Points) -> NDArray[np.float32]:
        return np.concatenate(
            [bench.states(role, split).at(layer, self.position)[rows] for split, rows in points.chosen.items()]
        )


def _spread(bench: Bench, number: int) -> dict[Split, NDArray[np.intp]]:
    """So many items in equal shares of each split."""
    splits = [split for split in SPLITS if bench.has(split)]
    sizes = {split: len(bench.corpus(split)) for split in splits}
    shares: dict[Split, int] = {}
    for k, split in enumerate(sorted(splits, key=lambda s: sizes[s])):  # what a small split leaves, others take
        shares[split] = min(sizes[split], (number - sum(shares.values())) // (len(splits) - k))
    return {split: bench.subset(split, shares[split]) for split in splits}


def _rows(points: Points, stored: dict[str, NDArray[np.float32]], mine: dict[Role, int]) -> list[MapRow]:
    """One row per method, layer, subject and point; a point that UMAP did not place has none."""
    rows = []
    for method in ("pca", "umap"):
        for k, layer in enumerate(stored.get(f"{method} layers", ())):
            for role, member in mine.items():
                trust = float(stored[f"{method} trust"][k, member])
                for i, (x, y) in enumerate(stored[method][k, member]):
                    if np.isfinite(x) and np.isfinite(y):
                        item = points.items[i]
                        rows.append(
                            MapRow(
                                method,
                                int(layer),
                                role,
                                points.splits[i],
                                item.id,
                                points.entities[i],
                                item.attribute or "",
                                item.prompt,
                                item.answer,
                                float(x),
                                float(y),
                                trust,
                            )
                        )
    return rows
