"""What the readers of labels share: the items, the training on retain, the reading of the other corpora, the table.

A reader is made from training rows and a `probing.Task` and then scores new rows; the task's first line of labels is
true, the others are dealt to other entities. Forget and holdout items are read by one reader of all retain items. Each
retain item is read by a reader of the other half of the retained entities, so that the table shows what the same
instrument makes of facts that were kept and that it did not see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np

from audit import probing
from audit.errors import NotApplicable, NotIdentifiable
from audit.evidence.probes.linear import Group, groups_of
from audit.probing import Task
from audit.stats import Scores, cross_fit
from audit.types import Chart, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

Reader = Callable[["NDArray[np.float32]", "NDArray[np.intp]"], "NDArray[Any]"]
"""New rows [rows, width] and their true labels [rows] → a score of each [1 + nulls, rows], 1 = read correctly."""
Fit = Callable[["Sequence[NDArray[np.float32]]", Task, str], Reader]
"""Training rows as each subject of `trained_on` sees them [rows, width], the task, and the name of its attribute."""
Read = Mapping[str, "NDArray[np.float64]"]
"""`<split>` and `shuffled <split>`, each [layers, items]; NaN where an item was not read."""


class LabelRow(NamedTuple):
    """One layer of one subject on one split, read in one way."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus whose items were read; on retain, each by training on the other half of its entities"]
    kind: Annotated[str, "what was read, or how"]
    accuracy: Annotated[float, "share of items whose label was read correctly, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    chance: Annotated[float, "what guessing the most frequent training label would be expected to score, 0 to 1"]
    shuffled: Annotated[float, "mean accuracy of the same reader trained on labels dealt to other entities, 0 to 1"]
    items: Annotated[int, "number of items read"]
    entities: Annotated[int, "number of entities among them"]
    view: Annotated[str, "split and kind in one: a panel of the chart"]


def chart(title: str) -> Chart:
    """The chart of a table of LabelRow."""
    return Chart(
        "line", "layer", "accuracy", low="low", high="high", null="chance", facet="view",
        hover=("shuffled", "items", "entities"), x_title="layer", y_title="labels read correctly", title=title,
    )  # fmt: skip


@dataclass(frozen=True)
class Labelled:
    """The items of a case that have a label which retain items share."""

    bench: Bench
    groups: Mapping[str, Group]
    scored: Mapping[Split, NDArray[np.intp]]

    def sweep(self, role: Role, position: str, trained_on: Sequence[Role], fit: Fit) -> dict[str, NDArray[np.float64]]:
        """Train at every layer on the retain states of some subjects and read a subject there: a `Read`."""
        states = {split: self.bench.states(role, split) for split in self.scored}
        retain = [self.bench.states(other, "retain") for other in trained_on]
        layers = min(taught.layers for taught in (*retain, *states.values()))
        result = self.blank(layers)
        for layer in range(layers):
            done = (self.bench.roles.index(role) + layer / layers) / len(self.bench.roles)
            self.bench.progress(done, f"reading the {role}")
            train = [taught.at(layer, position) for taught in retain]
            at = {split: found.at(layer, position) for split, found in states.items()}
            self.read(result, layer, train, at, fit)
        return result

    def blank(self, layers: int) -> dict[str, NDArray[np.float64]]:
        """A `Read` in which nothing was read yet."""
        names = [(name, split) for split in self.scored for name in (split, f"shuffled {split}")]
        return {name: np.full((layers, len(self.bench.corpus(split))), np.nan) for name, split in names}

    def read(
        self,
        result: dict[str, NDArray[np.float64]],
        layer: int,
        train: Sequence[NDArray[np.float32]],
        at: Mapping[Split, NDArray[np.float32]],
        fit: Fit,
    ) -> None:
        """Fill one layer of a `Read` from the rows of the corpora [items, width]."""
        for name, group in self.groups.items():
            seen = [rows[group.rows["retain"]] for rows in train]
            for split, features in at.items():
                rows, truth = group.rows[split], group.truth[split]
                for keep, score in parts(group.task) if split == "retain" else [(None, np.ones(len(rows), bool))]:
                    if not score.any():
                        continue
                    some = group.task if keep is None else cut(group.task, keep)
                    reader = fit([x if keep is None else x[keep] for x in seen], some, name)
                    values = reader(features[rows[score]], truth[score])
                    result[split][layer, rows[score]] = values[0]
                    result[f"shuffled {split}"][layer, rows[score]] = values[1:].mean(0)

    def score(self, read: Mapping[Role, Read]) -> Callable[[Role, Split], Scores]:
        """Scores for `stats.panel`: the block chosen on one half of the entities and read on the other, both ways."""

        def score(role: Role, split: Split) -> Scores:
            rows = self.scored.get(split, np.empty(0, np.intp))
            if not len(rows):
                raise NotIdentifiable(f"No {split} item has a label that occurs among the retain items.")
            corpus = self.bench.corpus(split)
            entities = [corpus.entities[i] for i in rows]
            values, _ = cross_fit(read[role][split][1:, rows], entities, self.bench.seed)
            return Scores([corpus.items[i].id for i in rows], entities, values)

        return score

    def places(self, split: Split, read: Read) -> tuple[NDArray[np.intp], list[str], float]:
        """Items of a split that were read, their entities, and their mean chance."""
        chance = np.full(len(self.bench.corpus(split)), np.nan)
        for group in self.groups.values():
            chance[group.rows[split]] = group.chance
        rows = np.flatnonzero(np.isfinite(read[split]).all(0) & np.isfinite(chance))
        names = self.bench.corpus(split).entities
        return rows, [names[i] for i in rows], float(chance[rows].mean()) if len(rows) else 0.0

    def rows(self, role: Role, read: Read, kind: str, first: int = 0) -> list[LabelRow]:
        """One row per split and layer; `first` is the number of the first layer that was read."""
        table = []
        for split in self.scored:
            places, entities, chance = self.places(split, read)
            if not len(places):
                continue
            null = read[f"shuffled {split}"][:, places].mean(1)
            for k, point in enumerate(probing.intervals(read[split][:, places], entities, self.bench.seed)):
                n, view = len(set(entities)), f"{split}, {kind}"
                shuffled = float(null[k])
                table.append(LabelRow(first + k, role, split, kind, *point, chance, shuffled, len(places), n, view))
        return table

    @property
    def unread(self) -> str:
        """A sentence on forget items that cannot be scored, with a space before it; empty when all are."""
        total, used = len(self.bench.corpus("forget")), len(self.scored["forget"])
        if used == total:
            return ""
        return f" {total - used} of {total} forget items have no label that retain items share and are not scored."


def labelled(bench: Bench, folds: int, nulls: int) -> Labelled:
    """The items that can be read; raises NotApplicable when forget and retain share no label."""
    groups, splits = groups_of(bench, folds, nulls)
    scored = {s: np.sort(np.concatenate([g.rows[s] for g in groups.values()])) for s in splits}
    if not len(scored["forget"]):
        raise NotApplicable("No label of the forget items occurs among the retain items, so nothing can learn it.")
    return Labelled(bench, groups, scored)


def right(guesses: NDArray[np.intp], truth: NDArray[np.intp]) -> NDArray[np.float64]:
    """Whether each guess [1 + nulls, rows] is the true label [rows]."""
    return np.asarray(guesses == truth, np.float64)


def cut(task: Task, keep: NDArray[np.bool_]) -> Task:
    """The task of some of its rows; whole entities stay in one fold."""
    return replace(task, labels=task.labels[:, keep], fold=np.unique(task.fold[keep], return_inverse=True)[1])


def trainable(task: Task) -> bool:
    """Whether a probe can be fitted: two labels to tell apart, two folds to leave out."""
    return len(task.fold) > 0 and len(np.unique(task.labels[0])) > 1 and int(task.fold.max()) > 0


def parts(task: Task) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Rows to train on and rows to read, both ways, no entity on both sides; none with fewer than four folds."""
    even = np.asarray(task.fold % 2 == 0)
    sides = [(even, ~even), (~even, even)]
    return sides if all(trainable(cut(task, keep)) for keep, _ in sides) else []
