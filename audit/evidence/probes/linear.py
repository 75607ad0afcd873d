"""Linear probe: can the forgotten answer still be read out of the hidden states?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.errors import NotApplicable, NotIdentifiable
from audit.stats import Scores, cross_fit, panel
from audit.types import BOTH, SPLITS, Access, Chart, Corpus, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

ALL = "all"


class LinearRow(NamedTuple):
    """One layer of one subject on one split, for one attribute or for all together."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus whose items were read; on retain, each item by a probe that never saw its entity"]
    attribute: Annotated[str, "attribute whose labels were told apart, or all together"]
    accuracy: Annotated[float, "share of items whose label was read correctly, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    chance: Annotated[float, "what guessing the most frequent training label would be expected to score, 0 to 1"]
    shuffled: Annotated[float, "mean accuracy of the same probe trained on labels dealt to other entities, 0 to 1"]
    items: Annotated[int, "number of items read"]
    entities: Annotated[int, "number of entities among them"]
    view: Annotated[str, "split and attribute in one: a panel of the chart"]


@dataclass(frozen=True)
class Group:
    """The items of one attribute: what its probe is trained on, and what it is read on."""

    task: probing.Task
    rows: Mapping[Split, NDArray[np.intp]]
    """Items of each split whose label occurs in training; on retain, all training items."""
    truth: Mapping[Split, NDArray[np.intp]]
    """Their labels as indices into the task's classes."""
    chance: float


@dataclass(frozen=True)
class Linear:
    """A penalised linear classifier per attribute and layer, trained on retained entities of the same subject only."""

    title: ClassVar[str] = "Linear probe"
    question: ClassVar[str] = "Can the forgotten answer still be read out of the hidden states by a linear probe?"
    blind_to: ClassVar[str] = (
        "Knowledge that is stored in another form than that of the retained facts, that is not linear, that appears "
        "only after the prompt's last token, or that has no label shared with retained facts."
    )
    formula: ClassVar[str] = (
        "accuracy = share of forget items whose label is argmax_c (W x + b)_c, x the hidden state at the last prompt "
        "token; W, b by penalised discriminant analysis on retain items; penalty and prior by 5 folds of entities; "
        "layer chosen on one half of the forget entities and scored on the other, both ways, blocks 1 to L"
    )
    source: ClassVar[str] = (
        "Alain and Bengio 2016 (arXiv:1610.01644); penalised discriminant analysis: Hastie, Buja, Tibshirani 1995; "
        "shuffled-label control after Hewitt and Liang 2019 (arXiv:1909.03368)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = LinearRow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="accuracy",
        low="low",
        high="high",
        null="chance",
        facet="view",
        hover=("shuffled", "items", "entities"),
        x_title="layer",
        y_title="labels read correctly",
        title="What a linear probe reads, layer by layer",
    )
    cost: ClassVar[float] = 0.5

    position: str = "prompt_last"
    folds: int = 5
    nulls: int = 20

    def __post_init__(self) -> None:
        probing.check_settings(self.position, self.folds, self.nulls)

    def measure(self, bench: Bench) -> Reading:
        """Train on retain, read forget; raises NotApplicable when items have no labels."""
        groups, splits = groups_of(bench, self.folds, self.nulls)
        scored = {s: np.sort(np.concatenate([g.rows[s] for g in groups.values()])) for s in splits}
        if not len(scored["forget"]):
            raise NotApplicable("No label of the forget items occurs among the retain items, so no probe can learn it.")
        read = {role: self._read(bench, role, groups, splits) for role in bench.roles}

        def score(role: Role, split: Split) -> Scores:
            if split not in scored or not len(scored[split]):
                raise NotIdentifiable(f"No {split} item has a label that occurs among the retain items.")
            corpus, rows = bench.corpus(split), scored[split]
            entities = [corpus.entities[i] for i in rows]
            values, _ = cross_fit(read[role][split][1:, rows], entities, bench.seed)
            return Scores([corpus.items[i].id for i in rows], entities, values)

        found = panel(bench, score)
        total, used = len(bench.corpus("forget")), len(scored["forget"])
        note = f"Share of forgotten labels that a linear probe reads correctly: {probing.compared(found)}."
        if used < total:
            note += f" {total - used} of {total} forget items have no label that retain items share and are not scored."
        return Reading(self._rows(bench, groups, splits, read), found, note)

    def _read(
        self, bench: Bench, role: Role, groups: Mapping[str, Group], splits: tuple[Split, ...]
    ) -> dict[str, NDArray[np.float64]]:
        """Whether each item was read right, per split [layers, items], and `shuffled <split>`; NaN where not read."""

        def compute() -> dict[str, NDArray[np.float64]]:
            states = {split: bench.states(role, split) for split in splits}
            layers = states["retain"].layers
            result = {
                name: np.full((layers, len(bench.corpus(split))), np.nan)
                for split in splits
                for name in (split, f"shuffled {split}")
            }
            for layer in range(layers):
                bench.progress((bench.roles.index(role) + layer / layers) / len(bench.roles), f"probing the {role}")
                at = {split: states[split].at(layer, self.position) for split in splits}
                for group in groups.values():
                    probe = probing.fit(at["retain"][group.rows["retain"]], group.task)
                    for split, rows in group.rows.items():
                        guess = probe.held_out.argmax(-1) if split == "retain" else probe.predict(at[split][rows])
                        right = guess == group.truth[split]
                        result[split][layer, rows] = right[0]
                        result[f"shuffled {split}"][layer, rows] = right[1:].mean(0)
            return result

        inputs = {"position": self.position, "folds": self.folds, "nulls": self.nulls}
        return bench.remember("probes.linear", [role], inputs, compute)

    def _rows(
        self,
        bench: Bench,
        groups: Mapping[str, Group],
        splits: tuple[Split, ...],
        read: Mapping[Role, Mapping[str, NDArray[np.float64]]],
    ) -> list[LinearRow]:
        rows: list[LinearRow] = []
        for split in splits:
            names = bench.corpus(split).entities
            for attribute in [ALL, *(groups if len(groups) > 1 else ())]:
                chosen = [groups[attribute]] if attribute != ALL else list(groups.values())
                places = np.concatenate([g.rows[split] for g in chosen])
                if not len(places):
                    continue
                chance = float(np.repeat([g.chance for g in chosen], [len(g.rows[split]) for g in chosen]).mean())
                entities = [names[i] for i in places]
                for role in bench.roles:
                    points = probing.intervals(read[role][split][:, places], entities, bench.seed)
                    null = read[role][f"shuffled {split}"][:, places].mean(1)
                    rows += [
                        LinearRow(
                            layer,
                            role,
                            split,
                            attribute,
                            value,
                            low,
                            high,
                            chance,
                            float(null[layer]),
                            len(places),
                            len(set(entities)),
                            split if attribute == ALL else f"{split}, {attribute}",
                        )
                        for layer, (value, low, high) in enumerate(points)
                    ]
        return rows


def groups_of(bench: Bench, folds: int = 5, nulls: int = 20) -> tuple[dict[str, Group], tuple[Split, ...]]:
    """One group per attribute that can be trained, and the splits that have labelled items."""
    labelled = {s: _labelled(bench.corpus(s)) for s in SPLITS if bench.has(s)}
    for split in ("forget", "retain"):
        if not len(labelled.get(split, ())):
            raise NotApplicable(f"No {split} item has a label: there is nothing that a probe could tell apart.")
    splits = tuple(s for s in labelled if labelled[s])
    retain = bench.corpus("retain")
    groups: dict[str, Group] = {}
    for attribute, train in sorted(labelled["retain"].items()):
        labels = [str(retain.items[i].label) for i in train]
        entities = [retain.entities[i] for i in train]
        if len(set(labels)) < 2 or len(set(entities)) < 2:
            continue
        task = probing.make_task(labels, entities, folds=folds, nulls=nulls, seed=bench.seed)
        known = {name: k for k, name in enumerate(task.classes)}
        items = {s: bench.corpus(s).items for s in splits}
        rows = {s: [i for i in labelled[s].get(attribute, []) if items[s][i].label in known] for s in splits}
        groups[attribute] = Group(
            task,
            {s: np.asarray(rows[s], np.intp) for s in splits},
            {s: np.asarray([known[str(items[s][i].label)] for i in rows[s]], np.intp) for s in splits},
            float(np.bincount(task.labels[0]).max() / len(labels)),
        )
    if not groups:
        raise NotApplicable("No attribute of the retain items has two labels on two entities to train a probe on.")
    return groups, splits


def _labelled(corpus: Corpus) -> dict[str, list[int]]:
    """Items that have a label, by attribute; one unnamed group when no item names an attribute."""
    groups: dict[str, list[int]] = {}
    for i, item in enumerate(corpus.items):
        if item.label is not None:
            groups.setdefault(item.attribute or "", []).append(i)
    return groups
